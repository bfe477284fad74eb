"""One exception for each status of the library; all are a TreeCacheError.

Some are a kind of a built-in exception too, so that `except KeyError`, `except TimeoutError` and the like need no
import. The first line of each documentation is the message where the library has no better one.
"""

from __future__ import annotations

import builtins
from typing import Optional


class TreeCacheError(Exception):
    """The library answered with a status that this package does not know.

    status: the TC_ERR_ number. message: what is wrong, for people. path, key: the node or the configuration key it
    is about, or None. server_error: ZooKeeper's own error code, or 0.
    """

    status: int = 0

    def __init__(
        self,
        message: Optional[str] = None,
        *,
        path: Optional[str] = None,
        key: Optional[str] = None,
        server_error: int = 0,
    ) -> None:
        self.message = message or (type(self).__doc__ or type(self).__name__).partition("\n")[0]
        super().__init__(self.message)
        self.path = path
        self.key = key
        self.server_error = server_error

    def __str__(self) -> str:
        path = None if self.path is None else _escaped(self.path)
        return ": ".join(part for part in (self.key, path, self.message) if part is not None)


def _escaped(text: str) -> str:
    """As it can be shown: who named a node may have had something else in mind."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class InvalidArgumentError(TreeCacheError, ValueError):
    """It is malformed."""

    status = -1


class NoNodeError(TreeCacheError, KeyError):
    """There is no such node."""

    status = -2


class OutOfTreeError(TreeCacheError, ValueError):
    """The path is not below the root."""

    status = -3


class NotReadyError(TreeCacheError):
    """The first load is not complete, and the node has not been seen yet."""

    status = -4


class StateError(TreeCacheError):
    """Not in this state."""

    status = -5


class ClosedError(TreeCacheError):
    """Closed."""

    status = -6


class TimeoutError(TreeCacheError, builtins.TimeoutError):
    """The time to wait is over."""

    status = -7


class WouldDeadlockError(TreeCacheError):
    """Waiting in a callback would wait for itself."""

    status = -8


class UnsupportedError(TreeCacheError):
    """The server cannot do what a cache needs."""

    status = -9


class AuthError(TreeCacheError):
    """The server refused the credentials."""

    status = -10


class PanicError(TreeCacheError):
    """A defect in libtreecache."""

    status = -11


class NoPermissionError(TreeCacheError):
    """The session may not read the node, or one above it."""

    status = -12


class ConnectionError(TreeCacheError, builtins.ConnectionError):
    """There is no connection to a server."""

    status = -13


class ProtocolError(TreeCacheError):
    """The server sent what ZooKeeper's protocol does not allow."""

    status = -14


class TLSError(TreeCacheError):
    """TLS failed."""

    status = -15


class ResetError(TreeCacheError):
    """The ensemble went back in time: it was reset or restored."""

    status = -16


class LimitError(TreeCacheError):
    """The tree is beyond a limit; the cache has stopped."""

    status = -17


class InterruptedError(TreeCacheError, builtins.InterruptedError):
    """The wait was ended by a wake."""

    status = -18


class TooSmallError(TreeCacheError):
    """The buffer is too small."""

    status = -19


_BY_STATUS = {kind.status: kind for kind in TreeCacheError.__subclasses__()}


def error(
    status: int,
    message: Optional[str] = None,
    *,
    path: Optional[str] = None,
    key: Optional[str] = None,
    server_error: int = 0,
) -> TreeCacheError:
    """The exception for a status."""
    kind = _BY_STATUS.get(status, TreeCacheError)
    made = kind(message, path=path, key=key, server_error=server_error)
    made.status = status
    return made


def check(status: int, path: Optional[str] = None, message: Optional[str] = None) -> None:
    """Raises the exception for a status that is not TC_OK."""
    if status != 0:
        raise error(status, message, path=path)
