"""Reads, which caches and snapshots have in common: the library's function for either is an argument."""

from __future__ import annotations

from ctypes import POINTER, byref
from typing import Callable, Optional

from . import _abi
from ._handle import Handle, text
from ._library import lib
from ._values import NodeData, node_data

_Function = Callable[..., int]
#: Raises what is wrong when the status of a call on a path is not TC_OK.
_Check = Callable[[int, str], None]


def why(status: int, path: str, root: str) -> Optional[str]:
    """What is wrong with a path when a read below `root` has answered with `status`; None where that says all."""
    if status == _abi.TC_ERR_INVALID_ARGUMENT:
        return _why_no_path(path)
    if status == _abi.TC_ERR_OUT_OF_TREE:
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


def get_data(function: _Function, handle: Handle, path: str, check: _Check) -> NodeData:
    """The node at a path."""
    node = POINTER(_abi.tc_node)()
    check(function(handle, text(path), byref(node)), path)
    try:
        found = node.contents
        return node_data(path, found.data, found.data_len, found.stat)
    finally:
        lib.tc_node_free(node)


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
                lent = node.contents
                nodes[name] = node_data(above + name, lent.data, lent.data_len, lent.stat)
        return nodes
    finally:
        lib.tc_children_data_free(children)
