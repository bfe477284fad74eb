"""Who frees what, and when; and what all calls into the library have in common."""

from __future__ import annotations

import ctypes
import math
import queue
import threading
import weakref
from typing import Callable, Optional, TypeVar

from .errors import ClosedError, InvalidArgumentError

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

    __slots__ = ("__weakref__", "_as_parameter_")

    def __init__(self, pointer: ctypes.c_void_p, free: Callable[[ctypes.c_void_p], None]) -> None:
        self._as_parameter_ = pointer
        weakref.finalize(self, free, pointer).atexit = False  # type: ignore[misc] # a property, whatever typeshed says


class Owner:
    """What has a handle until it is closed."""

    _open: Optional[Handle]

    @property
    def _handle(self) -> Handle:
        """The handle; ClosedError when there is none any more."""
        handle = self._open
        if handle is None:
            raise ClosedError(f"the {type(self).__name__} is closed")
        return handle


def text(value: str) -> bytes:
    """A string for the library, which takes it up to the first NUL."""
    if not isinstance(value, str):
        raise TypeError(f"expected a str, not {type(value).__name__}")
    if "\0" in value:
        raise InvalidArgumentError(f"a NUL in {value!r}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"no Unicode: {value!r}") from None


def milliseconds(timeout: Optional[float]) -> int:
    """Seconds as the library takes them, rounded up. None, and more than 24 days, are no limit."""
    if timeout is None:
        return -1
    if not timeout >= 0:  # NaN too
        raise InvalidArgumentError(f"a timeout is None or a number of seconds from 0 on, not {timeout!r}")
    if timeout > _INT32_MAX / 1000:
        return -1
    return math.ceil(timeout * 1000)


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
