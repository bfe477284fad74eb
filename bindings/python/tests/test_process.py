"""What concerns the whole process: Ctrl-C, fork, the garbage collector, descriptors, the end."""

import collections
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest
import shop
from conftest import HOSTS, descriptors, in_child, threads, until

import treecache
from treecache import Client, TreeCache, TreeEvent

BEGIN = """
import asyncio, os, signal, sys
from treecache import Client

async def loop(stream):
    async for event in stream:
        pass

client = Client(sys.argv[1])
cache = client.cache(sys.argv[2])
cache.start()
"""

# The server takes connections, and says no word: nothing that waits for it ends by itself.
SILENT = [
    "cache.wait_initialized()",
    "cache.wait_initialized(timeout=3600)",
    "cache.events().get()",
    "cache.events().get(timeout=3600)",
    "for event in cache.events(): pass",
    "asyncio.run(loop(cache.events()))",
]

# A proxy that can be stopped as a whole: then the connection stands, and nothing comes through any more.
FORWARDER = f"""
import sys, threading
sys.path.append({os.path.dirname(shop.__file__)!r})
from shop import Proxy
print(Proxy(int(sys.argv[1])).port, flush=True)
threading.Event().wait()
"""


def interrupt(call, *arguments):
    """Runs a call in a process of its own, and sends it a SIGINT once it waits."""
    program = f"""{BEGIN}
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        until(lambda: sleeps(process.pid))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, "interrupted\n")
    finally:
        process.kill()
        process.wait()


def sleeps(pid):
    """Whether the main thread of a process has been waiting for a while."""
    looks = set()
    for _ in range(20):
        with open(f"/proc/{pid}/stat") as stat:
            looks.add(stat.read().rpartition(")")[2].split()[0])
        time.sleep(0.01)
    return looks == {"S"}


@pytest.mark.parametrize("call", SILENT)
def test_ctrl_c_ends_each_wait(call):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        interrupt(call, f"127.0.0.1:{silent.getsockname()[1]}", "/a")


def test_ctrl_c_ends_a_sync(root):
    command = [sys.executable, "-c", FORWARDER, HOSTS.rpartition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            hosts = f"127.0.0.1:{proxy.stdout.readline().strip()}"
            stop = f"cache.wait_initialized(timeout=30); os.kill({proxy.pid}, signal.SIGSTOP)"
            interrupt(f"{stop}; cache.sync()", hosts, root)
        finally:
            proxy.kill()


def test_ctrl_c_while_a_session_ends_comes_through(monkeypatch):
    free = treecache._client.lib.tc_client_free

    def interrupted(pointer):
        os.kill(os.getpid(), signal.SIGINT)
        free(pointer)

    monkeypatch.setattr("treecache._client.lib.tc_client_free", interrupted)
    client = Client("127.0.0.1:1")
    with pytest.raises(KeyboardInterrupt):
        client.close()
    with pytest.raises(treecache.ClosedError):
        client.cache("/a")


def test_the_child_of_a_fork_is_told_so(zk, cache, client, root):
    snapshot = cache.snapshot()
    stream = cache.events()

    def child():
        for use in (
            lambda: cache.get_data(root),
            lambda: cache.get_children(root),
            lambda: cache.get_children_data(root),
            lambda: cache.wait_initialized(timeout=30),
            lambda: cache.sync(timeout=30),
            lambda: cache.state,
            cache.stats,
            cache.snapshot,
            cache.events,
            lambda: cache.listen(print),
            lambda: cache.unlisten(print),
            lambda: client.cache(root),
            lambda: stream.get(timeout=30),
            lambda: next(stream),
        ):
            with pytest.raises(treecache.StateError, match="fork"):
                use()
        for one in (client, cache, stream):
            assert "made before the fork" in repr(one)
        assert repr(snapshot).startswith(f"<Snapshot of '{root}'")
        assert snapshot[f"{root}/a"].data == b"1"
        assert [node.path for node in snapshot.walk()] == list(snapshot)
        stream.close()
        cache.close()
        client.close()

        with Client(HOSTS) as own, own.cache(root) as mine:
            mine.wait_initialized(timeout=30)
            assert mine.get_data(f"{root}/a").data == b"1"

    assert in_child(child) == 0
    zk.set(f"{root}/a", b"new")
    until(lambda: stream.get(timeout=30).event_type == TreeEvent.NODE_UPDATED)
    assert cache.get_data(f"{root}/a").data == b"new"


def test_the_child_of_a_fork_may_leave_all_to_the_collector(root):
    client = Client(HOSTS)
    caches = [client.cache(root)]
    caches[0].start()
    caches[0].listen(lambda event: None)
    caches[0].wait_initialized(timeout=30)

    def child():
        nonlocal client
        caches.clear()
        client = None
        gc.collect()

    assert in_child(child) == 0
    caches[0].close()
    client.close()


def test_what_nobody_refers_to_is_freed(root):
    client = Client(HOSTS)
    cache = client.cache(root)
    cache.start()
    cache.wait_initialized(timeout=30)
    stream = cache.events()
    snapshot = cache.snapshot()
    handles = [weakref.ref(one._open) for one in (client, cache, stream)] + [weakref.ref(snapshot._handle)]
    before = len(threads())
    assert before > 0
    del client, cache, stream
    gc.collect()
    assert [handle() is None for handle in handles] == [True, True, True, False]
    until(lambda: len(threads()) < before)
    assert snapshot[f"{root}/a"].data == b"1"


def test_cycles_are_collected(root):
    cache = Client(HOSTS).cache(root)
    cache.start()
    cache.itself = cache
    handle = weakref.ref(cache._open)
    del cache
    gc.collect()
    assert handle() is None


def test_a_stream_keeps_its_cache_and_its_client(root):
    client = Client(HOSTS)
    cache = client.cache(root)
    cache.start()
    stream = cache.events(timeout=30)
    del client, cache
    gc.collect()
    until(lambda: next(stream).event_type == TreeEvent.INITIALIZED)


def test_listeners_keep_their_cache_until_it_is_closed(zk, root):
    heard = threading.Event()
    cache = Client(HOSTS).cache(root)
    cache.listen(lambda event: event.event_type == TreeEvent.NODE_UPDATED and heard.set())
    cache.start()
    cache.wait_initialized(timeout=30)
    handle, close = weakref.ref(cache._open), cache.close
    del cache
    gc.collect()
    zk.set(f"{root}/a", b"new")
    assert heard.wait(30)
    close()
    del close
    until(lambda: gc.collect() is not None and handle() is None)


def test_collecting_on_many_threads_at_once_deadlocks_nobody(root):
    def make():
        for _ in range(20):
            cache = Client(HOSTS).cache(root)
            cache.itself = cache
            cache.start()
            cache.events().itself = cache
            gc.collect()

    makers = [threading.Thread(target=make) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
        assert not maker.is_alive()
    gc.collect()


# What hands something out, by what it is given back with.
GIVEN_BACK = {
    "tc_client_free": ["tc_client_new_or_error"],
    "tc_free": ["tc_new_or_error", "tc_attach"],
    "tc_queue_free": ["tc_queue_open_or_error"],
    "tc_item_free": ["tc_queue_next"],
    "tc_children_free": ["tc_get_children", "tc_snapshot_get_children"],
    "tc_children_data_free": ["tc_get_children_data", "tc_snapshot_get_children_data"],
    "tc_snapshot_free": ["tc_get_snapshot"],
    "tc_walk_free": ["tc_walk_new"],
    "tc_stats_free": ["tc_get_stats"],
    "tc_fault_free": ["tc_get_fault"],
    "tc_error_free": ["tc_config_get_error"],
}


def test_what_the_library_hands_out_is_given_back_once(monkeypatch, root):
    lib = treecache._client.lib
    handed_out, given_back = collections.Counter(), collections.Counter()

    def watch(free, takers):
        def freeing(pointer):
            given_back[free] += bool(pointer)
            return real_free(pointer)

        def watched(take):
            def taking(*arguments):
                status = take(*arguments)
                handed_out[free] += status == 0
                return status

            return taking

        real_free = getattr(lib, free)
        monkeypatch.setattr(lib, free, freeing)
        for taker in takers:
            monkeypatch.setattr(lib, taker, watched(getattr(lib, taker)))

    for free, takers in GIVEN_BACK.items():
        watch(free, takers)

    with Client(HOSTS) as client, client.cache(root) as cache:
        cache.wait_initialized(timeout=30)
        snapshot = cache.snapshot()
        for path in (root, f"{root}/nowhere", "/elsewhere", "nonsense"):
            for read in (cache.get_data, cache.get_children, cache.get_children_data):
                with contextlib.suppress(treecache.TreeCacheError):
                    read(path)
            for read in (snapshot.__getitem__, snapshot.children, snapshot.children_data, snapshot.walk):
                with contextlib.suppress(treecache.TreeCacheError):
                    read(path)
        cache.stats()
        with cache.events() as stream:
            until(lambda: stream.get(timeout=30).event_type == TreeEvent.INITIALIZED)
            with contextlib.suppress(TimeoutError):
                while True:
                    stream.get(timeout=0)
        with pytest.raises(treecache.InvalidArgumentError):
            client.cache(root, {"no.such.key": 1})
    with TreeCache.attach("/dev/shm/no-such-tree") as attached:
        attached.snapshot()
    with pytest.raises(treecache.InvalidArgumentError):
        TreeCache.attach("/dev/shm")
    with Client("127.0.0.1:1") as nowhere, nowhere.cache(root) as vain:
        until(lambda: vain.stats().faults)
        assert vain.last_fault
    del client, cache, snapshot, stream, read, nowhere, vain, attached
    gc.collect()
    assert sorted(handed_out) == sorted(GIVEN_BACK)
    assert all(handed_out.values())
    assert handed_out == given_back


def test_no_descriptor_and_no_thread_is_left_behind(root):
    def once():
        with Client(HOSTS) as client, client.cache(root) as cache:
            cache.wait_initialized(timeout=30)
            with cache.events() as stream:
                stream.fileno()
                assert stream.get(timeout=30)
            assert cache.events().get(timeout=30)

    once()
    gc.collect()
    before = len(descriptors()), len(threads())
    for _ in range(100):
        once()
    until(lambda: len(descriptors()) <= before[0] and len(threads()) <= before[1])


@pytest.mark.parametrize(
    "end",
    [
        "",
        "cache.close(); client.close()",
        "del cache, client",
        "sys.exit()",
        "threading.Thread(target=sys.exit).start()",
    ],
)
def test_a_program_ends_with_everything_open(root, end):
    program = f"""
import sys, threading
from treecache import Client
client = Client(sys.argv[1], {{"connect.timeout.ms": 20_000}})
cache = client.cache(sys.argv[2])
cache.listen(lambda event: None)
cache.listen_fault(print)
cache.start()
cache.wait_initialized(timeout=30)
stream, snapshot = cache.events(), cache.snapshot()
threading.Thread(target=lambda: list(stream), daemon=True).start()
{end}
"""
    ended = subprocess.run([sys.executable, "-c", program, HOSTS, root], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
