'use strict';
// One class for each status of the library; all are a TreeCacheError.

const { STATUS } = require('./abi');

// As it can be shown: who named a node may have had something else in mind.
function escaped(text) {
  return text.replace(/[^\P{C}]|[\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

class TreeCacheError extends Error {
  static status = 0;
  static code = 'TC_ERR_UNKNOWN';
  static meaning = 'the library answered with a status that this package does not know';

  constructor(reason, { path = null, key = null, serverError = 0, status } = {}) {
    const kind = new.target;
    const why = reason || kind.meaning;
    const parts = [key, path === null ? null : escaped(path), why];
    super(parts.filter((part) => part !== null).join(': '));
    this.reason = why;
    this.status = status ?? kind.status;
    this.code = kind.code;
    this.path = path;
    this.key = key;
    this.serverError = serverError;
  }

  get name() {
    return this.constructor.name;
  }
}

class InvalidArgumentError extends TreeCacheError {
  static code = 'TC_ERR_INVALID_ARGUMENT';
  static meaning = 'it is malformed';
}

class NoNodeError extends TreeCacheError {
  static code = 'TC_ERR_NO_NODE';
  static meaning = 'there is no such node';
}

class OutOfTreeError extends TreeCacheError {
  static code = 'TC_ERR_OUT_OF_TREE';
  static meaning = 'it is not below the root';
}

class NotReadyError extends TreeCacheError {
  static code = 'TC_ERR_NOT_READY';
  static meaning = 'the first load is not complete, and the node has not been seen yet';
}

class StateError extends TreeCacheError {
  static code = 'TC_ERR_STATE';
  static meaning = 'not in this state';
}

class ClosedError extends TreeCacheError {
  static code = 'TC_ERR_CLOSED';
  static meaning = 'it is closed';
}

class TimeoutError extends TreeCacheError {
  static code = 'TC_ERR_TIMEOUT';
  static meaning = 'the time to wait is over';
}

class WouldDeadlockError extends TreeCacheError {
  static code = 'TC_ERR_WOULD_DEADLOCK';
  static meaning = 'the wait would wait for itself';
}

class UnsupportedError extends TreeCacheError {
  static code = 'TC_ERR_UNSUPPORTED';
  static meaning = 'the server cannot do what a cache needs';
}

class AuthError extends TreeCacheError {
  static code = 'TC_ERR_AUTH';
  static meaning = 'the server refused the credentials';
}

class PanicError extends TreeCacheError {
  static code = 'TC_ERR_PANIC';
  static meaning = 'a defect in libtreecache';
}

class NoPermissionError extends TreeCacheError {
  static code = 'TC_ERR_NO_PERMISSION';
  static meaning = 'the session may not read the node, or one above it';
}

class ConnectionError extends TreeCacheError {
  static code = 'TC_ERR_CONNECTION';
  static meaning = 'there is no connection to a server';
}

class ProtocolError extends TreeCacheError {
  static code = 'TC_ERR_PROTOCOL';
  static meaning = "the server sent what ZooKeeper's protocol does not allow";
}

class TLSError extends TreeCacheError {
  static code = 'TC_ERR_TLS';
  static meaning = 'TLS failed';
}

class ResetError extends TreeCacheError {
  static code = 'TC_ERR_RESET';
  static meaning = 'the ensemble went back in time: it was reset or restored';
}

class LimitError extends TreeCacheError {
  static code = 'TC_ERR_LIMIT';
  static meaning = 'the tree is beyond a limit; the cache has stopped';
}

class InterruptedError extends TreeCacheError {
  static code = 'TC_ERR_INTERRUPTED';
  static meaning = 'the wait was ended by a wake';
}

class TooSmallError extends TreeCacheError {
  static code = 'TC_ERR_TOO_SMALL';
  static meaning = 'the buffer is too small';
}

const classes = {
  InvalidArgumentError,
  NoNodeError,
  OutOfTreeError,
  NotReadyError,
  StateError,
  ClosedError,
  TimeoutError,
  WouldDeadlockError,
  UnsupportedError,
  AuthError,
  PanicError,
  NoPermissionError,
  ConnectionError,
  ProtocolError,
  TLSError,
  ResetError,
  LimitError,
  InterruptedError,
  TooSmallError,
};

const byStatus = new Map();
for (const kind of Object.values(classes)) {
  kind.status = STATUS[kind.code];
  byStatus.set(kind.status, kind);
}

// The error for a status.
function errorOf(status, reason, about = {}) {
  const kind = byStatus.get(status) ?? TreeCacheError;
  return new kind(reason, { ...about, status });
}

module.exports = { errors: { TreeCacheError, ...classes }, errorOf };
