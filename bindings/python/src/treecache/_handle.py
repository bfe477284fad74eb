"""Who frees what, and when; and what all calls into the library have in common."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import queue
import threading
import weakref
from typing import Callable, Optional, TypeVar, Union

from . import _abi
from .errors import ClosedError, InvalidArgumentError, WouldDeadlockError, error

T = TypeVar("T")

_INT32_MAX = 2**31 - 1


class Handle:
    """A pointer of the library's. It is freed when nobody refers to it any more.

    The library wants the argument of a free function for itself. Every call passes this object and not the bare
    pointer: ctypes refers to it for as long as the call lasts, so nothing is freed under a call, whichever thread
    closes the thing meanwhile. There is no count that an exception could leave wrong, and no lock that a signal
    handler or the garbage collector could wait for.

    What is left at the end of the process is not freed: other threads may still be using it.
    """

    __slots__ = ("__weakref__", "_as_parameter_", "_pointer", "_process")

    def __init__(self, pointer: ctypes.c_void_p, free: Callable[[ctypes.c_void_p], None]) -> None:
        self._as_parameter_ = pointer.value  # an int takes less time to convert
        self._pointer = pointer  # for functions that convert nothing
        self._process = os.getpid()
        weakref.finalize(self, free, pointer).atexit = False  # type: ignore[misc] # a property, whatever typeshed says

    @property
    def is_inherited(self) -> bool:
        """Whether this is the child of a fork, and the parent has made it."""
        return self._process != os.getpid()


class Owner:
    """What has a handle until it is closed."""

    _open: Optional[Handle] = None

    def _why(self, status: int, path: Optional[str]) -> Optional[str]:
        """What is wrong when a call has answered with `status`; None where that says all."""
        handle = self._open
        if status == _abi.TC_ERR_CLOSED:
            return f"the {type(self).__name__ if handle is None else 'Client'} is closed"
        if status == _abi.TC_ERR_STATE and self._is_inherited:
            return f"the {type(self).__name__} was made by the parent, before the fork; the child may only close it"
        return None

    @property
    def _is_inherited(self) -> bool:
        """Whether this is the child of a fork, and the parent has made it."""
        handle = self._open
        return handle is not None and handle.is_inherited

    def _standing(self) -> str:
        """How it stands, for `repr`, which raises nothing: not where it was never made, and not in the child of a fork."""
        handle = self._open
        if handle is None:
            return ", closed"
        return ", made before the fork" if self._is_inherited else ""

    def _check(self, status: int, path: Optional[str] = None) -> None:
        """Raises what is wrong when a call has failed."""
        if status != _abi.TC_OK:
            raise error(status, self._why(status, path), path=path)

    @property
    def _handle(self) -> Handle:
        """The handle; ClosedError when there is none any more."""
        handle = self._open
        if handle is None:
            raise ClosedError(f"the {type(self).__name__} is closed")
        return handle


def text(value: str) -> bytes:
    """A string for the library, which takes it up to the first NUL. What is wrong with it does not show it: it may be a
    password."""
    if not isinstance(value, str):
        raise TypeError(f"expected a str, not {type(value).__name__}")
    if "\0" in value:
        raise InvalidArgumentError("there is a NUL in it")
    try:
        return value.encode()
    except UnicodeEncodeError as bad:
        at = bad.start
    # Out of the handler, whose exception has the string and would go along as the context.
    raise InvalidArgumentError(f"there is no Unicode at index {at}")


def file_name(file: Union[str, os.PathLike[str]]) -> bytes:
    """The name of a file for the library, with what the system has put into it."""
    name = os.fsencode(file)
    if b"\0" in name:
        raise InvalidArgumentError("there is a NUL in the name of the file")
    return name


def milliseconds(timeout: Optional[float]) -> int:
    """Seconds as the library takes them, rounded up. None, and more than 24 days, are no limit."""
    if timeout is None:
        return -1
    if not timeout >= 0:  # NaN too
        raise InvalidArgumentError(f"a timeout is None or a number of seconds from 0 on, not {timeout!r}")
    if timeout > _INT32_MAX / 1000:
        return -1
    return math.ceil(timeout * 1000)


def refuse_in_event_loop(instead: str) -> None:
    """Raises WouldDeadlockError where an event loop runs on this thread: it would stand still for as long as the wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise WouldDeadlockError(f"this would block the event loop that runs on this thread; {instead}")


def interruptible(call: Callable[..., T], *arguments: object) -> T:
    """Makes a call that blocks, so that Ctrl-C ends the wait.

    Python notices a signal when the main thread is back from the library. There the call is left to a thread of its
    own, which ends by itself: when its time is over, or its cache is closed.
    """
    if threading.current_thread() is not threading.main_thread():
        return call(*arguments)
    answer: queue.SimpleQueue[T] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(call(*arguments)), name="treecache wait", daemon=True).start()
    return answer.get()
