"""Events: their order, streams of them, and listeners."""

import queue
import select
import threading
import time

import pytest
from conftest import HOSTS, until
from shop import Proxy

import treecache
from treecache import Client, TreeEvent

ADDED, UPDATED, REMOVED = TreeEvent.NODE_ADDED, TreeEvent.NODE_UPDATED, TreeEvent.NODE_REMOVED


def told(event):
    """An event without what differs from run to run."""
    node = event.event_data
    return (event.event_type, node.path, node.data) if node else (event.event_type,)


def the_tree(root):
    """What each stream and listener of a loaded cache is told first."""
    return [
        (ADDED, root, b"root"),
        (ADDED, f"{root}/a", b"1"),
        (ADDED, f"{root}/a/x", b""),
        (ADDED, f"{root}/b", b"2"),
        (TreeEvent.INITIALIZED,),
    ]


def assert_loads(root, events):
    """The same as it is told during the load, which may come in several versions."""
    events = [told(event) for event in events]
    assert sorted(events[:4]) == the_tree(root)[:4]
    assert events.index((ADDED, f"{root}/a", b"1")) < events.index((ADDED, f"{root}/a/x", b""))
    assert events[4:] == [(TreeEvent.INITIALIZED,), (TreeEvent.IN_STEP,)]


def test_a_stream_tells_the_tree_so_far_and_what_follows(zk, cache, root):
    with cache.events(timeout=30) as stream:
        assert [told(next(stream)) for _ in range(5)] == the_tree(root)

        change = zk.transaction()
        change.delete(f"{root}/a/x")
        change.delete(f"{root}/a")
        change.set_data(f"{root}/b", b"3")
        change.create(f"{root}/c", b"4")
        change.create(f"{root}/c/y", b"")
        change.commit()
        events = [next(event for event in stream if event.event_data) for _ in range(5)]

    assert [told(event) for event in events] == [
        (REMOVED, f"{root}/a/x", b""),
        (REMOVED, f"{root}/a", b"1"),
        (UPDATED, f"{root}/b", b"3"),
        (ADDED, f"{root}/c", b"4"),
        (ADDED, f"{root}/c/y", b""),
    ]
    assert [event.last_of_version for event in events] == [False] * 4 + [True]
    assert {event.zxid for event in events} == {cache.snapshot().zxid}
    assert [event.old_data and event.old_data.data for event in events] == [None, None, b"2", None, None]
    assert events[2].event_data.stat.mzxid > events[2].old_data.stat.mzxid


def test_a_stream_may_be_opened_before_the_start(client, root):
    cache = client.cache(root)
    with cache.events(timeout=30) as stream, cache:
        assert_loads(root, [next(stream) for _ in range(6)])


def test_a_stream_goes_on_after_a_timeout(zk, cache, root):
    with cache.events(timeout=0.1) as stream:
        with pytest.raises(TimeoutError):
            while True:
                next(stream)
        with pytest.raises(TimeoutError):
            stream.get(timeout=0)
        zk.set(f"{root}/a", b"new")
        assert told(stream.get(timeout=30)) == (UPDATED, f"{root}/a", b"new")


@pytest.mark.parametrize(
    ("of_cache", "of_stream"),
    [({"events.capacity": 100_000}, 1), ({"events.capacity": 1}, None), ({"events.bytes": 1}, None), ({"events.bytes": 1}, 100_000)],
)
def test_a_stream_that_lags_goes_on_by_difference(zk, client, root, of_cache, of_stream):
    cache = client.cache(root, of_cache)
    with cache, cache.events(timeout=30, capacity=of_stream) as stream:
        cache.wait_initialized(timeout=30)
        for number in range(100):
            zk.set(f"{root}/a", str(number).encode())
        cache.sync(timeout=30)
        updates = []
        while not updates or updates[-1] != b"99":
            event = next(stream)
            if event.event_data and event.event_data.path == f"{root}/a":
                updates.append(event.event_data.data)
        assert len(updates) < 10


def test_a_stream_can_be_waited_for_with_others(zk, cache, root):
    with cache.events() as stream:
        until(lambda: stream.get(timeout=30).event_type == TreeEvent.INITIALIZED)
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        zk.set(f"{root}/a", b"new")
        assert poll.poll(30_000) == [(stream.fileno(), select.POLLIN)]
        until(lambda: told(stream.get(timeout=0)) == (UPDATED, f"{root}/a", b"new"))


def test_each_event_goes_to_one_of_the_threads_that_take(zk, cache, root):
    taken = queue.SimpleQueue()
    with cache.events() as stream:

        def take():
            for event in stream:
                taken.put(told(event))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(50):
            zk.create(f"{root}/b/{number:02}", b"")
        wanted = set(the_tree(root)) | {(ADDED, f"{root}/b/{number:02}", b"") for number in range(50)}
        got = []
        while not wanted <= set(got):
            got.append(taken.get(timeout=30))
    for thread in threads:
        thread.join(30)
    assert len(got) == len(set(got))


@pytest.mark.parametrize("what", ["stream", "cache", "client"])
def test_closing_ends_the_loop_of_another_thread(what):
    client = Client("127.0.0.1:1")
    cache = client.cache("/a")
    cache.start()
    stream = cache.events()
    types, started = [], threading.Event()

    def take():
        started.set()
        types.extend(event.event_type for event in stream)

    thread = threading.Thread(target=take)
    thread.start()
    started.wait()
    {"stream": stream, "cache": cache, "client": client}[what].close()
    thread.join(30)
    assert not thread.is_alive()
    assert types == ([TreeEvent.CONNECTION_LOST] if what == "client" else [])
    with pytest.raises(treecache.ClosedError):
        stream.get()
    stream.close()
    cache.close()
    client.close()


def test_get_is_woken_by_close(cache):
    stream = cache.events()
    until(lambda: stream.get(timeout=30).event_type == TreeEvent.INITIALIZED)
    threading.Timer(0.2, stream.close).start()
    with pytest.raises(treecache.ClosedError):
        while True:
            stream.get()


def test_faults_come_with_the_events_that_want_them(client, root):
    with Client("127.0.0.1:1") as nowhere, nowhere.cache(root) as cache:
        with cache.events(faults=True) as stream:
            fault = stream.get(timeout=30)
        assert isinstance(fault, treecache.ConnectionError)
        assert "127.0.0.1:1" in fault.message
        with cache.events() as stream, pytest.raises(TimeoutError):
            stream.get(timeout=0.5)


def test_a_connection_that_comes_and_goes(zk, root):
    proxy = Proxy(int(HOSTS.rpartition(":")[2]))
    client = Client(f"127.0.0.1:{proxy.port}")
    cache = client.cache(root)
    with client, cache.events(timeout=60) as stream, cache:
        until(lambda: next(stream).event_type == TreeEvent.IN_STEP)
        proxy.drop()
        assert told(next(stream)) == (TreeEvent.CONNECTION_SUSPENDED,)
        zk.set(f"{root}/a", b"meanwhile")
        assert cache.get_data(f"{root}/a").data == b"1"
        proxy.restore()
        assert [told(next(stream)) for _ in range(3)] == [
            (TreeEvent.CONNECTION_RECONNECTED,),
            (UPDATED, f"{root}/a", b"meanwhile"),
            (TreeEvent.IN_STEP,),
        ]


class Heard:
    """A listener that remembers."""

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def __call__(self, event):
        self.queue.put(event)

    def next(self):
        return self.queue.get(timeout=30)


def test_listeners_are_told_all_whenever_they_join(zk, client, root):
    early, late = Heard(), Heard()
    cache = client.cache(root)
    assert cache.listen(early) is early
    with cache:
        cache.wait_initialized(timeout=30)
        assert_loads(root, [early.next() for _ in range(6)])
        cache.listen(late)
        assert [told(late.next()) for _ in range(5)] == the_tree(root)
        zk.set(f"{root}/a", b"new")
        for listener in (early, late):
            assert told(listener.next()) == (UPDATED, f"{root}/a", b"new")


def test_listeners_of_a_cache_are_called_one_at_a_time(zk, client, root):
    running, together, calls = threading.Lock(), [], queue.SimpleQueue()

    def listener(_event):
        if not running.acquire(blocking=False):
            together.append(True)
            return
        threading.Event().wait(0.01)
        running.release()
        calls.put(True)

    with client.cache(root) as cache:
        for _ in range(4):
            cache.listen(listener)
        for _ in range(4 * 5):
            calls.get(timeout=30)
    assert not together


def threads_of(root):
    """The threads that call the listeners of the caches of a root."""
    return [thread for thread in threading.enumerate() if thread.name == f"treecache {root}"]


def test_the_listeners_of_a_cache_share_a_thread(cache, root):
    listeners = [Heard() for _ in range(20)]
    for listener in listeners:
        cache.listen(listener)
        cache.listen_fault(listener)
    for listener in listeners:
        assert [told(listener.next()) for _ in range(5)] == the_tree(root)
    assert len(threads_of(root)) == 1
    cache.close()
    until(lambda: not threads_of(root))


def test_no_listener_is_called_after_close(cache, root):
    closed, late, both = [], [], threading.Event()

    def close(event):
        if closed:
            late.append(event)
        cache.close()
        closed.append(True)

    cache.listen(lambda _event: both.wait(30))  # holds up their thread until both are there
    cache.listen(close)
    cache.listen(close)
    both.set()
    until(lambda: closed)
    until(lambda: not threads_of(root))
    assert not late


@pytest.mark.parametrize("how", ["close", "unlisten"])
def test_no_call_begins_behind_it(zk, client, root, how):
    change = zk.transaction()
    for number in range(300):
        change.create(f"{root}/{number}", b"")
    change.commit()
    for round in range(50):
        calls = []
        listener = calls.append  # a call of it is over as soon as it begins
        with client.cache(root) as cache:
            cache.wait_initialized(timeout=30)
            cache.listen(listener)
            until(lambda: len(calls) > round)
            cache.close() if how == "close" else cache.unlisten(listener)
            told = len(calls)
            until(lambda: not threads_of(root))
            assert len(calls) == told


def test_what_a_listener_raises_after_close_is_logged(cache, root, caplog):
    running, closed, faults = threading.Event(), threading.Event(), Heard()
    cache.listen_fault(faults)

    @cache.listen
    def fails(event):
        running.set()
        closed.wait(30)
        raise ZeroDivisionError

    running.wait(30)
    cache.close()
    closed.set()
    until(lambda: not threads_of(root))
    assert faults.queue.empty()
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


def test_a_listener_can_be_removed(zk, cache, root):
    gone, once, stays, faults = Heard(), Heard(), Heard(), Heard()
    for listener in (gone, once, once, stays):
        cache.listen(listener)
    cache.listen_fault(faults)
    for listener, times in ((gone, 1), (once, 2), (stays, 1)):
        assert sorted(told(listener.next()) for _ in range(5 * times)) == sorted(the_tree(root) * times)
    for listener in (gone, once, faults):
        cache.unlisten(listener)
    for listener in (gone, faults, print):
        with pytest.raises(treecache.InvalidArgumentError, match="is no listener"):
            cache.unlisten(listener)
    zk.set(f"{root}/a", b"new")
    for listener in (once, stays):
        assert told(listener.next()) == (UPDATED, f"{root}/a", b"new")
    cache.unlisten(once)
    cache.unlisten(stays)
    until(lambda: not threads_of(root))  # with the last of them
    again = Heard()
    cache.listen(again)
    assert told(again.next())[0] == ADDED
    for listener in (gone, once, stays, faults):
        assert listener.queue.empty()
    cache.close()
    with pytest.raises(treecache.ClosedError):
        cache.unlisten(again)


def test_a_listener_may_remove_itself_and_add_others(cache, root):
    calls, others = [], Heard()

    @cache.listen
    def once(event):
        calls.append(event)
        cache.unlisten(once)
        cache.listen(others)

    assert [told(others.next()) for _ in range(5)] == the_tree(root)
    assert len(calls) == 1


def test_what_a_listener_raises_is_told_to_the_fault_listeners(cache, root):
    faults, others = Heard(), Heard()
    cache.listen_fault(faults)

    @cache.listen
    def fails(event):
        raise ZeroDivisionError(event.event_type)

    cache.listen(others)
    assert [type(faults.next()) for _ in range(5)] == [ZeroDivisionError] * 5
    assert [told(others.next()) for _ in range(5)] == the_tree(root)


def test_what_a_listener_raises_is_logged_when_nobody_listens(cache, caplog):
    @cache.listen
    def fails(event):
        raise ZeroDivisionError

    until(lambda: len(caplog.records) >= 5)
    assert all(record.exc_info[0] is ZeroDivisionError for record in caplog.records)


def test_faults_are_listened_to(root):
    faults = Heard()
    with Client("127.0.0.1:1") as nowhere:
        cache = nowhere.cache(root)
        cache.listen_fault(faults)
        cache.start()
        assert isinstance(faults.next(), treecache.ConnectionError)
        cache.close()


def test_a_fault_listener_that_fails_is_logged(root, caplog):
    with Client("127.0.0.1:1") as nowhere:
        cache = nowhere.cache(root)

        @cache.listen_fault
        def fails(fault):
            raise ZeroDivisionError

        cache.start()
        until(lambda: [record for record in caplog.records if "a fault listener" in record.message])
        cache.close()


# Some events

INITIALIZED = (TreeEvent.INITIALIZED,)


@pytest.mark.parametrize(
    ("wanted", "so_far", "later"),
    [
        ({"under": "/a", "events": "added,updated,initialized"}, [(ADDED, "/a", b"1"), (ADDED, "/a/x", b""), INITIALIZED], [(UPDATED, "/a", b"new"), (ADDED, "/a/y", b"")]),
        ({"under": ["/a/x", "/b", "/b"], "events": "added,removed"}, [(ADDED, "/a/x", b""), (ADDED, "/b", b"2")], [(REMOVED, "/b", b"2")]),
        ({"under": ("/a",), "depth": 0, "events": {"added", "updated"}}, [(ADDED, "/a", b"1")], [(UPDATED, "/a", b"new")]),
        ({"depth": 1, "events": ["removed"]}, [], [(REMOVED, "/b", b"2")]),
        ({"initial": False, "events": ["updated", "initialized"]}, [], [(UPDATED, "/a", b"new")]),
        ({"after_initialized": True, "events": "removed,initialized"}, [INITIALIZED], [(REMOVED, "/b", b"2")]),
    ],
)
def test_only_what_is_wanted_is_told(zk, cache, root, wanted, so_far, later):
    if isinstance(under := wanted.get("under"), str):
        wanted = {**wanted, "under": root + under}
    elif under:
        wanted = {**wanted, "under": [root + path for path in under]}
    heard = []
    with cache.events(timeout=30, **wanted) as stream:

        @cache.listen(**wanted)
        def hear(event):
            heard.append(told(event))

        change = zk.transaction()
        change.delete(f"{root}/b")
        change.set_data(f"{root}/a", b"new")
        change.create(f"{root}/a/y", b"")
        change.commit()
        cache.sync(timeout=30)
        expected = [(kind, root + node[0], node[1]) if node else (kind,) for kind, *node in so_far + later]
        assert [told(next(stream)) for _ in expected] == expected
        with pytest.raises(TimeoutError):
            stream.get(timeout=0)
        until(lambda: heard == expected)
    cache.unlisten(hear)


@pytest.mark.parametrize(
    ("wanted", "key", "value"),
    [
        ({"under": "/elsewhere"}, "listen.under", "/elsewhere"),
        ({"under": ["a/b"]}, "listen.under", "a/b"),
        ({"depth": -1}, "listen.depth", "-1"),
        ({"events": ["added", "gone"]}, "listen.events", "added,gone"),
        ({"events": []}, "listen.events", '""'),
    ],
)
def test_what_cannot_be_wanted_is_named(cache, wanted, key, value):
    for call in (cache.events, lambda **wanted: cache.listen(print, **wanted)):
        with pytest.raises(treecache.InvalidArgumentError) as refused:
            call(**wanted)
        assert refused.value.key == key
        assert value in str(refused.value)
