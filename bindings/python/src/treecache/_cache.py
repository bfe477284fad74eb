"""An in-memory copy of a subtree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from ctypes import POINTER, byref, c_int32, c_int64, c_void_p
from typing import TYPE_CHECKING, Callable, Literal, Optional, TypeVar, Union, overload

from . import _abi, _logging, _reads
from ._config import Config, Settings, Value, make, raise_told, tell
from ._events import EventStream, either_in, event_in, fault_in
from ._handle import Handle, Owner, file_name, interruptible, milliseconds, refuse_in_event_loop, text
from ._library import lib
from ._listeners import Listeners
from ._snapshot import Snapshot
from ._values import NodeData, State, Stats, TreeEvent, fault, stats
from .errors import NoNodeError, NotReadyError, StateError, TimeoutError, TreeCacheError

if TYPE_CHECKING:
    from ._client import Client

D = TypeVar("D")
_EventListener = TypeVar("_EventListener", bound=Callable[[TreeEvent], object])
_FaultListener = TypeVar("_FaultListener", bound=Callable[[Exception], object])


# Settings of the cache that its streams begin with.
_OF_STREAMS = ("events.capacity", "events.bytes")

# How long a coroutine waits before it asks again whether the load can still succeed, in seconds.
_LONGEST_REST = 0.2


class TreeCache(Owner):
    """An in-memory copy of the subtree at `path`, and of every change of it.

    client: the session it uses, and keeps alive. path: the root, absolute, relative to the client's chroot. config:
    settings by name, such as {"root.create": False}; those for clients are ignored.

    Nothing is read before `start`. As a context manager it is started on entry and closed at the end. Reads are
    answered from memory, and go on while the server is away. Any method may be called from any thread; after `close`
    all but `state` and `close` raise ClosedError. In the child of a fork they raise StateError.

    Raises InvalidArgumentError, with `key` when it is a setting; ClosedError when the client is closed.
    """

    #: None: attached to a file.
    _client: Optional[Client] = None
    #: None: attached to a file, and not known yet.
    _path: Optional[str] = None

    def __init__(self, client: Client, path: str, config: Optional[Config] = None) -> None:
        made = make(lib.tc_new_or_error, client._handle, text(path), Settings(config).handle, of=client)
        self._client = client
        self._path = path
        self._begin(made, path, config)

    @classmethod
    def attach(cls, file: Union[str, os.PathLike[str]], config: Optional[Config] = None) -> TreeCache:
        """A cache of the tree that another cache keeps in `file` (its setting `share.file`), in whatever process: without a
        session, and without a thread until something listens. Only on Linux.

        config: settings by name, of which `close.keep`, `events.capacity` and `events.bytes` count.

        It is started. Reads, snapshots, listeners and streams are as ever. `state` and `stats().contact_age_ms` say what the
        writer last knew: SUSPENDED if it was silent for longer than its session lasts, dead or not. A writer that comes back
        is taken up by itself. Without a file the state is LOADING until there is one. `wait_initialized` and `ready` wait for
        the writer; `sync` raises UnsupportedError. Errors about the cache as a whole name the file.

        In the child of a fork it can be read, waited for and asked for its state; for events, attach there.

        Raises InvalidArgumentError when there is something else under that name, or a file of another format or on the file
        system of a network, or it cannot be read; UnsupportedError on other systems than Linux.
        """
        _logging.begin()
        settings, made = Settings(config), c_void_p()
        settings.check(lib.tc_attach(file_name(file), settings.handle, byref(made)))
        cache = cls.__new__(cls)
        cache._begin(made, os.fsdecode(file), config)
        return cache

    def _begin(self, made: c_void_p, name: str, config: Optional[Config]) -> None:
        self._open = Handle(made, lib.tc_free)
        self._name = name  # what errors call it: the root, or the file
        self._limits = {key: value for key, value in (config or {}).items() if key in _OF_STREAMS}
        self._listeners = Listeners(name)

    def __repr__(self) -> str:
        standing = self._standing()
        if not standing:
            try:
                standing = f", {self.state}"
            except TreeCacheError as refused:  # a defect has ended it
                standing = f", {refused.message}"
        return f"<TreeCache of {getattr(self, '_name', None)!r}{standing}>"

    def _why(self, status: int, path: Optional[str]) -> Optional[str]:
        if status == _abi.TC_ERR_STATE and self._client is None and self._is_inherited:
            return "the TreeCache was attached by the parent, before the fork; the child may read it, but has to attach for events"
        root = self._root() if status == _abi.TC_ERR_OUT_OF_TREE else None
        return super()._why(status, path) or _reads.why(status, self._name if path is None else path, root)

    def _root(self) -> Optional[str]:
        if self._path is None:
            self._path = self.snapshot()._root
        return self._path

    @property
    def path(self) -> str:
        """The root. NotReadyError when the cache is attached to a file that was not there yet."""
        root = self._root()
        if root is None:
            raise NotReadyError("the file is not there yet, so that nobody knows the root", path=self._name)
        return root

    # Life

    def start(self) -> None:
        """Begins to load and follow the tree. Returns at once. StateError when it was started before."""
        tell(self, lib.tc_start_or_error, self._handle, path=self._name)

    def start_from(self, snapshot: Snapshot) -> None:
        """Begins to follow the tree from what `snapshot` holds, in place of `start`. Returns at once.

        The snapshot is of a cache of the same root, which may be closed, and its client too. Its tree can be read when this
        returns, in state WARM until there is a connection. Then the tree is verified, and only what differs is told. A
        snapshot of another ensemble is a fault, ResetError, and the tree is loaded anew.

        Raises InvalidArgumentError when the snapshot is of another root or chroot, or of a cache with other rules or data,
        which the message names; LimitError when it is beyond a limit of this cache; StateError when the cache was started
        before; ClosedError.
        """
        why = POINTER(_abi.tc_error)()
        status = lib.tc_start_from_or_error(self._handle, snapshot._handle, byref(why))
        raise_told(self, status, why, self._name)

    def close(self) -> None:
        """Ends it: whoever waits is woken, and it cannot be started again.

        No call of a listener begins after this has returned; one may be running. Nodes and snapshots stay. Any thread,
        listeners too, and more than once; never blocks.
        """
        self._listeners.close()
        handle, self._open = self._open, None
        if handle is not None:
            lib.tc_close(handle)

    def __enter__(self) -> TreeCache:
        if self.state in (State.LATENT, State.CLOSED):  # then `start` says so
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_initialized(self, timeout: Optional[float] = None) -> None:
        """Waits until the first load is complete, at most `timeout` seconds, None for no limit. Ctrl-C ends the wait.

        Raises TimeoutError, StateError when it is not started, ClosedError also when it is closed meanwhile, and
        AuthError, UnsupportedError, LimitError or what else a fault said when the load cannot succeed as things stand. The
        message says what went wrong last: "timed out after 10 s; last: zk1:2181: Connection refused". Where it would block
        the event loop that runs on this thread, WouldDeadlockError: see `ready`.
        """
        milliseconds(timeout)  # raises now what is wrong with it
        if not self.is_initialized:
            self._wait(lib.tc_wait_initialized_or_error, timeout, "await cache.ready(timeout)")

    def _wait(self, function: Callable[..., int], timeout: Optional[float], instead: str) -> None:
        handle, limit = self._handle, milliseconds(timeout)
        if limit != 0:
            refuse_in_event_loop(instead)
        why = POINTER(_abi.tc_error)()
        arguments = (handle, limit, byref(why))
        status = function(*arguments) if limit == 0 else interruptible(function, *arguments)
        raise_told(self, status, why, self._name)

    async def ready(self, timeout: Optional[float] = None) -> None:
        """`wait_initialized` for a coroutine: no thread waits, and it may be cancelled. Raises the same."""
        limit = milliseconds(timeout)
        end = None if limit < 0 else time.monotonic() + limit / 1000
        stream = ended = None
        try:
            while True:
                try:
                    return self._wait(lib.tc_wait_initialized_or_error, 0, "")
                except TimeoutError:
                    if ended is not None:
                        raise ended from None
                    rest = None if end is None else end - time.monotonic()
                    if rest is not None and rest <= 0:
                        raise TimeoutError(self._timed_out(timeout), path=self._name) from None
                try:
                    if stream is None:  # what follows is told, and what was before is asked for once more
                        stream = EventStream(self, either_in, None, {"listen.events": "initialized"})
                    else:
                        await stream.come(_LONGEST_REST if rest is None else min(rest, _LONGEST_REST))
                except TreeCacheError as error:  # that of the wait says more
                    ended = error
        finally:
            if stream is not None:
                stream.close()

    def _timed_out(self, timeout: Optional[float]) -> str:
        """What is said when a time is over, with what went wrong last: the words of the library."""
        said = f"timed out after {timeout or 0:g} s"
        last, age = self.last_fault, self.stats().last_fault_age_ms
        if last is None or age is None:
            return said
        return f"{said}; last{'' if age < 60_000 else f', {age // 1000} s ago'}: {last.message}"

    def sync(self, timeout: Optional[float] = None) -> None:
        """Waits until reads see all that was committed anywhere before this call: ZooKeeper's sync.

        At most `timeout` seconds, None for no limit. Ctrl-C ends the wait. Raises as `wait_initialized`, and
        ConnectionError when there is no connection or it goes meanwhile.
        """
        self._wait(lib.tc_sync_or_error, timeout, "await loop.run_in_executor(None, cache.sync, timeout)")

    @property
    def is_initialized(self) -> bool:
        """Whether the first load is complete."""
        return bool(lib.tc_is_initialized(self._handle))

    @property
    def state(self) -> State:
        """How it stands to the server. `stats().contact_age_ms` says how old that statement may be."""
        handle = self._open
        if handle is None:
            return State.CLOSED
        state, age = c_int32(), c_int64()
        self._check(lib.tc_get_state(handle, byref(state), byref(age)), self._name)
        return State(state.value)

    def stats(self) -> Stats:
        """Figures: how old, how large, how much work."""
        told = POINTER(_abi.tc_stats)()
        self._check(lib.tc_get_stats(self._handle, byref(told)), self._name)
        try:
            return stats(told.contents)
        finally:
            lib.tc_stats_free(told)

    @property
    def last_fault(self) -> Optional[TreeCacheError]:
        """What went wrong last, of the cache or of its client, whether it is over or not; None where nothing did."""
        told = POINTER(_abi.tc_fault)()
        self._check(lib.tc_get_fault(self._handle, byref(told)), self._name)
        try:
            return fault(told.contents) if told else None
        finally:
            lib.tc_fault_free(told)

    # Reads

    @overload
    def get_data(self, path: str) -> Optional[NodeData]: ...
    @overload
    def get_data(self, path: str, default: D) -> Union[NodeData, D]: ...
    def get_data(self, path: str, default: object = None) -> object:
        """The node at `path`; `default` when there is no such node.

        Raises OutOfTreeError (a ValueError) when the path is not below the root, NotReadyError when the first load is
        not complete and the node has not been seen yet, NoPermissionError, and InvalidArgumentError for what is no
        path.
        """
        node = _reads.get_data(lib.tc_copy_data, self._handle, path, self._check)
        return default if node is None else node

    @overload
    def get_children(self, path: str) -> Optional[frozenset[str]]: ...
    @overload
    def get_children(self, path: str, default: D) -> Union[frozenset[str], D]: ...
    def get_children(self, path: str, default: object = None) -> object:
        """The names of a node's children, those that may not be read among them; `default` when there is no such node.

        Raises as `get_data`.
        """
        try:
            return frozenset(_reads.get_children(lib.tc_get_children, self._handle, path, self._check))
        except NoNodeError:
            return default

    @overload
    def get_children_data(self, path: str) -> Optional[dict[str, Optional[NodeData]]]: ...
    @overload
    def get_children_data(self, path: str, default: D) -> Union[dict[str, Optional[NodeData]], D]: ...
    def get_children_data(self, path: str, default: object = None) -> object:
        """A node's children by name, all of one version, in the order of the names' bytes; `default` when there is no
        such node. None for a child that may not be read.

        Raises as `get_data`.
        """
        try:
            return _reads.get_children_data(lib.tc_get_children_data, self._handle, path, self._check)
        except NoNodeError:
            return default

    def snapshot(self) -> Snapshot:
        """The tree as it is now, which two reads need not be. Takes constant time."""
        out = c_void_p()
        self._check(lib.tc_get_snapshot(self._handle, byref(out)), self._name)
        return Snapshot(Handle(out, lib.tc_snapshot_free), self._path or _root_of(out))

    # Events

    @overload
    def events(
        self,
        *,
        timeout: Optional[float] = None,
        faults: Literal[False] = False,
        capacity: Optional[int] = None,
        under: Union[str, Iterable[str], None] = None,
        depth: Optional[int] = None,
        events: Union[str, Iterable[str], None] = None,
        initial: bool = True,
        after_initialized: bool = False,
    ) -> EventStream[TreeEvent]: ...
    @overload
    def events(
        self,
        *,
        timeout: Optional[float] = None,
        faults: Literal[True],
        capacity: Optional[int] = None,
        under: Union[str, Iterable[str], None] = None,
        depth: Optional[int] = None,
        events: Union[str, Iterable[str], None] = None,
        initial: bool = True,
        after_initialized: bool = False,
    ) -> EventStream[Union[TreeEvent, TreeCacheError]]: ...
    def events(
        self,
        *,
        timeout: Optional[float] = None,
        faults: bool = False,
        capacity: Optional[int] = None,
        under: Union[str, Iterable[str], None] = None,
        depth: Optional[int] = None,
        events: Union[str, Iterable[str], None] = None,
        initial: bool = True,
        after_initialized: bool = False,
    ) -> Union[EventStream[TreeEvent], EventStream[Union[TreeEvent, TreeCacheError]]]:
        """Opens a stream of its events: `for event in cache.events()`, or `async for`. Before or after `start`.

        timeout: the longest silence in seconds that iteration puts up with, None for no limit. faults: whether what
        goes wrong in the background is in it too, as exceptions that are not raised. capacity: events that it may lag
        before it goes on by difference; the cache's `events.capacity` unless given.

        under: the subtrees of which it tells, one absolute path or several; depth: how many levels below each of them, 0
        for that node alone. events: of which kinds, such as "added,removed" or ["connection", "in_step"]; there are
        added, updated, removed, connection, initialized and in_step. initial: whether the tree so far comes first.
        after_initialized: whether nothing comes before INITIALIZED, and of the tree only what changes after it.
        """
        settings = {**self._limits, **_interest(under, depth, events, initial, after_initialized)}
        if capacity is not None:
            settings["events.capacity"] = capacity
        if faults:
            return EventStream[Union[TreeEvent, TreeCacheError]](self, either_in, timeout, settings)
        return EventStream[TreeEvent](self, event_in, timeout, settings)

    @overload
    def listen(
        self,
        listener: _EventListener,
        *,
        under: Union[str, Iterable[str], None] = None,
        depth: Optional[int] = None,
        events: Union[str, Iterable[str], None] = None,
        initial: bool = True,
        after_initialized: bool = False,
    ) -> _EventListener: ...
    @overload
    def listen(
        self,
        listener: None = None,
        *,
        under: Union[str, Iterable[str], None] = None,
        depth: Optional[int] = None,
        events: Union[str, Iterable[str], None] = None,
        initial: bool = True,
        after_initialized: bool = False,
    ) -> Callable[[_EventListener], _EventListener]: ...
    def listen(
        self,
        listener: Optional[_EventListener] = None,
        *,
        under: Union[str, Iterable[str], None] = None,
        depth: Optional[int] = None,
        events: Union[str, Iterable[str], None] = None,
        initial: bool = True,
        after_initialized: bool = False,
    ) -> Union[_EventListener, Callable[[_EventListener], _EventListener]]:
        """Has `listener` called with each TreeEvent, the tree so far first; or with those that are wanted, see `events`.

        May be used as a decorator, `@cache.listen` or `@cache.listen(under="/services/web")`.

        The listeners of a cache are called one at a time, on one thread of Python's. What a listener raises is told to
        the fault listeners, or else logged. It is called until `unlisten` or `close`; until then, the cache stays alive.
        """

        def add(listener: _EventListener) -> _EventListener:
            settings = {**self._limits, **_interest(under, depth, events, initial, after_initialized)}
            self._listeners.add(listener, EventStream(self, event_in, None, settings), of_faults=False)
            return listener

        return add if listener is None else add(listener)

    def listen_fault(self, listener: _FaultListener) -> _FaultListener:
        """Has `listener` called with what goes wrong in the background, and with what listeners of events raise.

        As `listen` in all else.
        """
        self._listeners.add(listener, EventStream(self, fault_in, None, self._limits), of_faults=True)
        return listener

    def unlisten(self, listener: Callable[..., object]) -> None:
        """Removes what `listen` or `listen_fault` has added; once, if it was added more than once.

        None of its calls begins after this has returned; one may be running. Never blocks; listeners may call it.
        InvalidArgumentError when it is no listener.
        """
        if self._handle.is_inherited:
            raise StateError(self._why(StateError.status, None), path=self._name)
        self._listeners.remove(listener)


def _root_of(snapshot: c_void_p) -> Optional[str]:
    root: Optional[bytes] = lib.tc_snapshot_root(snapshot)
    return None if root is None else root.decode()


def _interest(
    under: Union[str, Iterable[str], None],
    depth: Optional[int],
    events: Union[str, Iterable[str], None],
    initial: bool,
    after_initialized: bool,
) -> dict[str, Value]:
    """The settings of a stream that tells only some events."""
    settings: dict[str, Value] = {"listen.initial": initial, "listen.after.initialized": after_initialized}
    if under is not None:
        settings["listen.under"] = [under] if isinstance(under, str) else list(under)
    if depth is not None:
        settings["listen.depth"] = depth
    if events is not None:
        settings["listen.events"] = events if isinstance(events, str) else ",".join(events)
    return settings
