'use strict';
// What the library tells, as objects of JavaScript: copied, and independent of the library.
//
// What it lends is copied into memory that is used again, a struct at a time, and read there: a call for each field would
// take ten times as long. All that the package is for is little-endian, and has pointers of 64 bits.

const abi = require('./abi');
const { errorOf } = require('./errors');
const { lib, copy, string } = require('./library');

const LAYOUTS = abi.LAYOUTS;
const { at: STAT, size: STAT_SIZE } = LAYOUTS.tc_stat;
const { at: NODE, size: NODE_SIZE } = LAYOUTS.tc_node;
const { at: VISIT, size: VISIT_SIZE } = LAYOUTS.tc_visit;
const { at: EVENT, size: EVENT_SIZE } = LAYOUTS.tc_event;
const POINTER_SIZE = 8;

// Memory that the library writes to. It is read with true, for little-endian.
const scratch = (size) => new DataView(new ArrayBuffer(size));

// A pointer in memory; null for NULL.
function pointerAt(memory, at) {
  const pointer = memory.getBigUint64(at, true);
  return pointer === 0n ? null : pointer;
}

const sizeAt = (memory, at) => Number(memory.getBigUint64(at, true));
const numberAt = (memory, at) => Number(memory.getBigInt64(at, true));

// The string at a pointer in memory; null for NULL.
function textAt(memory, at) {
  const pointer = pointerAt(memory, at);
  return pointer === null ? null : string(pointer);
}

// Where the library puts a pointer.
class Out {
  memory = scratch(POINTER_SIZE);

  take() {
    const pointer = pointerAt(this.memory, 0);
    this.memory.setBigUint64(0, 0n);
    return pointer;
  }
}

// Memory for a struct that is lent or handed out.
class Struct {
  constructor(name) {
    this.at = LAYOUTS[name].at;
    this.memory = scratch(LAYOUTS[name].size);
  }

  read(pointer) {
    copy(this.memory, pointer, this.memory.byteLength);
    return this.memory;
  }
}

function bytes(pointer, length) {
  const data = Buffer.allocUnsafe(length);
  if (length > 0) copy(data, pointer, length);
  return data;
}

// ZooKeeper's Stat. What may need more than 53 bits is a BigInt.
function statAt(memory, at) {
  return {
    czxid: memory.getBigInt64(at + STAT.czxid, true),
    mzxid: memory.getBigInt64(at + STAT.mzxid, true),
    ctime: numberAt(memory, at + STAT.ctime),
    mtime: numberAt(memory, at + STAT.mtime),
    version: memory.getInt32(at + STAT.version, true),
    cversion: memory.getInt32(at + STAT.cversion, true),
    aversion: memory.getInt32(at + STAT.aversion, true),
    ephemeralOwner: memory.getBigInt64(at + STAT.ephemeral_owner, true),
    dataLength: memory.getInt32(at + STAT.data_length, true),
    numChildren: memory.getInt32(at + STAT.num_children, true),
    pzxid: memory.getBigInt64(at + STAT.pzxid, true),
  };
}

const nodeMemory = scratch(NODE_SIZE);

// A node that is lent.
function nodeAt(path, pointer) {
  copy(nodeMemory, pointer, NODE_SIZE);
  const data = bytes(pointerAt(nodeMemory, NODE.data), sizeAt(nodeMemory, NODE.data_len));
  return { path, data, stat: statAt(nodeMemory, NODE.stat) };
}

const visitMemory = scratch(VISIT_SIZE);

// Where a walk has come to, lent: the node, or null for one that may not be read.
function visitAt(pointer) {
  copy(visitMemory, pointer, VISIT_SIZE);
  const node = pointerAt(visitMemory, VISIT.node);
  if (node === null) return null;
  const path = string(pointerAt(visitMemory, VISIT.path), sizeAt(visitMemory, VISIT.path_len));
  return nodeAt(path, node);
}

const eventMemory = scratch(EVENT_SIZE);
const statMemory = scratch(STAT_SIZE);

// The node of an event, from three of its fields; null where it has none.
function nodeOf(path, data, length, stat) {
  const pointer = pointerAt(eventMemory, stat);
  if (pointer === null) return null;
  copy(statMemory, pointer, STAT_SIZE);
  return { path, data: bytes(pointerAt(eventMemory, data), sizeAt(eventMemory, length)), stat: statAt(statMemory, 0) };
}

// An event that is lent.
function eventAt(pointer) {
  copy(eventMemory, pointer, EVENT_SIZE);
  const type = eventMemory.getInt32(EVENT.type, true);
  const path = pointerAt(eventMemory, EVENT.path);
  const name = path === null ? null : string(path, sizeAt(eventMemory, EVENT.path_len));
  return {
    type: abi.EVENTS[type] ?? `UNKNOWN_${type}`,
    path: name,
    node: nodeOf(name, EVENT.data, EVENT.data_len, EVENT.stat),
    oldNode: nodeOf(name, EVENT.old_data, EVENT.old_data_len, EVENT.old_stat),
    zxid: eventMemory.getBigInt64(EVENT.zxid, true),
    lastOfVersion: (eventMemory.getUint32(EVENT.flags, true) & abi.TC_EVENT_LAST_OF_VERSION) !== 0,
  };
}

const faultStruct = new Struct('tc_fault');

// A fault that is lent, as the error it is told with.
function faultAt(pointer) {
  const { at } = faultStruct;
  const memory = faultStruct.read(pointer);
  return errorOf(memory.getInt32(at.status, true), textAt(memory, at.message), {
    path: textAt(memory, at.path),
    serverError: memory.getInt32(at.server_error, true),
  });
}

const errorStruct = new Struct('tc_error');

// What a call has told with its failure, and frees that; null where it told nothing.
function takeError(pointer) {
  if (pointer === null) return null;
  const { at } = errorStruct;
  const memory = errorStruct.read(pointer);
  const told = {
    status: memory.getInt32(at.status, true),
    key: textAt(memory, at.key),
    path: textAt(memory, at.path),
    message: textAt(memory, at.message),
  };
  lib.tc_error_free(pointer);
  return told;
}

const stateOf = (number) => abi.STATES[number] ?? `UNKNOWN_${number}`;

const statsStruct = new Struct('tc_stats');

// Figures that were handed out.
function statsAt(pointer) {
  const { at } = statsStruct;
  const memory = statsStruct.read(pointer);
  const age = (where) => {
    const ms = numberAt(memory, where);
    return ms < 0 ? null : ms;
  };
  return {
    state: stateOf(memory.getInt32(at.state, true)),
    contactAge: age(at.contact_age_ms),
    cutAge: age(at.cut_age_ms),
    zxid: memory.getBigInt64(at.zxid, true),
    nodes: sizeAt(memory, at.nodes),
    bytes: sizeAt(memory, at.bytes),
    versions: sizeAt(memory, at.versions),
    cuts: sizeAt(memory, at.cuts),
    events: sizeAt(memory, at.events),
    lags: sizeAt(memory, at.lags),
    reads: sizeAt(memory, at.reads),
    batches: sizeAt(memory, at.batches),
    resyncs: sizeAt(memory, at.resyncs),
    connections: sizeAt(memory, at.connections),
    sessionId: memory.getBigInt64(at.session_id, true),
    server: textAt(memory, at.server),
    watch: textAt(memory, at.watch),
    faults: sizeAt(memory, at.faults),
    lastFaultAge: age(at.last_fault_age_ms),
    lastFaultStatus: memory.getInt32(at.last_fault_status, true),
  };
}

module.exports = {
  Out,
  Struct,
  scratch,
  pointerAt,
  sizeAt,
  statAt,
  nodeAt,
  visitAt,
  eventAt,
  faultAt,
  takeError,
  stateOf,
  statsAt,
};
