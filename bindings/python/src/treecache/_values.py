"""What the library tells, as Python's own immutable values: copied, and independent of the library."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from ctypes import string_at
from typing import Any, NamedTuple, Optional

from . import _abi
from .errors import TreeCacheError, error

# tc_stat, which will never change, and tc_node: all at once is several times faster than field by field.
STAT = struct.Struct("@4q3iq2iq")
_NODE = struct.Struct("@PN4q3iq2iq")


class _Number(enum.IntEnum):
    """Numbers that a later library may have more of: those get a name of the form UNKNOWN_8."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        if not isinstance(value, int):
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = f"UNKNOWN_{value}"
        unknown._value_ = value
        return unknown

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return int.__format__(self, spec) if spec[-1:] in tuple("bcdoxXneEfFgG%") else format(self.name, spec)


class EventType(_Number):
    """What happened. 0 to 6 are kazoo's."""

    NODE_ADDED = 0
    NODE_UPDATED = 1
    NODE_REMOVED = 2
    CONNECTION_SUSPENDED = 3
    CONNECTION_RECONNECTED = 4
    CONNECTION_LOST = 5
    INITIALIZED = 6
    IN_STEP = 7


class State(_Number):
    """How a cache stands to the server."""

    LATENT = 0
    LOADING = 1
    IN_STEP = 2
    CATCHING_UP = 3
    SUSPENDED = 4
    LOST = 5
    CLOSED = 6
    WARM = 7
    HELD = 8


class ZnodeStat(NamedTuple):
    """ZooKeeper's Stat of a node, with the fields of kazoo's ZnodeStat. Times are in ms since the Unix epoch."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeralOwner: int
    dataLength: int
    numChildren: int
    pzxid: int


class NodeData(NamedTuple):
    """A node: where it is, its data (b"" also where ZooKeeper has none), and its Stat."""

    path: str
    data: bytes
    stat: ZnodeStat


class _TreeEvent(NamedTuple):
    event_type: EventType
    event_data: Optional[NodeData]
    old_data: Optional[NodeData]
    zxid: int
    last_of_version: bool


class TreeEvent(_TreeEvent):
    """Something that happened to a cache.

    event_type: what. event_data: the node, and the last that was known of it when it was removed; None for events of
    the connection, INITIALIZED and IN_STEP. old_data: the node before an update, else None. zxid: that of the version
    the event belongs to; 0 for events of the connection. last_of_version: it is the last event of a published version;
    what came since the last such event may be applied as one.
    """

    __slots__ = ()

    NODE_ADDED = EventType.NODE_ADDED
    NODE_UPDATED = EventType.NODE_UPDATED
    NODE_REMOVED = EventType.NODE_REMOVED
    CONNECTION_SUSPENDED = EventType.CONNECTION_SUSPENDED
    CONNECTION_RECONNECTED = EventType.CONNECTION_RECONNECTED
    CONNECTION_LOST = EventType.CONNECTION_LOST
    INITIALIZED = EventType.INITIALIZED
    IN_STEP = EventType.IN_STEP


class Stats(NamedTuple):
    """Figures of a cache.

    contact_age_ms: since the last word from a server, None before the first. cut_age_ms: since a cut was last known
    to be current, None before the first. zxid, nodes, bytes: of the version that is read now. versions: published;
    cuts: of them, those that are cuts. events: handed out, to each listener and stream. lags: how often one of these
    fell behind and went on by difference. reads: nodes asked for; batches: requests they were asked with. resyncs:
    verifications of the tree after a connection was gone. connections: how often the client has connected.
    session_id: 0 before the first session. server: "host:port" the client is connected to, or None. watch: by which
    watches the cache hears of changes, "recursive" or "one-shot", or None if that is not known yet. faults: of the cache
    and its client so far. last_fault_age_ms and last_fault_status: of the last of them, None and 0 where there was none;
    `cache.last_fault` is that fault.
    """

    state: State
    contact_age_ms: Optional[int]
    cut_age_ms: Optional[int]
    zxid: int
    nodes: int
    bytes: int
    versions: int
    cuts: int
    events: int
    lags: int
    reads: int
    batches: int
    resyncs: int
    connections: int
    session_id: int
    server: Optional[str]
    watch: Optional[str] = None
    faults: int = 0
    last_fault_age_ms: Optional[int] = None
    last_fault_status: int = 0


def _node_data(path: str, data: Optional[int], length: int, stat: Iterable[int]) -> NodeData:
    return NodeData(path, string_at(data, length) if data and length else b"", ZnodeStat._make(stat))


def node_data(path: str, node: _abi.tc_node) -> NodeData:
    """A node that is lent by the library."""
    data, length, *stat = _NODE.unpack_from(node)  # later versions may add fields at its end
    return _node_data(path, data, length, stat)


def tree_event(event: _abi.tc_event) -> TreeEvent:
    """An event that is lent by the library."""
    node = old = None
    if event.stat:
        path = event.path.decode()
        node = _node_data(path, event.data, event.data_len, STAT.unpack(event.stat.contents))
        if event.old_stat:
            old = _node_data(path, event.old_data, event.old_data_len, STAT.unpack(event.old_stat.contents))
    return TreeEvent(
        EventType(event.type),
        node,
        old,
        event.zxid,
        bool(event.flags & _abi.TC_EVENT_LAST_OF_VERSION),
    )


def fault(told: _abi.tc_fault) -> TreeCacheError:
    """A fault that is lent by the library, as the exception it is told with."""
    return error(
        told.status,
        told.message.decode(),
        path=None if told.path is None else told.path.decode(),
        server_error=told.server_error,
    )


def stats(told: _abi.tc_stats) -> Stats:
    """Figures that are lent by the library."""
    return Stats(
        State(told.state),
        None if told.contact_age_ms < 0 else told.contact_age_ms,
        None if told.cut_age_ms < 0 else told.cut_age_ms,
        told.zxid,
        told.nodes,
        told.bytes,
        told.versions,
        told.cuts,
        told.events,
        told.lags,
        told.reads,
        told.batches,
        told.resyncs,
        told.connections,
        told.session_id,
        None if told.server is None else told.server.decode(),
        None if told.watch is None else told.watch.decode(),
        told.faults,
        None if told.last_fault_age_ms < 0 else told.last_fault_age_ms,
        told.last_fault_status,
    )
