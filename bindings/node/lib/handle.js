'use strict';
// Who frees what, and when; and what is given to the library, in the form that it takes.

const { isMainThread } = require('node:worker_threads');
const { errors } = require('./errors');
const { lib } = require('./library');

// What is open of this thread, so that nothing of it outlives the thread.
const open = new Set();

// One thing of the library's, until it is freed. It does not know the object that it belongs to, which may be collected.
class Resource {
  #pointer;
  #end;
  #calls = 0;
  #isClosed = false;

  constructor(pointer, end) {
    this.#pointer = pointer;
    this.#end = end;
    open.add(this);
  }

  get pointer() {
    return this.#pointer;
  }

  get isBusy() {
    return this.#calls > 0;
  }

  // Calls a function of the library on a thread of libuv's, with the pointer as its first argument.
  call(call, ...rest) {
    return new Promise((resolve, reject) => {
      call.async(this.#pointer, ...rest, (error, result) => {
        this.#calls -= 1;
        this.#freeIfUnused(false);
        if (error) reject(error);
        else resolve(result);
      });
      this.#calls += 1;
    });
  }

  // Frees it, when the last call on another thread is back. What may take a while is done on another thread, unless it is
  // to be over on return. Returns what the function that frees it returns.
  close(isLast = false) {
    this.#isClosed = true;
    return this.#freeIfUnused(isLast);
  }

  #freeIfUnused(isLast) {
    if (!this.#isClosed || this.#calls > 0 || !open.delete(this)) return undefined;
    return this.#end(this.#pointer, isLast);
  }
}

// For what waits while it is freed: a function that frees it, on another thread unless it is to be over on return, and
// returns a promise.
function freeing(free) {
  return (pointer, isLast) => {
    if (isLast) return free(pointer);
    return new Promise((resolve, reject) => {
      free.async(pointer, (error) => (error ? reject(error) : resolve()));
    });
  };
}

const collected = new FinalizationRegistry((resource) => resource.close());

// At the end of the process, or of a worker. A call that waits on another thread would be waited for, so it is ended. What
// else a worker leaves open would go on for as long as the process; that of the process itself is left to the system.
process.on('exit', () => {
  for (const resource of open) {
    if (resource.isBusy) lib.tc_close(resource.pointer); // only caches have such calls
    else if (!isMainThread) resource.close(true);
  }
});

// What only this package has: who makes an Owner gives it along, so that nobody else makes one of a pointer.
const OURS = Symbol('treecache');

// What has a thing of the library's until it is closed, or is not referred to any more.
class Owner {
  #resource;

  // `end`: frees the pointer; see Resource.close.
  constructor(ours, pointer, end) {
    if (ours !== OURS) throw new TypeError(`a ${new.target.name} is not made with new`);
    this.#resource = new Resource(pointer, end);
    collected.register(this, this.#resource, this);
  }

  get _isOpen() {
    return this.#resource !== null;
  }

  get _resource() {
    if (this.#resource === null) throw new errors.ClosedError(`the ${this.constructor.name} is closed`);
    return this.#resource;
  }

  get _pointer() {
    return this._resource.pointer;
  }

  // Lets the thing go, and returns it; null where that was done before.
  _letGo() {
    const resource = this.#resource;
    this.#resource = null;
    if (resource !== null) collected.unregister(this);
    return resource;
  }
}

// A string for the library, which takes it up to the first NUL. What is wrong with it does not show it: it may be a password.
function text(value, what, about) {
  if (typeof value !== 'string') throw new TypeError(`${what}: expected a string, not ${kindOf(value)}`);
  if (value.includes('\0')) throw new errors.InvalidArgumentError('there is a NUL in it', about);
  const at = value.search(/\p{Surrogate}/u);
  if (at >= 0) throw new errors.InvalidArgumentError(`there is no Unicode at index ${at}`, about);
  return value;
}

function kindOf(value) {
  return value === null ? 'null' : typeof value;
}

// Options by name, or an error that names what is none of them.
function options(given, names, what) {
  if (given === null || typeof given !== 'object') {
    throw new TypeError(`${what}: expected an object of options, not ${kindOf(given)}`);
  }
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) throw new TypeError(`${what}: there is no option ${name}, only ${names.join(', ')}`);
  }
  // By what it can do: test runners have an AbortSignal of their own.
  if (given.signal !== undefined && typeof given.signal?.throwIfAborted !== 'function') {
    throw new TypeError(`${what}: signal: expected an AbortSignal, not ${kindOf(given.signal)}`);
  }
  return given;
}

const LONGEST = 2 ** 31 - 1;

// A time in ms as the library takes it, rounded up. None, Infinity, and more than 24 days, are no limit: -1.
function milliseconds(timeout) {
  if (timeout === undefined) return -1;
  if (typeof timeout !== 'number' || !(timeout >= 0)) {
    throw new errors.InvalidArgumentError(`a timeout is a number of ms from 0 on, not ${String(timeout)}`);
  }
  return timeout > LONGEST ? -1 : Math.ceil(timeout);
}

module.exports = { OURS, Owner, freeing, text, kindOf, options, milliseconds };
