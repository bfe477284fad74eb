"""Caches that are attached to the file of another process: reads, events, the writer's death and return, forks."""

import asyncio
import contextlib
import gc
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import zlib

import pytest
from conftest import HOSTS, descriptors, in_child, threads, until

import treecache
from treecache import Client, State, TreeCache, TreeEvent

# Keeps a tree in a file until it is ended.
WRITER = """
import signal, sys
from treecache import Client

client = Client(sys.argv[1], {"session.timeout.ms": 2000})
cache = client.cache(sys.argv[2], {"share.file": sys.argv[3]})
cache.start()
signal.pause()
"""


@pytest.fixture
def file():
    """A name for a file, in a folder in memory."""
    with tempfile.TemporaryDirectory(prefix="treecache-", dir="/dev/shm") as folder:
        yield f"{folder}/tree"


@contextlib.contextmanager
def writing(root, file, hosts=HOSTS):
    """A process that keeps the tree in the file. It is killed at the end, and says no word."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, hosts, root, file])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def written(root, file):
    """The file, with a process that writes to it."""
    with writing(root, file):
        yield file


@pytest.fixture
def attached(written):
    with TreeCache.attach(written) as cache:
        cache.wait_initialized(timeout=30)
        yield cache


def kinds_until(stream, kind):
    """The kinds of what comes out of a stream, up to one of this kind."""
    kinds = []
    for event in stream:
        kinds.append(event.event_type)
        if event.event_type == kind:
            return kinds


def test_what_another_process_keeps_is_read(zk, root, attached):
    with pytest.raises(treecache.OutOfTreeError, match=f"it is not below the root {root}"):
        attached.get_data("/elsewhere")
    assert attached.path == root
    assert attached.get_data(f"{root}/a").data == b"1"
    assert attached.get_data(f"{root}/nowhere") is None
    assert attached.get_children(root) == {"a", "b"}
    assert {name: node.data for name, node in attached.get_children_data(root).items()} == {"a": b"1", "b": b"2"}
    snapshot = attached.snapshot()
    paths = [root, f"{root}/a", f"{root}/a/x", f"{root}/b"]
    assert list(snapshot) == [node.path for node in snapshot.walk()] == paths
    assert snapshot.is_cut and snapshot.zxid > 0
    zk.set(f"{root}/a", b"new")
    until(lambda: attached.get_data(f"{root}/a").data == b"new")
    (change,) = snapshot.diff(attached.snapshot())
    assert (change.event_type, change.event_data.data) == (TreeEvent.NODE_UPDATED, b"new")
    until(lambda: attached.state == State.IN_STEP)
    stats = attached.stats()
    assert (stats.nodes, stats.connections, stats.session_id, stats.server) == (4, 0, 0, None)
    assert stats.contact_age_ms is not None
    assert repr(attached).endswith("/tree', IN_STEP>")


def test_reads_take_no_thread(written, root):
    gc.collect()
    before = len(threads())
    with TreeCache.attach(written) as another:
        another.wait_initialized(timeout=30)
        assert another.get_data(f"{root}/a").data == b"1"
        assert len(threads()) <= before  # some of a test before may have been about to end
        with another.events():
            until(lambda: "treecache-share" in threads())


def test_events_are_told_to_streams_and_listeners(zk, root, attached):
    heard = threading.Event()

    @attached.listen(under=f"{root}/b", events="updated")
    def listener(event):
        if event.event_data.data == b"new":
            heard.set()

    with attached.events(timeout=30) as stream:
        assert [next(stream).event_data.path for _ in range(4)] == list(attached.snapshot())
        assert kinds_until(stream, TreeEvent.INITIALIZED)[-1:] == [TreeEvent.INITIALIZED]
        zk.set(f"{root}/b", b"new")
        zk.create(f"{root}/c", b"3")
        kinds = kinds_until(stream, TreeEvent.NODE_ADDED)
        assert TreeEvent.NODE_UPDATED in kinds
    assert heard.wait(30)


def test_a_coroutine_waits_and_is_told(zk, root, written):
    async def main():
        with TreeCache.attach(written) as cache:
            await cache.ready(timeout=30)
            async for event in cache.events(timeout=30):
                if event.event_type == TreeEvent.INITIALIZED:
                    zk.set(f"{root}/a", b"new")
                if event.event_type == TreeEvent.NODE_UPDATED:
                    return event.event_data

    node = asyncio.run(asyncio.wait_for(main(), 60))
    assert (node.path, node.data) == (f"{root}/a", b"new")


def test_a_writer_that_is_killed_leaves_its_tree_and_is_followed_again(zk, root, file):
    with TreeCache.attach(file) as cache, cache.events(timeout=30) as stream:
        with writing(root, file):
            kinds_until(stream, TreeEvent.IN_STEP)
        # The readers' own clock tells: nobody says that it is dead.
        assert kinds_until(stream, TreeEvent.CONNECTION_SUSPENDED) == [TreeEvent.CONNECTION_SUSPENDED]
        assert cache.state == State.SUSPENDED
        assert cache.stats().contact_age_ms >= 1000
        assert cache.get_data(f"{root}/a").data == b"1"
        zk.set(f"{root}/a", b"meanwhile")
        with writing(root, file):
            kinds = kinds_until(stream, TreeEvent.IN_STEP)
            assert TreeEvent.CONNECTION_RECONNECTED in kinds
            until(lambda: cache.get_data(f"{root}/a").data == b"meanwhile")
            until(lambda: cache.state == State.IN_STEP)


def test_what_is_in_a_file_is_read_without_a_server_and_without_a_writer(root, file):
    with writing(root, file), TreeCache.attach(file) as cache:
        cache.wait_initialized(timeout=30)
    with TreeCache.attach(file) as cache:
        assert cache.get_data(f"{root}/a").data == b"1"
        number = os.stat(file).st_ino
        with writing(root, file, hosts="127.0.0.1:1"):
            until(lambda: os.stat(file).st_ino != number)  # it has begun with the file, and keeps it anew
            until(lambda: cache.state in (State.WARM, State.SUSPENDED) and not cache.is_initialized)
            assert cache.get_data(f"{root}/a").data == b"1"
            assert list(cache.snapshot()) == [root, f"{root}/a", f"{root}/a/x", f"{root}/b"]


def test_without_a_file_it_waits_for_one(root, file):
    with TreeCache.attach(pathlib.Path(file)) as cache:
        assert (cache.state, cache.is_initialized) == (State.LOADING, False)
        with pytest.raises(treecache.NotReadyError):
            cache.get_data(root)
        with pytest.raises(TimeoutError, match=f"^{file}: timed out after 0.01 s"):
            cache.wait_initialized(timeout=0.01)
        with pytest.raises(treecache.NotReadyError, match="the file is not there yet"):
            cache.path
        with pytest.raises(treecache.StateError, match="the file is not there yet"):
            cache.events(under=root)
        snapshot = cache.snapshot()
        assert (len(snapshot), list(snapshot), root in snapshot) == (0, [], False)
        with pytest.raises(treecache.NotReadyError):
            snapshot.walk()
        with writing(root, file):
            cache.wait_initialized(timeout=30)
            assert cache.path == root
            assert [change.event_data.path for change in snapshot.diff(cache.snapshot())][0] == root


def test_what_is_no_such_file_is_refused_by_name(file):
    with open(file, "w") as other:
        other.write("root:x:0:0:root:/root:/bin/bash")
    with pytest.raises(treecache.InvalidArgumentError, match=f"^cannot attach to {file}: it is no shared tree$"):
        TreeCache.attach(file)
    with pytest.raises(treecache.InvalidArgumentError, match="^cannot attach to /dev/shm: it is no file$"):
        TreeCache.attach("/dev/shm")
    with pytest.raises(treecache.InvalidArgumentError, match="there is a NUL in the name of the file"):
        TreeCache.attach("/dev/shm/a\0b")
    with pytest.raises(TypeError):
        TreeCache.attach(None)
    with pytest.raises(treecache.InvalidArgumentError) as wrong:
        TreeCache.attach(file, {"no.such.key": 1})
    assert wrong.value.key == "no.such.key"


def test_a_file_of_another_format_or_root_is_refused_by_name(attached, client, written):
    refusal = f"{written}.*it is of {attached.path}, and the cache is of /elsewhere$"
    with pytest.raises(treecache.InvalidArgumentError, match=refusal) as wrong:
        client.cache("/elsewhere", {"share.file": written, "root.create": False}).start()
    assert wrong.value.key == "share.file"
    with open(written, "rb") as file:
        bytes_of_it = bytearray(file.read())
    bytes_of_it[8] = 2
    bytes_of_it[32:36] = zlib.crc32(bytes_of_it[:32]).to_bytes(4, "little")
    with open(f"{written}.other", "wb") as file:
        file.write(bytes_of_it)
    with pytest.raises(treecache.InvalidArgumentError, match=f"cannot attach to {written}.other: it has format 2"):
        TreeCache.attach(f"{written}.other")


def test_there_is_no_server_to_sync_with(attached):
    with pytest.raises(treecache.UnsupportedError, match="the cache is attached to a file, and has no server to ask"):
        attached.sync(timeout=30)
    with pytest.raises(treecache.StateError):
        attached.start()


def test_what_is_closed_is_closed(attached):
    snapshot = attached.snapshot()
    stream = attached.events()
    attached.close()
    for use in (lambda: attached.get_data("/"), attached.snapshot, lambda: attached.wait_initialized(timeout=30)):
        with pytest.raises(treecache.ClosedError):
            use()
    list(stream)
    assert attached.state == State.CLOSED
    assert len(snapshot) == 4


def test_the_child_of_a_fork_reads_on_and_attaches_for_events(zk, root, written, attached):
    # As a server does that attaches before it forks its workers.
    stream = attached.events(timeout=30)
    kinds_until(stream, TreeEvent.INITIALIZED)
    before = attached.snapshot()
    reads, says = os.pipe()

    def child():
        assert attached.get_data(f"{root}/a").data == b"1"
        assert attached.get_children(root) == {"a", "b"}
        attached.wait_initialized(timeout=30)
        assert attached.is_initialized
        until(lambda: attached.state == State.IN_STEP)
        for use in (attached.events, lambda: attached.listen(print), lambda: next(stream)):
            with pytest.raises(treecache.StateError, match="before the fork"):
                use()
        with TreeCache.attach(written) as own, own.events(timeout=30) as events:
            kinds_until(events, TreeEvent.INITIALIZED)
            os.write(says, b"!")
            kinds_until(events, TreeEvent.NODE_UPDATED)
            assert own.get_data(f"{root}/a").data == b"new"
        until(lambda: attached.get_data(f"{root}/a").data == b"new")
        assert len(before.diff(attached.snapshot())) == 1
        attached.close()

    def change():
        os.read(reads, 1)
        zk.set(f"{root}/a", b"new")

    changing = threading.Thread(target=change)
    changing.start()
    assert in_child(child) == 0
    changing.join()
    os.close(reads)
    os.close(says)
    # The parent goes on.
    kinds_until(stream, TreeEvent.NODE_UPDATED)
    assert attached.get_data(f"{root}/a").data == b"new"


def test_nothing_is_left_behind(root, written):
    def once():
        with TreeCache.attach(written) as cache:
            cache.wait_initialized(timeout=30)
            with cache.events() as stream:
                stream.fileno()
                assert stream.get(timeout=30)
            assert cache.get_data(f"{root}/a")
            cache.listen(lambda event: None)

    once()
    gc.collect()
    until(lambda: not any(thread.name.startswith("treecache /") for thread in threading.enumerate()))
    before = len(descriptors()), len(threads())
    for _ in range(50):
        once()
    until(lambda: len(descriptors()) <= before[0] and len(threads()) <= before[1])


def test_a_reader_needs_no_more_than_a_read_only_mount_and_its_own_numbers_of_processes(zk, root, written, tmp_path):
    folder = os.path.dirname(written)
    program = f"""
import os, sys
from treecache import TreeCache, TreeEvent
assert os.getpid() == 1
with TreeCache.attach({str(tmp_path)!r} + "/tree") as cache, cache.events(timeout=30) as stream:
    while next(stream).event_type != TreeEvent.INITIALIZED:
        pass
    print("attached", flush=True)
    while next(stream).event_type != TreeEvent.NODE_UPDATED:
        pass
    try:
        open({str(tmp_path)!r} + "/new", "w")
    except OSError as refused:
        print(refused.strerror, cache.get_data(sys.argv[1]).data.decode())
"""
    mount = f'mount --bind {folder} {tmp_path} && mount -o remount,ro,bind {tmp_path} && exec "$@"'
    unshare = ["unshare", "--mount", "--pid", "--fork", *(["--map-root-user"] if os.geteuid() else [])]
    command = ["sh", "-c", mount, "sh", sys.executable, "-c", program, f"{root}/a"]
    with subprocess.Popen([*unshare, *command], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "attached\n"
        zk.set(f"{root}/a", b"new")
        assert reader.stdout.readline() == "Read-only file system new\n"


def test_the_writer_in_one_process_with_its_reader(zk, root, file):
    with Client(HOSTS) as client, client.cache(root, {"share.file": file}) as cache, TreeCache.attach(file) as attached:
        attached.wait_initialized(timeout=30)
        zk.set(f"{root}/a", b"new")
        until(lambda: attached.get_data(f"{root}/a").data == b"new")
        assert cache.get_data(f"{root}/a").data == b"new"
