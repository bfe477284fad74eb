"""Reads, which caches and snapshots have in common: the library's function for either is an argument."""

from __future__ import annotations

from ctypes import POINTER, addressof, byref, c_size_t, c_void_p, create_string_buffer, sizeof
from typing import Callable, Optional

from . import _abi
from ._handle import Handle, text
from ._library import lib
from ._values import STAT, NodeData, ZnodeStat, node_data

_Function = Callable[..., int]
#: Raises what is wrong when the status of a call on a path is not TC_OK.
_Check = Callable[[int, str], None]


def why(status: int, path: str, root: Optional[str]) -> Optional[str]:
    """What is wrong with a path when a read below `root` has answered with `status`; None where that says all."""
    if status == _abi.TC_ERR_INVALID_ARGUMENT:
        return _why_no_path(path)
    if status == _abi.TC_ERR_OUT_OF_TREE and root is not None:
        return f"it is not below the root {root}"
    return None


def _why_no_path(path: str) -> str:
    """What ZooKeeper has against a path, in the words of the library."""
    if not path.startswith("/"):
        return "it must start with '/'" if path else "it is empty"
    if path.endswith("/"):
        return "it must not end with '/'"
    names = path[1:].split("/")
    if "" in names:
        return "it has an empty node name"
    if "." in names or ".." in names:
        return "relative node names are not allowed"
    return "it has a character that ZooKeeper does not allow"


class _Block:
    """Memory that a node is copied into: its Stat, the length of its data, its data. And where these are."""

    __slots__ = ("memory", "length", "at_stat", "at_length", "at_data", "capacity")

    _LENGTH = sizeof(_abi.tc_stat)
    DATA = _LENGTH + sizeof(c_size_t)

    def __init__(self, capacity: int) -> None:
        self.memory = create_string_buffer(self.DATA + capacity)
        self.length = c_size_t.from_buffer(self.memory, self._LENGTH)
        at = addressof(self.memory)
        self.at_stat = c_void_p(at)
        self.at_length = c_void_p(at + self._LENGTH)
        self.at_data = c_void_p(at + self.DATA)
        self.capacity = c_size_t(capacity)


_FIRST_CAPACITY = 4096
#: Larger blocks are not kept.
_MOST_CAPACITY = 2**20

#: Blocks that nobody uses now. Whoever uses one takes it out: another thread, a signal handler or a finalizer may come in
#: between, and would copy another node into it.
_spare: list[_Block] = []


#: Makes a named tuple, less what its class does in Python: that is a fifth of the time of a read.
_new = tuple.__new__


def get_data(function: _Function, handle: Handle, path: str, check: _Check) -> Optional[NodeData]:
    """The node at a path; None when there is no such node: to raise that takes longer than to read."""
    raw = text(path)
    try:
        block = _spare.pop()
    except IndexError:
        block = _Block(_FIRST_CAPACITY)
    # The bare pointer takes less time to pass than the handle, to which this frame refers for as long as the call lasts.
    pointer = handle._pointer
    while (
        status := function(pointer, raw, block.at_data, block.capacity, block.at_length, block.at_stat)
    ) == _abi.TC_ERR_TOO_SMALL:
        block = _Block(2 * block.length.value)
    try:
        if status != _abi.TC_OK:
            if status == _abi.TC_ERR_NO_NODE:
                return None
            check(status, path)
        memory, data = block.memory, _Block.DATA
        stat = _new(ZnodeStat, STAT.unpack_from(memory))
        return _new(NodeData, (path, memory[data : data + block.length.value], stat))
    finally:
        if block.capacity.value <= _MOST_CAPACITY:
            _spare.append(block)


def get_children(function: _Function, handle: Handle, path: str, check: _Check) -> list[str]:
    """The names of a node's children, in the order of their bytes."""
    children = POINTER(_abi.tc_children)()
    check(function(handle, text(path), byref(children)), path)
    try:
        found = children.contents
        return [name.decode() for name in found.names[: found.len]]
    finally:
        lib.tc_children_free(children)


def get_children_data(
    function: _Function, handle: Handle, path: str, check: _Check
) -> dict[str, Optional[NodeData]]:
    """A node's children by name, in the order of the names' bytes; None where the session may not read."""
    children = POINTER(_abi.tc_children_data)()
    check(function(handle, text(path), byref(children)), path)
    above = path if path.endswith("/") else path + "/"
    nodes: dict[str, Optional[NodeData]] = {}
    try:
        found = children.contents
        for raw, node in zip(found.names[: found.len], found.nodes[: found.len]):
            name = raw.decode()
            nodes[name] = None
            if node:
                nodes[name] = node_data(above + name, node.contents)
        return nodes
    finally:
        lib.tc_children_data_free(children)
