"""Reads, which caches and snapshots have in common: the library's function for either is an argument."""

from __future__ import annotations

from ctypes import POINTER, byref
from typing import Callable, Optional

from . import _abi
from ._handle import Handle, text
from ._library import lib
from ._values import NodeData, node_data
from .errors import check

_Function = Callable[..., int]


def get_data(function: _Function, handle: Handle, path: str) -> NodeData:
    """The node at a path."""
    node = POINTER(_abi.tc_node)()
    check(function(handle, text(path), byref(node)), path)
    try:
        found = node.contents
        return node_data(path, found.data, found.data_len, found.stat)
    finally:
        lib.tc_node_free(node)


def get_children(function: _Function, handle: Handle, path: str) -> list[str]:
    """The names of a node's children, in the order of their bytes."""
    children = POINTER(_abi.tc_children)()
    check(function(handle, text(path), byref(children)), path)
    try:
        found = children.contents
        return [name.decode() for name in found.names[: found.len]]
    finally:
        lib.tc_children_free(children)


def get_children_data(function: _Function, handle: Handle, path: str) -> dict[str, Optional[NodeData]]:
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
