"""Snapshots: mappings that never change."""

import pytest
from conftest import until
from kazoo.security import make_digest_acl

import treecache
from treecache import TreeEvent


def test_a_snapshot_is_a_mapping_of_paths_to_nodes(cache, root):
    snapshot = cache.snapshot()
    paths = [root, f"{root}/a", f"{root}/a/x", f"{root}/b"]
    assert list(snapshot) == list(snapshot.keys()) == paths
    assert len(snapshot) == 4
    assert [node.path for node in snapshot.values()] == paths
    assert snapshot[f"{root}/a"] == cache.get_data(f"{root}/a")
    assert snapshot.get(f"{root}/nowhere") is None
    assert f"{root}/b" in snapshot
    assert f"{root}/nowhere" not in snapshot
    assert "/elsewhere" not in snapshot
    assert snapshot == cache.snapshot()
    with pytest.raises(KeyError) as caught:
        snapshot[f"{root}/nowhere"]
    assert isinstance(caught.value, treecache.NoNodeError)
    with pytest.raises(treecache.OutOfTreeError):
        snapshot["/elsewhere"]


def test_children(cache, root):
    snapshot = cache.snapshot()
    assert snapshot.children(root) == ["a", "b"]
    assert snapshot.children(f"{root}/b") == []
    assert snapshot.children_data(root) == {"a": snapshot[f"{root}/a"], "b": snapshot[f"{root}/b"]}


def test_a_walk_begins_where_it_is_told_to(cache, root):
    snapshot = cache.snapshot()
    assert [node.path for node in snapshot.walk()] == list(snapshot)
    assert [node.path for node in snapshot.walk(f"{root}/a")] == [f"{root}/a", f"{root}/a/x"]
    with pytest.raises(treecache.NoNodeError):
        snapshot.walk(f"{root}/nowhere")


def test_a_snapshot_never_changes(zk, cache, root):
    before = cache.snapshot()
    zk.delete(f"{root}/a/x")
    zk.set(f"{root}/b", b"3")
    cache.sync(timeout=30)
    assert f"{root}/a/x" in before and f"{root}/a/x" not in cache.snapshot()
    assert (before[f"{root}/b"].data, cache.snapshot()[f"{root}/b"].data) == (b"2", b"3")
    assert before != cache.snapshot()
    assert before.zxid < cache.snapshot().zxid


def test_a_cut_says_so(zk, cache, root):
    until(lambda: cache.snapshot().is_cut)
    assert cache.snapshot().zxid >= zk.get(root)[1].czxid


def test_it_is_empty_before_the_first_version(client, root):
    snapshot = client.cache(root).snapshot()
    assert (len(snapshot), list(snapshot), snapshot.zxid, snapshot.is_cut) == (0, [], 0, False)
    with pytest.raises(treecache.NotReadyError):
        snapshot[root]


def test_what_may_not_be_read_is_not_in_it(zk, client, root):
    zk.create(f"{root}/private", b"", acl=[make_digest_acl("somebody", "else", all=True)])
    with client.cache(root) as cache:
        cache.wait_initialized(timeout=30)
        snapshot = cache.snapshot()
    assert f"{root}/private" not in snapshot
    assert f"{root}/private" not in list(snapshot)
    assert len(snapshot) == 4
    assert snapshot.children(root) == ["a", "b", "private"]
    with pytest.raises(treecache.NoPermissionError):
        snapshot[f"{root}/private"]


def test_a_difference_is_told_as_events(zk, cache, root):
    before = cache.snapshot()
    change = zk.transaction()
    change.delete(f"{root}/a/x")
    change.set_data(f"{root}/b", b"3")
    change.create(f"{root}/c", b"4")
    change.commit()
    cache.sync(timeout=30)
    after = cache.snapshot()

    events = before.diff(after)
    assert [(event.event_type, event.event_data.path, event.event_data.data) for event in events] == [
        (TreeEvent.NODE_REMOVED, f"{root}/a/x", b""),
        (TreeEvent.NODE_UPDATED, f"{root}/b", b"3"),
        (TreeEvent.NODE_ADDED, f"{root}/c", b"4"),
    ]
    assert events[1].old_data == before[f"{root}/b"]
    assert [event.last_of_version for event in events] == [False, False, True]
    assert {event.zxid for event in events} == {after.zxid}

    assert [event.event_type for event in after.diff(before)] == [
        TreeEvent.NODE_REMOVED,
        TreeEvent.NODE_ADDED,
        TreeEvent.NODE_UPDATED,
    ]
    assert after.diff(after) == []


def test_differences_of_other_roots_are_refused(client, cache, root):
    with client.cache(f"{root}/a") as other:
        other.wait_initialized(timeout=30)
        with pytest.raises(treecache.InvalidArgumentError):
            cache.snapshot().diff(other.snapshot())


def test_ctrl_c_in_a_difference_comes_through(monkeypatch, zk, cache, root):
    before = cache.snapshot()
    zk.create(f"{root}/c", b"")
    zk.create(f"{root}/d", b"")
    cache.sync(timeout=30)

    calls = []

    def interrupt(event):
        calls.append(event)
        raise KeyboardInterrupt

    monkeypatch.setattr("treecache._snapshot.tree_event", interrupt)
    with pytest.raises(KeyboardInterrupt):
        before.diff(cache.snapshot())
    assert len(calls) == 1


def test_a_large_tree_is_walked(zk, client, root):
    for first in range(0, 1000, 100):
        batch = zk.transaction()
        for number in range(first, first + 100):
            batch.create(f"{root}/b/{number:04}", str(number).encode())
        batch.commit()
    with client.cache(f"{root}/b") as cache:
        cache.wait_initialized(timeout=30)
        snapshot = cache.snapshot()
        assert [node.data for node in snapshot.walk()] == [b"2", *(str(number).encode() for number in range(1000))]


def test_a_cache_begins_with_a_snapshot_of_a_closed_one(zk, cache, client, root):
    snapshot = cache.snapshot()
    cache.close()
    with treecache.Client("127.0.0.1:1") as nowhere:
        with pytest.raises(treecache.InvalidArgumentError):
            nowhere.cache("/elsewhere").start_from(snapshot)
        warm = nowhere.cache(root)
        warm.start_from(snapshot)
        assert warm.state == treecache.State.WARM
        assert warm.get_data(f"{root}/b").data == b"2"
        assert warm.get_data(f"{root}/nowhere") is None
        with pytest.raises(treecache.StateError):
            warm.start_from(snapshot)
    with pytest.raises(treecache.ClosedError):
        cache.start_from(snapshot)
    zk.set(f"{root}/b", b"3")
    begun = client.cache(root)
    with begun.events(timeout=30) as stream:
        begun.start_from(snapshot)
        told = [next(stream) for _ in range(6)]
    paths = [(event.event_type, event.event_data.path) for event in told[:5]]
    assert paths[:4] == [(TreeEvent.NODE_ADDED, path) for path in snapshot]
    assert paths[4] == (TreeEvent.NODE_UPDATED, f"{root}/b")
    assert told[5].event_type == TreeEvent.INITIALIZED
    begun.close()


def test_in_and_get_agree_whatever_the_path_is(zk, client, root):
    zk.create(f"{root}/hidden", b"", [make_digest_acl("ada", "secret", all=True)])
    with client.cache(root) as cache:
        cache.wait_initialized(timeout=30)
        snapshot = cache.snapshot()
    for path in (root, f"{root}/a", f"{root}/c", f"{root}/hidden", "/elsewhere", "/", "nonsense", "", f"{root}/", 7):
        found = path in snapshot
        assert found == (path in (root, f"{root}/a")), path
        if isinstance(path, str):
            assert (snapshot.get(path) is not None) == found
            assert snapshot.get(path, 1) == (snapshot[path] if found else 1)
