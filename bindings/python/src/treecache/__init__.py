"""An exact in-memory copy of a ZooKeeper subtree: the Python binding of libtreecache.

    with Client("localhost:2181") as client, client.cache("/services") as cache:
        cache.wait_initialized(timeout=10)
        for event in cache.events():
            print(event)
"""

from ._cache import TreeCache
from ._client import Client
from ._config import Config
from ._events import EventStream
from ._library import lib as _lib
from ._snapshot import Snapshot
from ._values import EventType, NodeData, State, Stats, TreeEvent, ZnodeStat
from .errors import (
    AuthError,
    ClosedError,
    ConnectionError,
    InterruptedError,
    InvalidArgumentError,
    LimitError,
    NoNodeError,
    NoPermissionError,
    NotReadyError,
    OutOfTreeError,
    PanicError,
    ProtocolError,
    ResetError,
    StateError,
    TimeoutError,
    TLSError,
    TooSmallError,
    TreeCacheError,
    UnsupportedError,
    WouldDeadlockError,
)

__version__ = "0.1.0"

#: The version of the shared library that was found.
library_version: str = _lib.tc_version().decode()

# Without ConnectionError, InterruptedError and TimeoutError: `from treecache import *` shadows no built-in.
__all__ = [
    "AuthError",
    "Client",
    "ClosedError",
    "Config",
    "EventStream",
    "EventType",
    "InvalidArgumentError",
    "LimitError",
    "NoNodeError",
    "NoPermissionError",
    "NodeData",
    "NotReadyError",
    "OutOfTreeError",
    "PanicError",
    "ProtocolError",
    "ResetError",
    "Snapshot",
    "State",
    "StateError",
    "Stats",
    "TLSError",
    "TooSmallError",
    "TreeCache",
    "TreeCacheError",
    "TreeEvent",
    "UnsupportedError",
    "WouldDeadlockError",
    "ZnodeStat",
    "library_version",
]
