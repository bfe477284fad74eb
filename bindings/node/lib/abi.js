'use strict';
// treecache.h as JavaScript: how its structs lie in memory, and what each function takes and returns.
//
// The names are those of the header, and nothing is said here of what they mean. tests/abi.test.js compares all of it with
// the header.

// Field by field, in their order. A pointer is `ptr`, whatever it leads to.
const STRUCTS = {
  tc_stat: [
    ['czxid', 'i64'],
    ['mzxid', 'i64'],
    ['ctime', 'i64'],
    ['mtime', 'i64'],
    ['version', 'i32'],
    ['cversion', 'i32'],
    ['aversion', 'i32'],
    ['ephemeral_owner', 'i64'],
    ['data_length', 'i32'],
    ['num_children', 'i32'],
    ['pzxid', 'i64'],
  ],
  tc_node: [
    ['data', 'ptr'],
    ['data_len', 'size'],
    ['stat', 'tc_stat'],
  ],
  tc_children: [
    ['len', 'size'],
    ['names', 'ptr'],
    ['name_lens', 'ptr'],
  ],
  tc_children_data: [
    ['len', 'size'],
    ['names', 'ptr'],
    ['name_lens', 'ptr'],
    ['nodes', 'ptr'],
  ],
  tc_visit: [
    ['path', 'ptr'],
    ['path_len', 'size'],
    ['name', 'ptr'],
    ['name_len', 'size'],
    ['depth', 'size'],
    ['node', 'ptr'],
  ],
  tc_event: [
    ['type', 'i32'],
    ['flags', 'u32'],
    ['path', 'ptr'],
    ['path_len', 'size'],
    ['data', 'ptr'],
    ['data_len', 'size'],
    ['stat', 'ptr'],
    ['old_data', 'ptr'],
    ['old_data_len', 'size'],
    ['old_stat', 'ptr'],
    ['zxid', 'i64'],
  ],
  tc_fault: [
    ['status', 'i32'],
    ['server_error', 'i32'],
    ['path', 'ptr'],
    ['message', 'ptr'],
  ],
  tc_error: [
    ['status', 'i32'],
    ['key', 'ptr'],
    ['path', 'ptr'],
    ['message', 'ptr'],
  ],
  tc_stats: [
    ['state', 'i32'],
    ['contact_age_ms', 'i64'],
    ['cut_age_ms', 'i64'],
    ['zxid', 'i64'],
    ['nodes', 'u64'],
    ['bytes', 'u64'],
    ['versions', 'u64'],
    ['cuts', 'u64'],
    ['events', 'u64'],
    ['lags', 'u64'],
    ['reads', 'u64'],
    ['batches', 'u64'],
    ['resyncs', 'u64'],
    ['connections', 'u64'],
    ['session_id', 'i64'],
    ['server', 'ptr'],
    ['watch', 'ptr'],
    ['faults', 'u64'],
    ['last_fault_age_ms', 'i64'],
    ['last_fault_status', 'i32'],
  ],
};

const WIDTHS = { i32: 4, u32: 4, i64: 8, u64: 8, size: 8, ptr: 8 };

// Where the fields of each struct are: as C lays them out where pointers have 64 bits.
const LAYOUTS = {};
for (const [name, fields] of Object.entries(STRUCTS)) {
  const at = {};
  let end = 0;
  for (const [field, type] of fields) {
    const width = WIDTHS[type] ?? LAYOUTS[type].size;
    const alignment = Math.min(width, 8);
    at[field] = Math.ceil(end / alignment) * alignment;
    end = at[field] + width;
  }
  LAYOUTS[name] = { at, size: Math.ceil(end / 8) * 8 };
}

const STATUS = {
  TC_OK: 0,
  TC_ERR_INVALID_ARGUMENT: -1,
  TC_ERR_NO_NODE: -2,
  TC_ERR_OUT_OF_TREE: -3,
  TC_ERR_NOT_READY: -4,
  TC_ERR_STATE: -5,
  TC_ERR_CLOSED: -6,
  TC_ERR_TIMEOUT: -7,
  TC_ERR_WOULD_DEADLOCK: -8,
  TC_ERR_UNSUPPORTED: -9,
  TC_ERR_AUTH: -10,
  TC_ERR_PANIC: -11,
  TC_ERR_NO_PERMISSION: -12,
  TC_ERR_CONNECTION: -13,
  TC_ERR_PROTOCOL: -14,
  TC_ERR_TLS: -15,
  TC_ERR_RESET: -16,
  TC_ERR_LIMIT: -17,
  TC_ERR_INTERRUPTED: -18,
  TC_ERR_TOO_SMALL: -19,
};

// By their numbers.
const EVENTS = [
  'NODE_ADDED',
  'NODE_UPDATED',
  'NODE_REMOVED',
  'CONNECTION_SUSPENDED',
  'CONNECTION_RECONNECTED',
  'CONNECTION_LOST',
  'INITIALIZED',
  'IN_STEP',
];
const STATES = ['LATENT', 'LOADING', 'IN_STEP', 'CATCHING_UP', 'SUSPENDED', 'LOST', 'CLOSED', 'WARM', 'HELD'];

const TC_EVENT_LAST_OF_VERSION = 1;
const TC_WALK_CONTINUE = 0;
const TC_WALK_STOP = 2;

// What each function returns, and takes. `ptr` is a pointer or memory of a Buffer, `text` a string, `out` an array of one
// that receives a pointer, for functions that are called on another thread; `diff` is a tc_diff_fn.
const FUNCTIONS = {
  tc_version: ['text', []],
  tc_log_set_fd: ['i32', ['i32', 'i32']],
  tc_config_new: ['ptr', []],
  tc_config_set: ['i32', ['ptr', 'text', 'text']],
  tc_config_get_error: ['i32', ['ptr', 'ptr']],
  tc_config_free: ['void', ['ptr']],
  tc_error_free: ['void', ['ptr']],
  tc_client_new_or_error: ['i32', ['text', 'ptr', 'ptr', 'ptr']],
  tc_client_free: ['void', ['ptr']],
  tc_new_or_error: ['i32', ['ptr', 'text', 'ptr', 'ptr', 'ptr']],
  tc_attach: ['i32', ['text', 'ptr', 'ptr']],
  tc_start_or_error: ['i32', ['ptr', 'ptr']],
  tc_start_from_or_error: ['i32', ['ptr', 'ptr', 'ptr']],
  tc_wait_initialized_or_error: ['i32', ['ptr', 'i32', 'ptr']],
  tc_is_initialized: ['bool', ['ptr']],
  tc_sync_or_error: ['i32', ['ptr', 'i32', 'out']],
  tc_get_state: ['i32', ['ptr', 'ptr', 'ptr']],
  tc_get_stats: ['i32', ['ptr', 'ptr']],
  tc_stats_free: ['void', ['ptr']],
  tc_get_fault: ['i32', ['ptr', 'ptr']],
  tc_fault_free: ['void', ['ptr']],
  tc_close: ['i32', ['ptr']],
  tc_free: ['void', ['ptr']],
  tc_copy_data: ['i32', ['ptr', 'text', 'ptr', 'size', 'ptr', 'ptr']],
  tc_get_children: ['i32', ['ptr', 'text', 'ptr']],
  tc_children_free: ['void', ['ptr']],
  tc_get_children_data: ['i32', ['ptr', 'text', 'ptr']],
  tc_children_data_free: ['void', ['ptr']],
  tc_get_snapshot: ['i32', ['ptr', 'ptr']],
  tc_snapshot_zxid: ['i64', ['ptr']],
  tc_snapshot_is_cut: ['bool', ['ptr']],
  tc_snapshot_len: ['size', ['ptr']],
  tc_snapshot_root: ['text', ['ptr']],
  tc_snapshot_copy_data: ['i32', ['ptr', 'text', 'ptr', 'size', 'ptr', 'ptr']],
  tc_snapshot_get_children: ['i32', ['ptr', 'text', 'ptr']],
  tc_snapshot_get_children_data: ['i32', ['ptr', 'text', 'ptr']],
  tc_snapshot_diff: ['i32', ['ptr', 'ptr', 'diff', 'ptr']],
  tc_snapshot_free: ['void', ['ptr']],
  tc_walk_new: ['i32', ['ptr', 'text', 'ptr']],
  tc_walk_next: ['i32', ['ptr', 'ptr']],
  tc_walk_free: ['void', ['ptr']],
  tc_queue_open_or_error: ['i32', ['ptr', 'ptr', 'ptr', 'ptr']],
  tc_queue_next: ['i32', ['ptr', 'i32', 'ptr']],
  tc_queue_fd: ['i32', ['ptr', 'ptr']],
  tc_queue_free: ['void', ['ptr']],
  tc_item_event: ['ptr', ['ptr']],
  tc_item_fault: ['ptr', ['ptr']],
  tc_item_free: ['void', ['ptr']],
};

module.exports = {
  STRUCTS,
  LAYOUTS,
  FUNCTIONS,
  EVENTS,
  STATES,
  ...STATUS,
  STATUS,
  TC_EVENT_LAST_OF_VERSION,
  TC_WALK_CONTINUE,
  TC_WALK_STOP,
};
