'use strict';
// The tree of a cache as it was at one moment.

const abi = require('./abi');
const { errorOf, errors } = require('./errors');
const { OURS, Owner, kindOf } = require('./handle');
const { lib } = require('./library');
const reads = require('./reads');
const { Out, eventAt, visitAt } = require('./values');

const out = new Out();

// Goes through a snapshot node by node, for as long as somebody asks for the next one.
class Walk extends Owner {
  constructor(snapshot, path) {
    reads.check(lib.tc_walk_new(snapshot._pointer, reads.path(path), out.memory), path, snapshot);
    super(OURS, out.take(), lib.tc_walk_free);
  }

  // The next node; null for one that may not be read, undefined when there is none left.
  step() {
    const status = lib.tc_walk_next(this._pointer, out.memory);
    if (status !== abi.TC_OK) throw errorOf(status);
    const visit = out.take();
    return visit === null ? undefined : visitAt(visit);
  }

  close() {
    this._letGo()?.close();
  }
}

function* nodes(walk, first) {
  try {
    for (let node = first; node !== undefined; node = walk.step()) {
      if (node !== null) yield [node.path, node];
    }
  } finally {
    walk.close();
  }
}

class Snapshot extends Owner {
  #root; // null: of a cache that is attached to a file which was not there yet

  constructor(ours, pointer) {
    super(ours, pointer, lib.tc_snapshot_free);
    this.#root = lib.tc_snapshot_root(pointer);
  }

  get root() {
    return this.#root;
  }

  get _root() {
    return this.#root;
  }

  get zxid() {
    return BigInt(lib.tc_snapshot_zxid(this._pointer));
  }

  get isCut() {
    return lib.tc_snapshot_is_cut(this._pointer);
  }

  get size() {
    return Number(lib.tc_snapshot_len(this._pointer));
  }

  has(path) {
    try {
      return this.getData(path) !== undefined;
    } catch (error) {
      if (error instanceof errors.TreeCacheError && error.status !== abi.TC_ERR_CLOSED) return false;
      throw error;
    }
  }

  getData(path) {
    return reads.getData(lib.tc_snapshot_copy_data, path, this);
  }

  getChildren(path) {
    return reads.getChildren(lib.tc_snapshot_get_children, path, this);
  }

  getChildrenData(path) {
    return reads.getChildrenData(lib.tc_snapshot_get_children_data, path, this);
  }

  walk(path = this.#root) {
    if (path === null) throw new errors.NotReadyError();
    const walk = new Walk(this, path);
    const first = walk.step();
    if (first === null) {
      walk.close();
      reads.check(abi.TC_ERR_NO_PERMISSION, path, this);
    }
    return nodes(walk, first);
  }

  [Symbol.iterator]() {
    this._pointer; // throws when it is closed
    return this.#root !== null && this.has(this.#root) ? this.walk() : [][Symbol.iterator]();
  }

  diff(newer) {
    if (!(newer instanceof Snapshot)) throw new TypeError(`newer: expected a Snapshot, not ${kindOf(newer)}`);
    const changes = [];
    let failure = null;
    const visit = (change) => {
      try {
        changes.push(eventAt(change));
        return abi.TC_WALK_CONTINUE;
      } catch (error) {
        failure = error; // nothing may be thrown through the library
        return abi.TC_WALK_STOP;
      }
    };
    const status = lib.tc_snapshot_diff(this._pointer, newer._pointer, visit, null);
    if (failure !== null) throw failure;
    if (status !== abi.TC_OK) {
      throw errorOf(status, `one snapshot is of ${this.#root}, the other of ${newer.root}`);
    }
    return changes;
  }

  close() {
    this._letGo()?.close();
  }
}

module.exports = { Snapshot };
