'use strict';
// The events of a cache, taken out of a queue of the library's.

const { setImmediate: rest } = require('node:timers/promises');
const abi = require('./abi');
const { make, withSettings } = require('./config');
const { errorOf, errors } = require('./errors');
const { OURS, Owner, milliseconds } = require('./handle');
const { lib } = require('./library');
const { Out, eventAt, faultAt } = require('./values');
const { Watcher } = require('./watcher');

// How many events are given without a rest when they are there already, as those of a large tree are: more at once would
// keep all else that the process does waiting.
const WITHOUT_REST = 100;

const out = new Out();

// What an item is, which is freed.
function taken(item) {
  try {
    const event = lib.tc_item_event(item);
    if (event !== null) return eventAt(event);
    const fault = faultAt(lib.tc_item_fault(item));
    return { type: 'FAULT', path: fault.path, node: null, oldNode: null, zxid: 0n, lastOfVersion: false, fault };
  } finally {
    lib.tc_item_free(item);
  }
}

class EventStream extends Owner {
  #cache;
  #timeout;
  #signal;
  #watcher;
  #withoutRest = 0;

  constructor(ours, queue, of) {
    const watcher = new Watcher(queue);
    super(ours, queue, () => {
      watcher.close();
      lib.tc_queue_free(queue);
    });
    this.#cache = of.cache; // kept for as long as the stream is
    this.#timeout = of.limit;
    this.#signal = of.signal;
    this.#watcher = watcher;
  }

  async next() {
    try {
      this.#signal?.throwIfAborted();
      if (++this.#withoutRest === WITHOUT_REST) {
        this.#withoutRest = 0;
        await rest();
      }
      for (let isLate = false; ; ) {
        const { isOver, value } = this.#take();
        if (isOver) {
          this.close();
          return { done: true, value: undefined };
        }
        if (value !== undefined) return { done: false, value };
        if (isLate) throw new errors.TimeoutError(this.#cache._timedOut(this.#timeout), { path: this.#cache._name });
        this.#withoutRest = 0;
        // Where the event loop was busy, the timer may come before what came in time.
        isLate = !(await this.#watcher.wait(this.#timeout, this.#signal));
      }
    } catch (error) {
      if (this.#signal?.aborted) this.close(); // nothing more will be given
      throw error;
    }
  }

  // Waits as `next` does, but takes nothing out that is of use: for who only wants to be woken.
  async _come(ms, signal) {
    const { isOver, value } = this.#take();
    if (isOver) throw errorOf(abi.TC_ERR_CLOSED, undefined, { path: this.#cache._name }); // there is nothing to wait for
    if (value === undefined && (await this.#watcher.wait(ms, signal))) this.#take();
  }

  // The next that is there already, if there is something.
  #take() {
    if (!this._isOpen) return { isOver: true };
    const status = lib.tc_queue_next(this._pointer, 0, out.memory);
    switch (status) {
      case abi.TC_OK:
        return { value: taken(out.take()) };
      case abi.TC_ERR_TIMEOUT:
        return {};
      case abi.TC_ERR_CLOSED:
        return { isOver: true };
      default:
        throw errorOf(status, undefined, { path: this.#cache._name });
    }
  }

  // Ends the stream: what waits in it is dropped, and whoever waits is told that it is over.
  close() {
    this._letGo()?.close();
  }

  async return(value) {
    this.close();
    return { done: true, value };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  ref() {
    this.#watcher.hold(true);
    return this;
  }

  unref() {
    this.#watcher.hold(false);
    return this;
  }
}

// Opens a stream of a cache's events, with settings for its queue.
function openStream(cache, settings, timeout, signal) {
  const limit = milliseconds(timeout); // throws now rather than later
  signal?.throwIfAborted();
  const queue = withSettings(settings, (config) => make(lib.tc_queue_open_or_error, cache._pointer, config));
  return new EventStream(OURS, queue, { cache, limit, signal });
}

module.exports = { EventStream, openStream };
