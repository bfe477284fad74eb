"""Clients and caches: their lives, reads, and what is refused."""

import builtins
import pickle
import signal
import sys
import threading
import time

import pytest
from conftest import HOSTS, until
from kazoo.security import make_digest_acl

import treecache
from treecache import Client, NodeData, State, TreeCache


def test_a_cache_is_loaded_and_follows(zk, cache, root):
    node = cache.get_data(f"{root}/a")
    assert node == NodeData(f"{root}/a", b"1", node.stat)
    assert node.stat == tuple(zk.get(f"{root}/a")[1])
    assert cache.get_children(root) == frozenset({"a", "b"})

    zk.set(f"{root}/a", bytes(range(256)))
    cache.sync(timeout=30)
    node = cache.get_data(f"{root}/a")
    assert (node.data, node.stat) == (bytes(range(256)), tuple(zk.get(f"{root}/a")[1]))


def test_a_life(client, root):
    cache = TreeCache(client, root)
    assert (cache.state, cache.path) == (State.LATENT, root)
    assert not cache.is_initialized
    with pytest.raises(treecache.StateError):
        cache.wait_initialized(timeout=1)
    with pytest.raises(treecache.NotReadyError):
        cache.get_data(root)

    cache.start()
    cache.wait_initialized(timeout=30)
    assert cache.is_initialized
    until(lambda: cache.state == State.IN_STEP)
    with pytest.raises(treecache.StateError):
        cache.start()

    cache.close()
    cache.close()
    assert cache.state == State.CLOSED


def test_a_cache_that_was_started_may_be_entered(client, root):
    cache = client.cache(root)
    cache.start()
    with cache as entered:
        assert entered is cache
        cache.wait_initialized(timeout=30)
    assert cache.state == State.CLOSED


def test_all_is_refused_after_close(client, cache, root):
    stream = cache.events()
    snapshot = cache.snapshot()
    cache.close()
    for use in (
        cache.start,
        cache.wait_initialized,
        cache.sync,
        cache.stats,
        cache.snapshot,
        cache.events,
        cache.__enter__,
        stream.get,
        lambda: cache.is_initialized,
        lambda: cache.get_data(root),
        lambda: cache.get_children(root),
        lambda: cache.get_children_data(root),
        lambda: cache.listen(print),
        lambda: cache.listen_fault(print),
    ):
        with pytest.raises(treecache.ClosedError):
            use()
    assert list(stream) == []
    assert snapshot[root].data == b"root"

    stream.close()
    with pytest.raises(treecache.ClosedError):
        stream.fileno()
    client.close()
    client.close()
    with pytest.raises(treecache.ClosedError):
        client.cache(root)


def test_a_cache_outlives_its_client(client, cache, root):
    with cache.events(timeout=30) as stream:
        client.close()
        types = [event.event_type for event in stream]
    assert types[-1] == treecache.TreeEvent.CONNECTION_LOST
    assert cache.state == State.LOST
    assert cache.get_data(f"{root}/a").data == b"1"


def test_default_is_for_nodes_that_do_not_exist(cache, root):
    nowhere = f"{root}/nowhere"
    assert cache.get_data(nowhere) is None
    assert cache.get_data(nowhere, 7) == 7
    assert cache.get_children(nowhere) is None
    assert cache.get_children(nowhere, ()) == ()
    assert cache.get_children_data(nowhere) is None
    assert cache.get_children_data(nowhere, {}) == {}


def test_nodes_of_every_size_are_read(zk, client, root):
    sizes = [0, 1, 4095, 4096, 4097, 100_000, 600_000, 1_000_000, 3]
    for size in sizes:
        zk.create(f"{root}/{size}", bytes([size % 251]) * size)
    with client.cache(root) as cache:
        cache.wait_initialized(timeout=30)
        snapshot = cache.snapshot()
        for size in sizes:
            node = cache.get_data(f"{root}/{size}")
            assert node == NodeData(f"{root}/{size}", bytes([size % 251]) * size, node.stat)
            assert type(node) is NodeData and type(node.stat) is treecache.ZnodeStat
            assert node.stat == tuple(zk.get(f"{root}/{size}")[1])
            assert snapshot[f"{root}/{size}"] == node


def test_reads_of_threads_and_signal_handlers_do_not_mix(cache, root):
    def read(name):
        node = cache.get_data(f"{root}/{name}")
        seen.add((name, node.path, node.data, node.stat.numChildren))

    def read_on(name):
        while not done.is_set():
            read(name)

    seen, done = set(), threading.Event()
    readers = [threading.Thread(target=read_on, args=(name,)) for name in ("a/x", "b")]
    interval, before = sys.getswitchinterval(), signal.signal(signal.SIGALRM, lambda *_: read("b"))
    try:
        sys.setswitchinterval(1e-6)
        for reader in readers:
            reader.start()
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            read("a")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        done.set()
        for reader in readers:
            reader.join(30)
        sys.setswitchinterval(interval)
        signal.signal(signal.SIGALRM, before)
    truth = {("a", b"1", 1), ("a/x", b"", 0), ("b", b"2", 0)}
    assert seen == {(name, f"{root}/{name}", data, children) for name, data, children in truth}


def test_children_with_their_data(zk, client, root):
    zk.create(f"{root}/größe", b"3")
    zk.create(f"{root}/private", b"", acl=[make_digest_acl("somebody", "else", all=True)])
    cache = client.cache(root)
    cache.start()
    cache.wait_initialized(timeout=30)
    children = cache.get_children_data(root)
    assert list(children) == ["a", "b", "größe", "private"]
    assert {name: node and node.data for name, node in children.items()} == {
        "a": b"1",
        "b": b"2",
        "größe": b"3",
        "private": None,
    }
    assert children["größe"] == cache.get_data(f"{root}/größe")
    with pytest.raises(treecache.NoPermissionError):
        cache.get_data(f"{root}/private")


def test_a_root_of_slash(zk, client, root):
    with client.cache("/") as cache:
        cache.wait_initialized(timeout=30)
        assert cache.get_children_data("/")[root[1:]].path == root
        assert root in cache.snapshot()
        assert f"{root}/a/x" in list(cache.snapshot())


def test_errors_say_what_they_are_about(cache, root):
    with pytest.raises(treecache.OutOfTreeError) as caught:
        cache.get_data(f"{root}bar")
    error = caught.value
    assert isinstance(error, treecache.TreeCacheError) and isinstance(error, ValueError)
    assert (error.status, error.path, error.key) == (-3, f"{root}bar", None)
    assert error.message in str(error) and error.path in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.status) == (type(error), str(error), error.status)


@pytest.mark.parametrize(
    "path",
    ["", "a", "a/b", "/a/", "//", "/a//b", "/.", "/a/../b", "/a\x01", "/\x7f", "/\ue000b", "/\U0001f600", "//a/", "/a//b/."],
)
def test_a_malformed_path_is_told_from_another(client, cache, path):
    with pytest.raises(treecache.InvalidArgumentError) as of_the_library:
        client.cache(path)
    snapshot = cache.snapshot()
    for read in (cache.get_data, cache.get_children, cache.get_children_data, snapshot.children, snapshot.__getitem__):
        with pytest.raises(treecache.InvalidArgumentError) as caught:
            read(path)
        assert caught.value.path == path
        assert of_the_library.value.message.endswith(caught.value.message)


def test_errors_say_what_is_wrong(client, cache, root):
    def said(call):
        with pytest.raises(treecache.TreeCacheError) as caught:
            call()
        return f"{type(caught.value).__name__}: {caught.value}"

    assert said(lambda: cache.get_data("/other")) == f"OutOfTreeError: /other: it is not below the root {root}"
    assert said(lambda: cache.snapshot()["/other"]) == f"OutOfTreeError: /other: it is not below the root {root}"
    assert said(cache.start) == f"StateError: {root}: the cache was started before"
    latent = client.cache(root)
    assert said(lambda: latent.wait_initialized(1)) == f"StateError: {root}: the cache was not started"
    assert said(lambda: latent.sync(1)) == f"StateError: {root}: the cache was not started"
    other = client.cache(f"{root}/a")
    assert said(lambda: cache.snapshot().diff(other.snapshot())).endswith(
        f"one snapshot is of {root}, the other of {root}/a"
    )
    nowhere = Client("127.0.0.1:1")
    with nowhere.cache(root) as unconnected:
        until(lambda: unconnected.stats().faults)
        last = f"; last: {unconnected.last_fault.message}"
        assert last.startswith("; last: 127.0.0.1:1: ")
        assert said(lambda: unconnected.sync(10)) == f"ConnectionError: {root}: there is no connection{last}"
        assert said(lambda: unconnected.wait_initialized(0.25)) == f"TimeoutError: {root}: timed out after 0.25 s{last}"
        assert said(lambda: unconnected.events().get(0.25)) == f"TimeoutError: {root}: timed out after 0.25 s{last}"
        assert said(lambda: next(unconnected.events(timeout=0.25))).endswith(last)
        assert said(lambda: unconnected.events().get(0)) == f"TimeoutError: {root}: The time to wait is over."
        nowhere.close()
        assert said(lambda: unconnected.sync(10)) == f"ClosedError: {root}: the Client is closed"
    assert said(unconnected.start) == "ClosedError: the TreeCache is closed"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("no.such.key", "1"),
        ("session.timeout.ms", "soon"),
        ("session.timeout.ms", -1),
        ("root.create", 2),
        ("auth", "nonsense"),
        ("auth", ["digest:a:b", "nonsense"]),
    ],
)
def test_a_setting_that_is_refused_is_named(client, root, key, value):
    for make in (lambda: Client(HOSTS, {key: value}), lambda: client.cache(root, {key: value})):
        with pytest.raises(treecache.InvalidArgumentError) as caught:
            make()
        assert caught.value.key == key
        assert key in str(caught.value)


@pytest.mark.parametrize("password", ["hunter2\udcff", "hunter2\0"])
def test_a_password_is_not_shown_whatever_is_wrong_with_it(password):
    with pytest.raises(treecache.InvalidArgumentError) as caught:
        Client(HOSTS, {"sasl.password": password})
    assert caught.value.key == "sasl.password"
    error = caught.value
    while error is not None:
        assert "hunter2" not in f"{error!s} {error!r} {error.args} {vars(error)}"
        error = error.__context__


def test_a_path_is_shown_without_what_acts_on_a_terminal():
    path = "/a\u202etxt\x1b[2J"
    assert str(treecache.NoNodeError(path=path)).startswith("/a\\u202etxt\\x1b[2J: ")
    assert treecache.NoNodeError(path=path).path == path


def test_a_path_that_is_refused_is_named(client):
    with pytest.raises(treecache.InvalidArgumentError) as caught:
        client.cache("/trailing/")
    assert caught.value.path == "/trailing/"


def test_settings_count(zk, root):
    acl = [make_digest_acl("me", "secret", all=True), make_digest_acl("you", "secret", all=True)]
    zk.create(f"{root}/mine", b"", acl=acl[:1])
    zk.create(f"{root}/yours", b"", acl=acl[1:])
    config = {
        "auth": ["digest:me:secret", "digest:you:secret"],
        "session.timeout.ms": 8000,
        "root.create": False,
    }
    with Client(HOSTS, config) as client:
        with client.cache(root, config) as cache:
            cache.wait_initialized(timeout=30)
            assert {f"{root}/mine", f"{root}/yours"} <= set(cache.snapshot())
        with client.cache(f"{root}/absent", config) as cache:
            cache.wait_initialized(timeout=30)
            assert cache.get_data(f"{root}/absent") is None
    assert not zk.exists(f"{root}/absent")


def test_a_limit_stops_the_cache(client, root):
    with client.cache(root, {"limit.nodes": 2}) as cache:
        stream = cache.events(timeout=30)
        with pytest.raises(treecache.LimitError):
            cache.wait_initialized(timeout=30)
        with pytest.raises(treecache.LimitError):
            list(stream)
        with pytest.raises(treecache.LimitError):
            stream.get(timeout=30)


def test_stats(zk, cache, root):
    until(lambda: cache.state == State.IN_STEP)
    stats = cache.stats()
    assert (stats.state, stats.nodes, stats.bytes, stats.connections) == (State.IN_STEP, 4, 6, 1)
    assert stats.zxid == cache.snapshot().zxid
    assert stats.server == HOSTS
    assert stats.contact_age_ms >= 0 and stats.cut_age_ms >= 0
    assert stats.versions >= stats.cuts >= 1
    assert stats.session_id != 0


def test_sync_sees_what_was_committed_before(zk, cache, root):
    for number in range(20):
        zk.set(f"{root}/a", str(number).encode())
        cache.sync(timeout=30)
        assert cache.get_data(f"{root}/a").data == str(number).encode()


def test_there_is_no_sync_without_a_connection(client, root):
    with pytest.raises(treecache.StateError):
        client.cache(root).sync(timeout=1)
    with Client("127.0.0.1:1") as nowhere, nowhere.cache(root) as cache:
        with pytest.raises(ConnectionError) as caught:
            cache.sync(timeout=10)
        assert isinstance(caught.value, treecache.ConnectionError)


def test_waits_end_in_time(root):
    with Client("127.0.0.1:1") as nowhere, nowhere.cache(root) as cache:
        for timeout in (0, 0.001, 0.2):
            with pytest.raises(TimeoutError) as caught:
                cache.wait_initialized(timeout)
            assert isinstance(caught.value, treecache.TimeoutError)


@pytest.mark.parametrize("timeout", [2**31 / 1000, 10**400, 1e300, float("inf"), None])
def test_a_huge_timeout_is_none(cache, timeout):
    cache.wait_initialized(timeout)
    with cache.events(timeout=timeout) as stream:
        assert next(stream) == cache.events().get(timeout)


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf")])
def test_nonsense_timeouts_are_refused(cache, timeout):
    for use in (
        lambda: cache.wait_initialized(timeout),
        lambda: cache.sync(timeout),
        lambda: cache.events(timeout=timeout),
        lambda: cache.events().get(timeout),
    ):
        with pytest.raises(treecache.InvalidArgumentError):
            use()


@pytest.mark.parametrize("path", ["", "a", "/a/", "/a//b", "/a/./b", "/a\0b", "/\ud800", "/a/../b"])
def test_malformed_paths_are_refused(client, cache, path):
    snapshot = cache.snapshot()
    for use in (
        lambda: client.cache(path),
        lambda: cache.get_data(path),
        lambda: cache.get_children(path),
        lambda: cache.get_children_data(path),
        lambda: snapshot[path],
        lambda: snapshot.children(path),
        lambda: snapshot.children_data(path),
        lambda: snapshot.walk(path),
    ):
        with pytest.raises(treecache.InvalidArgumentError):
            use()
    assert path not in snapshot


@pytest.mark.parametrize("nonsense", [None, 7, b"/a", ["/a"], object()])
def test_what_is_no_string_is_refused(client, cache, nonsense):
    snapshot = cache.snapshot()
    for use in (
        lambda: Client(nonsense),
        lambda: client.cache(nonsense),
        lambda: cache.get_data(nonsense),
        lambda: cache.get_children(nonsense),
        lambda: snapshot[nonsense],
        lambda: snapshot.children(nonsense),
    ):
        with pytest.raises(TypeError):
            use()
    assert nonsense not in snapshot


@pytest.mark.parametrize("config", [{"auth": None}, {"auth": b"digest:a:b"}, {"auth": [7]}, {"auth": 1.5}, {7: "1"}])
def test_settings_that_are_no_strings_or_numbers_are_refused(config):
    with pytest.raises(TypeError):
        Client(HOSTS, config)


@pytest.mark.parametrize("hosts", ["", ",", "host:port", "[::1", "host:99999", "a\0b"])
def test_malformed_hosts_are_refused(hosts):
    with pytest.raises(treecache.InvalidArgumentError):
        Client(hosts)


def test_closing_wakes_whoever_waits(root):
    with Client("127.0.0.1:1") as nowhere:
        cache = nowhere.cache(root)
        cache.start()
        raised = []

        def wait():
            try:
                cache.wait_initialized()
            except treecache.TreeCacheError as error:
                raised.append(type(error))

        waiting = [threading.Thread(target=wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        threading.Timer(0.2, cache.close).start()
        with pytest.raises(treecache.ClosedError):
            cache.wait_initialized()
        for thread in waiting:
            thread.join(30)
        assert raised == [treecache.ClosedError] * 3


def test_many_threads_read_while_one_closes(client, root):
    for _ in range(20):
        cache = client.cache(root)
        cache.start()
        cache.wait_initialized(timeout=30)
        ended = []

        def read(cache=cache, ended=ended):
            try:
                while True:
                    assert cache.get_data(f"{root}/a").data == b"1"
                    assert len(cache.snapshot()) == 4
            except treecache.ClosedError:
                ended.append(True)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        cache.close()
        for thread in threads:
            thread.join(30)
        assert len(ended) == 4


def test_what_went_wrong_last_is_told_and_counted(cache):
    assert cache.last_fault is None
    assert cache.stats()[-3:] == (0, None, 0)
    with Client("127.0.0.1:1") as nowhere, nowhere.cache("/a") as vain:
        until(lambda: vain.stats().faults)
        stats = vain.stats()
        assert (stats.last_fault_status, stats.last_fault_age_ms < 30_000) == (-13, True)
        assert isinstance(vain.last_fault, treecache.ConnectionError)
        assert vain.last_fault.path is None


def test_a_state_is_shown_by_its_name(cache):
    assert (str(State.IN_STEP), f"{State.IN_STEP}", f"{State.IN_STEP:>9}") == ("IN_STEP", "IN_STEP", "  IN_STEP")
    assert (f"{State.IN_STEP:d}", State.IN_STEP + 1, str(State(4711))) == ("2", 3, "UNKNOWN_4711")
    assert str(treecache.EventType.NODE_ADDED) == "NODE_ADDED"
    assert repr(cache) == f"<TreeCache of {cache.path!r}, IN_STEP>"


def test_repr_never_raises(client, cache):
    stream = cache.events()
    for one in (client, cache, stream, cache.snapshot()):
        assert repr(one).startswith(f"<{type(one).__name__} of '")
    stream.close()
    cache.close()
    client.close()
    for one in (client, cache, stream):
        assert repr(one).endswith(", closed>")
    for kind in (Client, TreeCache, treecache.EventStream):
        assert repr(kind.__new__(kind)) == f"<{kind.__name__} of None, closed>"


def test_a_star_import_shadows_no_builtin():
    names: dict = {}
    exec("from treecache import *", names)
    assert not set(names).difference({"__builtins__"}) & set(dir(builtins))
    assert names["TreeCache"] is TreeCache
