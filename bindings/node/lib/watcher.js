'use strict';
// Waits for a queue's descriptor in the event loop: no thread waits, and the library calls nothing.

const abi = require('./abi');
const { errorOf } = require('./errors');
const { lib, poll } = require('./library');
const { scratch } = require('./values');

const descriptorMemory = scratch(4);

function descriptorOf(queue) {
  const status = lib.tc_queue_fd(queue, descriptorMemory);
  if (status !== abi.TC_OK) throw errorOf(status, 'the process has no descriptor left for the stream');
  return descriptorMemory.getInt32(0, true);
}

// Tells whoever waits that there may be something in a queue. While somebody waits, the process does not end.
class Watcher {
  #queue;
  #poll = null;
  #waiting = new Set();
  #isHeld = true;
  #isClosed = false;

  constructor(queue) {
    this.#queue = queue;
  }

  // Waits until there may be something in the queue, it is closed, or the time is over: false then. At most `ms`, -1 for
  // no limit. Rejects with the signal's reason when it is aborted.
  wait(ms, signal) {
    signal?.throwIfAborted();
    if (this.#isClosed) return Promise.resolve(true);
    this.#start();
    return new Promise((resolve, reject) => {
      let timer;
      const end = (settle, value) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        this.#waiting.delete(wake);
        if (this.#waiting.size === 0 && !this.#isClosed) this.#poll.stop();
        settle(value);
      };
      const wake = () => end(resolve, true);
      const abort = () => end(reject, signal.reason);
      this.#waiting.add(wake);
      signal?.addEventListener('abort', abort);
      if (ms >= 0) {
        timer = setTimeout(() => end(resolve, false), ms);
        if (!this.#isHeld) timer.unref();
      }
    });
  }

  // Whether a process goes on for as long as somebody waits.
  hold(isHeld) {
    this.#isHeld = isHeld;
    if (this.#poll !== null && !this.#isClosed) this.#holdPoll();
  }

  // Wakes all, before the descriptor is closed.
  close() {
    this.#isClosed = true;
    this.#poll?.close();
    this.#wakeAll();
  }

  #start() {
    if (this.#waiting.size > 0) return;
    // The event loop calls this outside of what runs promises and catches exceptions, so it leaves that to a function that
    // is called as it should be, in the same round.
    const told = () => {
      this.#poll.stop();
      setImmediate(() => this.#wakeAll());
    };
    if (this.#poll === null) {
      this.#poll = poll(descriptorOf(this.#queue), { readable: true }, told);
      this.#holdPoll();
    } else {
      this.#poll.start({ readable: true }, told);
    }
  }

  #holdPoll() {
    if (this.#isHeld) this.#poll.ref();
    else this.#poll.unref();
  }

  #wakeAll() {
    for (const wake of [...this.#waiting]) wake();
  }
}

module.exports = { Watcher };
