"""The events of a cache, taken out by the program's own threads or coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import select
import time
from collections.abc import Sequence
from ctypes import byref, c_int32, c_void_p
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from . import _abi
from ._config import Config, Settings, make
from ._handle import Handle, Owner, milliseconds, refuse_in_event_loop
from ._library import lib
from ._values import TreeEvent, fault, tree_event
from .errors import ClosedError, TimeoutError, TreeCacheError, check

if TYPE_CHECKING:
    from ._cache import TreeCache

T = TypeVar("T")

# How many events a coroutine gets without a rest when they are there already, as those of a large tree are: more at
# once would keep the other tasks of its loop waiting.
_WITHOUT_REST = 100

# How long to wait before streams that cannot be waited for are looked at again, in ms.
_WITHOUT_DESCRIPTOR = 100


def event_in(item: c_void_p) -> Optional[TreeEvent]:
    """The event that an item is, if it is one."""
    event = lib.tc_item_event(item)
    return tree_event(event.contents) if event else None


def fault_in(item: c_void_p) -> Optional[TreeCacheError]:
    """The fault that an item is, if it is one."""
    told = lib.tc_item_fault(item)
    return fault(told.contents) if told else None


def either_in(item: c_void_p) -> Union[TreeEvent, TreeCacheError, None]:
    """The event or the fault that an item is."""
    return event_in(item) or fault_in(item)


class EventStream(Owner, Generic[T]):
    """What a cache has to tell; see `TreeCache.events`. An iterator, an asynchronous iterator and a context manager.

    The tree so far comes first, as NODE_ADDED (and INITIALIZED when the cache is); then what follows, without gap or
    duplicate. What waits is bounded: a stream that lags too far goes on with the difference between what it gave last
    and the newest version. The stream keeps its cache alive.

    Iteration ends when the stream, the cache or the client is closed, and raises the error that has stopped the cache
    for good (LimitError) when there is one. TimeoutError is raised when nothing has come for as long as `events` was
    told; the stream goes on with the next call.

    Any number of threads may take events from one stream at once: each goes to one of them. Only one coroutine at a
    time may wait for it. In the child of a fork all but `close` is StateError.
    """

    def __init__(
        self,
        cache: TreeCache,
        content: Callable[[c_void_p], Optional[T]],
        timeout: Optional[float],
        limits: Config,
    ) -> None:
        milliseconds(timeout)  # raises now rather than later
        settings = Settings({**limits, "queue.faults": content is not event_in})
        made = make(lib.tc_queue_open_or_error, cache._handle, settings.handle, of=cache)
        self._open = Handle(made, lib.tc_queue_free)
        self._cache = cache
        self._content = content
        self._timeout = timeout
        self._without_rest = 0
        self._awaited = False

    def _why(self, status: int, path: Optional[str]) -> Optional[str]:
        if status == _abi.TC_ERR_CLOSED and self._open is not None and self._cache._open is None:
            return "the TreeCache is closed"
        return super()._why(status, path)

    def __repr__(self) -> str:
        cache = getattr(self, "_cache", None)
        return f"<EventStream of {cache._name if cache else None!r}{self._standing()}>"

    def close(self) -> None:
        """Ends the stream: what waits is dropped, whoever waits is woken. Any thread, more than once; never blocks."""
        queue, self._open = self._open, None
        if queue is not None:
            lib.tc_queue_close(queue)

    def __enter__(self) -> EventStream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """A descriptor that is readable while there is something to take out with `get(0)`, for select, poll and such.

        It belongs to the stream: do not read from it or close it. It is gone when the stream is closed.
        """
        return _descriptor(self._handle)

    def get(self, timeout: Optional[float] = None) -> T:
        """Takes the next out; waits at most `timeout` seconds for it, None for no limit. Ctrl-C ends the wait.

        Raises TimeoutError, ClosedError when the stream, the cache or the client is closed, also meanwhile, and the
        error that has stopped the cache for good.
        """
        limit = milliseconds(timeout)
        end = None if limit < 0 else time.monotonic() + limit / 1000
        queue = self._handle  # keeps the descriptor open while it is waited for, whoever closes the stream
        readable = None
        while (item := self._take(queue)) is None:
            rest = None if end is None else end - time.monotonic()
            if rest is not None and rest <= 0:
                raise self._late(timeout)
            if readable is None:
                refuse_in_event_loop("async for event in cache.events()")
                readable = select.poll()
                readable.register(_descriptor(queue), select.POLLIN)
            readable.poll(milliseconds(rest))
        return item

    def __iter__(self) -> EventStream[T]:
        return self

    def __next__(self) -> T:
        try:
            return self.get(self._timeout)
        except ClosedError:
            raise StopIteration from None

    def __aiter__(self) -> EventStream[T]:
        return self

    async def __anext__(self) -> T:
        try:
            queue = self._handle  # as in get
            self._without_rest += 1
            if self._without_rest == _WITHOUT_REST:
                self._without_rest = 0
                await asyncio.sleep(0)
            is_late = False
            while (item := self._take(queue)) is None:
                if is_late:
                    raise self._late(self._timeout)
                self._without_rest = 0
                try:
                    await self._until_readable(_descriptor(queue), self._timeout)
                except asyncio.TimeoutError:
                    is_late = True  # the loop may have been busy: what has come in time is taken
            return item
        except ClosedError:
            raise StopAsyncIteration from None

    async def _until_readable(self, descriptor: int, timeout: Optional[float]) -> None:
        """Waits for the event loop to say so. When it is cancelled, nothing is lost: nothing has been taken out yet."""
        if self._awaited:
            raise RuntimeError("another coroutine is already waiting for this stream")
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def tell() -> None:
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(descriptor, tell)
        self._awaited = True
        try:
            await asyncio.wait_for(readable, timeout)
        finally:
            loop.remove_reader(descriptor)
            self._awaited = False

    async def come(self, seconds: float) -> None:
        """Waits until something has come, at most so long, and takes it out. ClosedError when nothing can come."""
        queue = self._handle  # as in get
        if self._take(queue) is None:
            try:
                await self._until_readable(_descriptor(queue), seconds)
            except asyncio.TimeoutError:
                return
            self._take(queue)

    def _late(self, timeout: Optional[float]) -> TimeoutError:
        """The time is over. Who only asks does so often, and is told no more than that."""
        said = None
        if timeout:
            with contextlib.suppress(TreeCacheError):  # it was closed meanwhile
                said = self._cache._timed_out(timeout)
        return TimeoutError(said, path=self._cache._name)

    def _take(self, queue: Handle) -> Optional[T]:
        """Takes the next out that is wanted here, if it is there already."""
        while True:
            item = c_void_p()
            try:
                status = lib.tc_queue_next(queue, 0, byref(item))
                if status in (_abi.TC_ERR_TIMEOUT, _abi.TC_ERR_INTERRUPTED):
                    return None
                self._check(status, self._cache._name)
                content = self._content(item)
            finally:
                lib.tc_item_free(item)
            if content is not None:
                return content


def take(stream: EventStream[T]) -> Optional[T]:
    """As `stream.get(0)`, but None when there is nothing."""
    return stream._take(stream._handle)


def wait_for_any(streams: Sequence[EventStream[Any]]) -> None:
    """Waits until there is something in one of the streams, one is closed, or somebody calls `wake`."""
    readable = select.poll()
    queues = []  # as in get
    longest = None
    for stream in streams:
        queue = stream._open
        if queue is None:
            return
        queues.append(queue)
        try:
            readable.register(_descriptor(queue), select.POLLIN)
        except TreeCacheError:  # the process has no descriptor left
            longest = _WITHOUT_DESCRIPTOR
    readable.poll(longest)


def wake(stream: EventStream[Any]) -> None:
    """Has a `wait_for_any` with this stream in it return, or the next one if there is none."""
    queue = stream._open
    if queue is not None:
        lib.tc_queue_wake(queue)


def _descriptor(queue: Handle) -> int:
    descriptor = c_int32()
    check(lib.tc_queue_fd(queue, byref(descriptor)), message="the process has no descriptor left for the stream")
    return descriptor.value
