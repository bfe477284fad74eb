'use strict';
// An in-memory copy of a subtree.

const { fileURLToPath } = require('node:url');
const abi = require('./abi');
const { checkWith, tell, throwTold, withSettings } = require('./config');
const { errorOf, errors } = require('./errors');
const { openStream } = require('./events');
const { OURS, Owner, freeing, kindOf, milliseconds, options, text } = require('./handle');
const { lib } = require('./library');
const reads = require('./reads');
const { Snapshot } = require('./snapshot');
const { Out, faultAt, scratch, stateOf, statsAt, takeError } = require('./values');

// Settings of the cache that its streams begin with.
const OF_STREAMS = ['events.capacity', 'events.bytes'];

// How long a wait for the first load goes on before it asks again whether that can still succeed, in ms.
const LONGEST_REST = 200;

const WAITS = ['timeout', 'signal'];
const STREAMS = [...WAITS, 'faults', 'capacity', 'under', 'depth', 'events', 'initial', 'afterInitialized'];

const out = new Out();
const stateMemory = scratch(4);
const ageMemory = scratch(8);

const free = freeing(lib.tc_free);

// Has a promise settle for `signal` too: the reason is thrown then, and what the promise has to say is not waited for.
function abortable(promise, signal) {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

class TreeCache extends Owner {
  #client;
  #name;
  #root;
  #limits;

  constructor(ours, pointer, made) {
    super(ours, pointer, free);
    const { name, root, client, config } = made;
    this.#name = name; // what errors call it: the root, or the file
    this.#root = root; // null: attached to a file, and not known yet
    this.#client = client; // kept for as long as the cache is
    this.#limits = Object.fromEntries(Object.entries(config).filter(([key]) => OF_STREAMS.includes(key)));
  }

  static attach(file, config = {}) {
    const name = text(file instanceof URL ? fileURLToPath(file) : file, 'file');
    const made = withSettings(config, (settings) => {
      checkWith(settings, lib.tc_attach(name, settings, out.memory));
      return out.take();
    });
    return new TreeCache(OURS, made, { name, root: null, client: null, config });
  }

  get _name() {
    return this.#name;
  }

  get _root() {
    if (this.#root === null) {
      const snapshot = this.snapshot();
      this.#root = snapshot.root;
      snapshot.close();
    }
    return this.#root;
  }

  get path() {
    if (this._root === null) {
      throw new errors.NotReadyError('the file is not there yet, so that nobody knows the root', { path: this.#name });
    }
    return this._root;
  }

  // Life

  start() {
    tell(lib.tc_start_or_error, { path: this.#name }, this._pointer);
  }

  startFrom(snapshot) {
    if (!(snapshot instanceof Snapshot)) throw new TypeError(`snapshot: expected a Snapshot, not ${kindOf(snapshot)}`);
    tell(lib.tc_start_from_or_error, { path: this.#name }, this._pointer, snapshot._pointer);
  }

  close() {
    const resource = this._letGo();
    if (resource === null) return;
    lib.tc_close(resource.pointer);
    resource.close();
  }

  async waitInitialized(given = {}) {
    const { timeout, signal } = options(given, WAITS, 'waitInitialized');
    const limit = milliseconds(timeout);
    const end = limit < 0 ? Infinity : performance.now() + limit;
    signal?.throwIfAborted();
    let stream = null;
    let ended = null;
    try {
      for (;;) {
        const status = lib.tc_wait_initialized_or_error(this._pointer, 0, out.memory);
        const told = takeError(out.take());
        if (status === abi.TC_OK) return;
        if (status !== abi.TC_ERR_TIMEOUT) throwTold(status, told, { path: this.#name });
        if (ended !== null) throw ended;
        const rest = end - performance.now();
        if (rest <= 0) throw new errors.TimeoutError(this._timedOut(limit), { path: this.#name });
        try {
          if (stream === null) {
            // What follows is told, and what was before is asked for once more.
            stream = openStream(this, { 'listen.events': 'initialized' });
          } else {
            await stream._come(Math.min(rest, LONGEST_REST), signal);
          }
        } catch (error) {
          if (!(error instanceof errors.TreeCacheError)) throw error;
          ended = error; // that of the wait says more
        }
      }
    } finally {
      stream?.close();
    }
  }

  async sync(given = {}) {
    const { timeout, signal } = options(given, WAITS, 'sync');
    const limit = milliseconds(timeout);
    signal?.throwIfAborted();
    const why = [null];
    const asked = this._resource.call(lib.tc_sync_or_error, limit, why).then((status) => {
      const told = takeError(why[0]);
      if (status !== abi.TC_OK) throwTold(status, told, { path: this.#name });
    });
    await abortable(asked, signal);
  }

  // What is said when a time is over, with what went wrong last: the words of the library.
  _timedOut(ms) {
    const said = `timed out after ${ms / 1000} s`;
    if (!this._isOpen) return said;
    const last = this.lastFault;
    const age = this.stats().lastFaultAge;
    if (last === null || age === null) return said;
    return `${said}; last${age < 60_000 ? '' : `, ${Math.floor(age / 1000)} s ago`}: ${last.reason}`;
  }

  get isInitialized() {
    return lib.tc_is_initialized(this._pointer);
  }

  get state() {
    if (!this._isOpen) return 'CLOSED';
    this.#check(lib.tc_get_state(this._pointer, stateMemory, ageMemory));
    return stateOf(stateMemory.getInt32(0, true));
  }

  stats() {
    this.#check(lib.tc_get_stats(this._pointer, out.memory));
    const pointer = out.take();
    try {
      return statsAt(pointer);
    } finally {
      lib.tc_stats_free(pointer);
    }
  }

  get lastFault() {
    this.#check(lib.tc_get_fault(this._pointer, out.memory));
    const pointer = out.take();
    if (pointer === null) return null;
    try {
      return faultAt(pointer);
    } finally {
      lib.tc_fault_free(pointer);
    }
  }

  #check(status) {
    if (status !== abi.TC_OK) throw errorOf(status, undefined, { path: this.#name });
  }

  // Reads

  getData(path) {
    return reads.getData(lib.tc_copy_data, path, this);
  }

  getChildren(path) {
    return reads.getChildren(lib.tc_get_children, path, this);
  }

  getChildrenData(path) {
    return reads.getChildrenData(lib.tc_get_children_data, path, this);
  }

  snapshot() {
    this.#check(lib.tc_get_snapshot(this._pointer, out.memory));
    return new Snapshot(OURS, out.take());
  }

  // Events

  events(given = {}) {
    const wanted = options(given, STREAMS, 'events');
    const { timeout, signal, faults = false, capacity, under, depth, events, initial, afterInitialized } = wanted;
    const settings = { ...this.#limits, 'queue.faults': faults };
    if (capacity !== undefined) settings['events.capacity'] = capacity;
    if (under !== undefined) settings['listen.under'] = under;
    if (depth !== undefined) settings['listen.depth'] = depth;
    if (events !== undefined) settings['listen.events'] = Array.isArray(events) ? events.join(',') : events;
    if (initial !== undefined) settings['listen.initial'] = initial;
    if (afterInitialized !== undefined) settings['listen.after.initialized'] = afterInitialized;
    return openStream(this, settings, timeout, signal);
  }
}

module.exports = { TreeCache };
