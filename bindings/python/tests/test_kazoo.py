"""docs/from-kazoo.md, line by line: the same operations on kazoo's TreeCache and on ours, side by side."""

import contextlib
import inspect
import queue

import pytest
from conftest import HOSTS, REPOSITORY, until
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import ZnodeStat as KazooZnodeStat
from kazoo.recipe import cache as kazoo_cache
from kazoo.recipe.cache import NodeData as KazooNodeData
from kazoo.recipe.cache import TreeCache as KazooTreeCache
from kazoo.recipe.cache import TreeEvent as KazooTreeEvent
from kazoo.security import make_digest_acl
from shop import Proxy

import treecache
from treecache import Client, NodeData, TreeCache, TreeEvent

SHARED_EVENTS = [name for name in vars(KazooTreeEvent) if name.isupper()]


class Side:
    """One of the two caches, with what it has told."""

    def __init__(self, cache):
        self.cache = cache
        self.events = []
        self.faults = queue.SimpleQueue()
        assert cache.listen(self.events.append)
        cache.listen_fault(self.faults.put)

    def told(self):
        """The events that both libraries have; kazoo's own numbers, paths and data."""
        return [
            (int(event.event_type), event.event_data and tuple(event.event_data)[:2])
            for event in self.events
            if event.event_type != TreeEvent.IN_STEP
        ]

    def wait_for(self, *last):
        until(lambda: last in [(kind, node and node[0]) for kind, node in self.told()])


@contextlib.contextmanager
def both(zk, root, hosts=HOSTS):
    """kazoo's cache and ours, started, and loaded with the same tree."""
    their_client = KazooClient(hosts)
    their_client.start()
    theirs = KazooTreeCache(their_client, root)
    with Client(hosts) as our_client:
        ours = TreeCache(our_client, root)
        sides = Side(theirs), Side(ours)
        for side in sides:
            side.cache.start()
        for side in sides:
            side.wait_for(TreeEvent.INITIALIZED, None)
        try:
            yield sides
        finally:
            ours.close()
            theirs.close()
            their_client.stop()
            their_client.close()


def test_event_numbers_and_names():
    assert len(SHARED_EVENTS) == 7
    for name in SHARED_EVENTS:
        assert getattr(TreeEvent, name) == getattr(KazooTreeEvent, name)


def test_the_same_history_gives_the_same_events(zk, root):
    history = [
        (zk.create, (f"{root}/c", b"new"), (TreeEvent.NODE_ADDED, f"{root}/c")),
        (zk.create, (f"{root}/c/y", b""), (TreeEvent.NODE_ADDED, f"{root}/c/y")),
        (zk.set, (f"{root}/b", b"changed"), (TreeEvent.NODE_UPDATED, f"{root}/b")),
        (zk.set, (f"{root}/a", b"1"), (TreeEvent.NODE_UPDATED, f"{root}/a")),  # to the same bytes
        (zk.delete, (f"{root}/c/y",), (TreeEvent.NODE_REMOVED, f"{root}/c/y")),
        (zk.delete, (f"{root}/a/x",), (TreeEvent.NODE_REMOVED, f"{root}/a/x")),
        (zk.create, (f"{root}/a/z", b"last"), (TreeEvent.NODE_ADDED, f"{root}/a/z")),
    ]
    with both(zk, root) as (theirs, ours):
        # Neither promises an order among the nodes of the first load, but that of parents and children.
        assert sorted(theirs.told()[:-1]) == sorted(ours.told()[:-1])
        assert theirs.told()[-1] == ours.told()[-1] == (TreeEvent.INITIALIZED, None)
        loaded = len(ours.told())
        for operation, arguments, event in history:
            operation(*arguments)
            theirs.wait_for(*event)
            ours.wait_for(*event)
        assert theirs.told()[loaded:] == ours.told()[loaded:]
        assert len(ours.told()) == loaded + len(history)


def test_reads_have_the_same_form(zk, root):
    with both(zk, root) as (theirs, ours):
        for path in (root, f"{root}/a", f"{root}/a/x", f"{root}/b"):
            assert isinstance(ours.cache.get_data(path), NodeData)
            assert isinstance(theirs.cache.get_data(path), KazooNodeData)
            assert ours.cache.get_data(path) == theirs.cache.get_data(path)
            assert ours.cache.get_data(path).stat._fields == theirs.cache.get_data(path).stat._fields
            assert ours.cache.get_children(path) == theirs.cache.get_children(path)
            assert type(ours.cache.get_children(path)) is type(theirs.cache.get_children(path)) is frozenset
        nowhere = f"{root}/nowhere"
        for side in (theirs, ours):
            assert side.cache.get_data(nowhere) is side.cache.get_children(nowhere) is None
            assert side.cache.get_data(nowhere, 7) == side.cache.get_children(nowhere, 7) == 7
            with pytest.raises(ValueError):
                side.cache.get_data("/elsewhere")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (kazoo_cache, treecache),
        (KazooTreeCache, TreeCache),
        (KazooTreeEvent, TreeEvent),
        (KazooNodeData, NodeData),
        (KazooZnodeStat, treecache.ZnodeStat),
    ],
)
def test_each_name_is_here_or_said_to_be_gone(theirs, ours):
    page = (REPOSITORY / "docs/from-kazoo.md").read_text()
    gone = page.partition("### Names that are gone")[2]
    names = vars(theirs)
    if inspect.ismodule(theirs):  # its classes, and not what it has from others
        names = [name for name, value in names.items() if getattr(value, "__module__", None) == theirs.__name__]
        names.remove("handle_exception")  # its own
    for name in names:
        assert name.startswith("_") or hasattr(ours, name) or f"{name}`" in gone, name


def test_each_option_of_their_client_has_its_line():
    page = (REPOSITORY / "docs/from-kazoo.md").read_text()
    options = page.partition("### Options of `KazooClient`")[2].partition("### ")[0]
    for name in inspect.signature(KazooClient).parameters:
        assert f"`{name}" in options, name


def test_what_is_raised_is_no_exception_of_kazoos():
    errors = [error for error in vars(treecache).values() if inspect.isclass(error) and issubclass(error, Exception)]
    assert treecache.TreeCacheError in errors
    assert not [error for error in errors if issubclass(error, KazooException)]


def test_starting_twice_is_an_error(zk, root):
    with both(zk, root) as (theirs, ours):
        with pytest.raises(KazooException):
            theirs.cache.start()
        with pytest.raises(treecache.StateError):
            ours.cache.start()


def test_what_a_listener_raises_goes_to_the_fault_listeners(zk, root):
    def fails(event):
        raise ZeroDivisionError

    with both(zk, root) as sides:
        for side in sides:
            side.cache.listen(fails)
        zk.set(f"{root}/a", b"new")
        for side in sides:
            assert isinstance(side.faults.get(timeout=30), ZeroDivisionError)


def test_difference_a_connection_that_comes_and_goes(zk, root):
    """kazoo tells a node that was deleted and created again meanwhile as UPDATED."""
    proxy = Proxy(int(HOSTS.rpartition(":")[2]))
    with both(zk, root, f"127.0.0.1:{proxy.port}") as (theirs, ours):
        loaded = len(ours.told())
        proxy.drop()
        theirs.wait_for(TreeEvent.CONNECTION_SUSPENDED, None)
        ours.wait_for(TreeEvent.CONNECTION_SUSPENDED, None)
        zk.delete(f"{root}/b")
        zk.create(f"{root}/b", b"2")
        proxy.restore()
        theirs.wait_for(TreeEvent.NODE_UPDATED, f"{root}/b")
        ours.wait_for(TreeEvent.NODE_ADDED, f"{root}/b")
        until(lambda: ours.events[-1].event_type == TreeEvent.IN_STEP)
        assert ours.told()[loaded:] == [
            (TreeEvent.CONNECTION_SUSPENDED, None),
            (TreeEvent.CONNECTION_RECONNECTED, None),
            (TreeEvent.NODE_REMOVED, (f"{root}/b", b"2")),
            (TreeEvent.NODE_ADDED, (f"{root}/b", b"2")),
        ]
        assert (TreeEvent.NODE_REMOVED, (f"{root}/b", b"2")) not in theirs.told()


def test_difference_updates_carry_the_old_data(zk, root):
    with both(zk, root) as (theirs, ours):
        zk.set(f"{root}/a", b"new")
        theirs.wait_for(TreeEvent.NODE_UPDATED, f"{root}/a")
        ours.wait_for(TreeEvent.NODE_UPDATED, f"{root}/a")
        (update,) = [event for event in ours.events if event.event_type == TreeEvent.NODE_UPDATED]
        assert (update.event_data.data, update.old_data.data, update.last_of_version) == (b"new", b"1", True)
        assert len(theirs.events[-1]) == 2 and len(update) == 5


def test_difference_a_late_listener(zk, root):
    """kazoo tells it only what follows."""
    with both(zk, root) as (theirs, ours):
        late = [], []
        theirs.cache.listen(late[0].append)
        ours.cache.listen(late[1].append)
        zk.set(f"{root}/a", b"new")
        until(lambda: [event for event in late[0] if event.event_type == TreeEvent.NODE_UPDATED])
        until(lambda: [event for event in late[1] if event.event_type == TreeEvent.NODE_UPDATED])
        added = [sum(event.event_type == TreeEvent.NODE_ADDED for event in events) for events in late]
        assert added == [0, 4]


def test_difference_a_path_that_only_begins_like_the_root(zk, root):
    """kazoo answers for ROOTa with ROOT/a."""
    with both(zk, root) as (theirs, ours):
        assert theirs.cache.get_data(f"{root}a").path == f"{root}/a"
        with pytest.raises(ValueError) as caught:
            ours.cache.get_data(f"{root}a")
        assert isinstance(caught.value, treecache.OutOfTreeError)


def test_difference_paths_that_are_none(zk, root):
    with both(zk, root) as (theirs, ours):
        assert theirs.cache.get_data(f"{root}/a/").path == f"{root}/a"
        with pytest.raises(treecache.InvalidArgumentError):
            ours.cache.get_data(f"{root}/a/")


def test_difference_before_the_first_load(zk, client, root):
    """kazoo answers with the default, as for a node that does not exist."""
    assert KazooTreeCache(zk, root).get_data(f"{root}/a") is None
    with pytest.raises(treecache.NotReadyError):
        TreeCache(client, root).get_data(f"{root}/a")


def test_difference_after_close(zk, root):
    with both(zk, root) as (theirs, ours):
        for side in (theirs, ours):
            side.cache.close()
        assert theirs.cache.get_data(root) is None
        assert theirs.cache.get_children(root) == frozenset()
        with pytest.raises(treecache.ClosedError):
            ours.cache.get_data(root)
        with pytest.raises(KazooException):
            theirs.cache.start()
        with pytest.raises(treecache.ClosedError):
            ours.cache.start()


def test_difference_what_may_not_be_read(zk, root):
    """kazoo answers for its data as for a node that does not exist."""
    zk.create(f"{root}/private", b"", acl=[make_digest_acl("somebody", "else", all=True)])
    with both(zk, root) as (theirs, ours):
        for side in (theirs, ours):
            assert "private" in side.cache.get_children(root)
        assert theirs.cache.get_data(f"{root}/private") is None
        with pytest.raises(treecache.NoPermissionError):
            ours.cache.get_data(f"{root}/private")


def test_difference_what_faults_are(zk, root):
    """kazoo's fault listeners are told exceptions of its own code; ours are told besides what goes wrong outside."""
    proxy = Proxy(int(HOSTS.rpartition(":")[2]))
    with both(zk, root, f"127.0.0.1:{proxy.port}") as (theirs, ours):
        proxy.drop()
        fault = ours.faults.get(timeout=30)
        assert isinstance(fault, treecache.TreeCacheError) and isinstance(fault, ConnectionError)
        assert theirs.faults.empty()
