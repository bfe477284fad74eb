"""The tree of a cache as it was at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ctypes import POINTER, byref, c_void_p
from itertools import chain
from typing import Any, Optional, TypeVar, Union, overload

from . import _abi, _reads
from ._handle import Handle, text
from ._library import lib
from ._values import NodeData, TreeEvent, node_data, tree_event
from .errors import (
    InvalidArgumentError,
    NoNodeError,
    NoPermissionError,
    NotReadyError,
    OutOfTreeError,
    check,
)

D = TypeVar("D")

_NOT_IN_IT = (InvalidArgumentError, NoNodeError, NoPermissionError, NotReadyError, OutOfTreeError)


def _nodes(walk: Handle) -> Iterator[Optional[NodeData]]:
    """What a walk has to give; None for a node that may not be read."""
    visit = POINTER(_abi.tc_visit)()
    while True:
        check(lib.tc_walk_next(walk, byref(visit)))
        if not visit:
            return
        here = visit.contents
        if here.node:
            yield node_data(here.path.decode(), here.node.contents)
        else:
            yield None


class Snapshot(Mapping[str, NodeData]):
    """The tree of a cache as it was at one moment: a mapping of paths to nodes that never changes.

    It is independent of the cache, and stays readable when that is closed. Taking one costs nothing worth mentioning,
    whatever the size of the tree; while it lives, what has changed since stays in memory too. Any thread, and the
    child of a fork too.

    Iteration, `len` and `in` speak of the nodes that the session may read, parents before their children, siblings in
    the order of their bytes. `snapshot[path]` says why a node is not there: NoNodeError (a KeyError),
    NoPermissionError, NotReadyError, OutOfTreeError or InvalidArgumentError.
    """

    def __init__(self, handle: Handle, root: Optional[str]) -> None:
        self._handle = handle
        self._root = root  # None: of a cache that is attached to a file which was not there yet

    def __repr__(self) -> str:
        return f"<Snapshot of {self._root!r}, zxid {self.zxid:#x}, {len(self)} nodes>"  # in a forked child too

    @property
    def zxid(self) -> int:
        """The zxid that the snapshot is of; a lower bound when it is not a cut, 0 before the first version."""
        return int(lib.tc_snapshot_zxid(self._handle))

    @property
    def is_cut(self) -> bool:
        """Whether it equals the server's tree at `zxid`, for all that the session may read."""
        return bool(lib.tc_snapshot_is_cut(self._handle))

    def __len__(self) -> int:
        return int(lib.tc_snapshot_len(self._handle))

    def __getitem__(self, path: str) -> NodeData:
        node = _reads.get_data(lib.tc_snapshot_copy_data, self._handle, path, self._check)
        if node is None:
            raise NoNodeError(path=path)
        return node

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        try:
            self[path]
        except _NOT_IN_IT:
            return False
        return True

    @overload
    def get(self, path: str) -> Optional[NodeData]: ...
    @overload
    def get(self, path: str, default: Union[NodeData, D]) -> Union[NodeData, D]: ...
    def get(self, path: str, default: object = None) -> object:
        """The node at `path`; `default` where `path in snapshot` is False, for whatever reason."""
        try:
            return self[path]
        except _NOT_IN_IT:
            return default

    def __iter__(self) -> Iterator[str]:
        if self._root is not None and self._root in self:
            for node in self.walk():
                yield node.path

    def _check(self, status: int, path: str) -> None:
        check(status, path, _reads.why(status, path, self._root))

    def children(self, path: str) -> list[str]:
        """The names of a node's children, in the order of their bytes, those that may not be read among them.

        Raises what `snapshot[path]` raises.
        """
        return _reads.get_children(lib.tc_snapshot_get_children, self._handle, path, self._check)

    def children_data(self, path: str) -> dict[str, Optional[NodeData]]:
        """A node's children by name, in the order of the names' bytes; None for those that may not be read.

        Raises what `snapshot[path]` raises.
        """
        return _reads.get_children_data(lib.tc_snapshot_get_children_data, self._handle, path, self._check)

    def walk(self, path: Optional[str] = None) -> Iterator[NodeData]:
        """The nodes from `path` (the root unless given) down, as iteration has them. Cheaper than `values()`.

        Raises at once what `snapshot[path]` raises.
        """
        start = self._root if path is None else path
        if start is None:
            raise NotReadyError
        pointer = c_void_p()
        self._check(lib.tc_walk_new(self._handle, text(start), byref(pointer)), start)
        nodes = _nodes(Handle(pointer, lib.tc_walk_free))
        top = next(nodes)
        self._check(_abi.TC_OK if top is not None else _abi.TC_ERR_NO_PERMISSION, start)
        return (node for node in chain((top,), nodes) if node is not None)

    def diff(self, newer: Snapshot) -> list[TreeEvent]:
        """What has to happen to this snapshot to make it `newer`, in the order and the form of events.

        Removals first, children before their parents; then additions and updates, parents before their children.
        InvalidArgumentError when the snapshots are not of the same root.
        """
        events: list[TreeEvent] = []
        failures: list[BaseException] = []

        def visit(event: Any, _user: object) -> int:
            try:
                events.append(tree_event(event.contents))
                return _abi.TC_WALK_CONTINUE
            except BaseException as failure:  # Ctrl-C, most likely: nothing may be raised through the library
                failures.append(failure)
                return -1

        status = lib.tc_snapshot_diff(self._handle, newer._handle, _abi.tc_diff_fn(visit), None)
        check(status, message=f"one snapshot is of {self._root}, the other of {newer._root}")
        for failure in failures:
            raise failure
        return events
