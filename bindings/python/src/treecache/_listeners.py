"""The listeners of a cache, and the one thread that calls them."""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable

from ._events import EventStream, take, wait_for_any, wake
from .errors import InvalidArgumentError, TreeCacheError

_log = logging.getLogger("treecache")


class _Listener:
    """A function, and the stream of what it is told."""

    def __init__(self, function: Callable[[Any], object], stream: EventStream[Any], of_faults: bool) -> None:
        self.function = function
        self.stream = stream
        self.of_faults = of_faults


class Listeners:
    """The listeners of a cache. They are called one at a time, on a thread that lives as long as there are any.

    The thread looks right before each call whether the listener is still there: the interpreter turns to no other thread
    in between. `_all` is replaced and never changed, so whoever has it may go through it without a lock.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._all: tuple[_Listener, ...] = ()
        self._is_closed = False
        self._has_thread = False
        # For changes of `_all`. Never held during a call. A signal handler may come to it while its thread holds it.
        self._lock = threading.RLock()

    def add(self, function: Callable[[Any], object], stream: EventStream[Any], of_faults: bool) -> None:
        """Has `function` called with what comes out of the stream, which is closed when the listener goes."""
        with self._lock:
            others = self._all
            self._all = (*others, _Listener(function, stream, of_faults))
            if others:
                wake(others[0].stream)
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._run, name=f"treecache {self._path}", daemon=True).start()

    def remove(self, function: Callable[[Any], object]) -> None:
        """Removes the listener that was the first to be added with this function."""
        with self._lock:
            found = [listener for listener in self._all if listener.function == function]
            if not found:
                raise InvalidArgumentError(f"{function!r} is no listener", path=self._path)
            self._drop(found[0])

    def close(self) -> None:
        """No call begins from now on. (Without the lock: another thread has it for ever in the child of a fork.)"""
        self._is_closed = True

    def _drop(self, gone: _Listener) -> None:
        with self._lock:
            self._all = tuple(listener for listener in self._all if listener is not gone)
        gone.stream.close()  # the thread may be waiting for it

    def _run(self) -> None:
        while True:
            with self._lock:
                listeners = self._all
                if self._is_closed or not listeners:
                    self._all, self._has_thread = (), False
                    return
            served = [self._serve(listener) for listener in listeners]
            if not any(served) and self._all is listeners:
                wait_for_any([listener.stream for listener in listeners])

    def _serve(self, listener: _Listener) -> bool:
        """Calls a listener with the next that there is for it, if there is something."""
        try:
            told = take(listener.stream)
        except TreeCacheError as end:  # of the stream, the cache or the client
            _log.debug("%s: %s", self._path, end)
            self._drop(listener)
            return True
        if told is None:
            return False
        try:
            if listener in self._all and not self._is_closed:
                listener.function(told)
        except Exception as raised:
            self._tell(raised, listener)
        return True

    def _tell(self, raised: Exception, by: _Listener) -> None:
        """Tells the fault listeners what a listener has raised; what one of them has raised is only logged."""
        told = False
        for listener in () if by.of_faults else self._all:
            try:
                if listener.of_faults and listener in self._all and not self._is_closed:
                    told = True
                    listener.function(raised)
            except Exception:
                _log.exception("a fault listener of %s failed", self._path)
        if not told:
            kind = "fault listener" if by.of_faults else "listener"
            _log.error("a %s of %s failed", kind, self._path, exc_info=raised)
