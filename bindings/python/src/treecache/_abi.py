"""treecache.h in ctypes: the structs as they lie in memory, and what each function takes and returns.

The names are those of the header, and nothing is said here of what they mean. `tests/test_abi.py` compares all of it
with the header.
"""

from __future__ import annotations

from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any


class tc_stat(Structure):
    _fields_ = [
        ("czxid", c_int64),
        ("mzxid", c_int64),
        ("ctime", c_int64),
        ("mtime", c_int64),
        ("version", c_int32),
        ("cversion", c_int32),
        ("aversion", c_int32),
        ("ephemeral_owner", c_int64),
        ("data_length", c_int32),
        ("num_children", c_int32),
        ("pzxid", c_int64),
    ]


class tc_node(Structure):
    _fields_ = [("data", c_void_p), ("data_len", c_size_t), ("stat", tc_stat)]


class tc_children(Structure):
    _fields_ = [("len", c_size_t), ("names", POINTER(c_char_p)), ("name_lens", POINTER(c_size_t))]


class tc_children_data(Structure):
    _fields_ = [
        ("len", c_size_t),
        ("names", POINTER(c_char_p)),
        ("name_lens", POINTER(c_size_t)),
        ("nodes", POINTER(POINTER(tc_node))),
    ]


class tc_visit(Structure):
    _fields_ = [
        ("path", c_char_p),
        ("path_len", c_size_t),
        ("name", c_char_p),
        ("name_len", c_size_t),
        ("depth", c_size_t),
        ("node", POINTER(tc_node)),
    ]


class tc_event(Structure):
    _fields_ = [
        ("type", c_int32),
        ("flags", c_uint32),
        ("path", c_char_p),
        ("path_len", c_size_t),
        ("data", c_void_p),
        ("data_len", c_size_t),
        ("stat", POINTER(tc_stat)),
        ("old_data", c_void_p),
        ("old_data_len", c_size_t),
        ("old_stat", POINTER(tc_stat)),
        ("zxid", c_int64),
    ]


class tc_fault(Structure):
    _fields_ = [("status", c_int32), ("server_error", c_int32), ("path", c_char_p), ("message", c_char_p)]


class tc_error(Structure):
    _fields_ = [("status", c_int32), ("key", c_char_p), ("path", c_char_p), ("message", c_char_p)]


class tc_stats(Structure):
    _fields_ = [
        ("state", c_int32),
        ("contact_age_ms", c_int64),
        ("cut_age_ms", c_int64),
        ("zxid", c_int64),
        ("nodes", c_uint64),
        ("bytes", c_uint64),
        ("versions", c_uint64),
        ("cuts", c_uint64),
        ("events", c_uint64),
        ("lags", c_uint64),
        ("reads", c_uint64),
        ("batches", c_uint64),
        ("resyncs", c_uint64),
        ("connections", c_uint64),
        ("session_id", c_int64),
        ("server", c_char_p),
        ("watch", c_char_p),
        ("faults", c_uint64),
        ("last_fault_age_ms", c_int64),
        ("last_fault_status", c_int32),
    ]


TC_OK = 0
TC_ERR_INVALID_ARGUMENT = -1
TC_ERR_NO_NODE = -2
TC_ERR_OUT_OF_TREE = -3
TC_ERR_STATE = -5
TC_ERR_CLOSED = -6
TC_ERR_TIMEOUT = -7
TC_ERR_WOULD_DEADLOCK = -8
TC_ERR_NO_PERMISSION = -12
TC_ERR_CONNECTION = -13
TC_ERR_INTERRUPTED = -18
TC_ERR_TOO_SMALL = -19
TC_EVENT_LAST_OF_VERSION = 1
TC_WALK_CONTINUE = 0

tc_diff_fn = CFUNCTYPE(c_int32, POINTER(tc_event), c_void_p)

# Handles, and pointers that only go back to the library, are c_void_p; so are outputs, which are always given `byref`.
PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "tc_version": (c_char_p, []),
    "tc_config_new": (c_void_p, []),
    "tc_config_set": (c_int32, [c_void_p, c_char_p, c_char_p]),
    "tc_config_get_error": (c_int32, [c_void_p, c_void_p]),
    "tc_config_free": (None, [c_void_p]),
    "tc_error_free": (None, [c_void_p]),
    "tc_client_new_or_error": (c_int32, [c_char_p, c_void_p, c_void_p, c_void_p]),
    "tc_client_free": (None, [c_void_p]),
    "tc_new_or_error": (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p]),
    "tc_attach": (c_int32, [c_char_p, c_void_p, c_void_p]),
    "tc_log_set_fd": (c_int32, [c_int32, c_int32]),
    "tc_start_or_error": (c_int32, [c_void_p, c_void_p]),
    "tc_start_from_or_error": (c_int32, [c_void_p, c_void_p, c_void_p]),
    "tc_wait_initialized_or_error": (c_int32, [c_void_p, c_int32, c_void_p]),
    "tc_is_initialized": (c_bool, [c_void_p]),
    "tc_sync_or_error": (c_int32, [c_void_p, c_int32, c_void_p]),
    "tc_get_state": (c_int32, [c_void_p, c_void_p, c_void_p]),
    "tc_get_stats": (c_int32, [c_void_p, c_void_p]),
    "tc_stats_free": (None, [c_void_p]),
    "tc_get_fault": (c_int32, [c_void_p, c_void_p]),
    "tc_fault_free": (None, [c_void_p]),
    "tc_close": (c_int32, [c_void_p]),
    "tc_free": (None, [c_void_p]),
    "tc_copy_data": (c_int32, [c_void_p, c_char_p, c_void_p, c_size_t, c_void_p, c_void_p]),
    "tc_get_children": (c_int32, [c_void_p, c_char_p, c_void_p]),
    "tc_children_free": (None, [c_void_p]),
    "tc_get_children_data": (c_int32, [c_void_p, c_char_p, c_void_p]),
    "tc_children_data_free": (None, [c_void_p]),
    "tc_get_snapshot": (c_int32, [c_void_p, c_void_p]),
    "tc_snapshot_zxid": (c_int64, [c_void_p]),
    "tc_snapshot_is_cut": (c_bool, [c_void_p]),
    "tc_snapshot_len": (c_size_t, [c_void_p]),
    "tc_snapshot_root": (c_char_p, [c_void_p]),
    "tc_snapshot_copy_data": (c_int32, [c_void_p, c_char_p, c_void_p, c_size_t, c_void_p, c_void_p]),
    "tc_snapshot_get_children": (c_int32, [c_void_p, c_char_p, c_void_p]),
    "tc_snapshot_get_children_data": (c_int32, [c_void_p, c_char_p, c_void_p]),
    "tc_snapshot_diff": (c_int32, [c_void_p, c_void_p, tc_diff_fn, c_void_p]),
    "tc_snapshot_free": (None, [c_void_p]),
    "tc_walk_new": (c_int32, [c_void_p, c_char_p, c_void_p]),
    "tc_walk_next": (c_int32, [c_void_p, c_void_p]),
    "tc_walk_free": (None, [c_void_p]),
    "tc_queue_open_or_error": (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p]),
    "tc_queue_next": (c_int32, [c_void_p, c_int32, c_void_p]),
    "tc_queue_wake": (c_int32, [c_void_p]),
    "tc_queue_fd": (c_int32, [c_void_p, c_void_p]),
    "tc_queue_close": (c_int32, [c_void_p]),
    "tc_queue_free": (None, [c_void_p]),
    "tc_item_event": (POINTER(tc_event), [c_void_p]),
    "tc_item_fault": (POINTER(tc_fault), [c_void_p]),
    "tc_item_free": (None, [c_void_p]),
}

# They are over sooner than other threads could make use of it that Python's lock was let go. ctypes does not convert their
# arguments: these are instances of ctypes' types, or bytes.
SHORT = frozenset({"tc_copy_data", "tc_snapshot_copy_data"})
