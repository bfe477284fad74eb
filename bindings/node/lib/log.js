'use strict';
// What the library logs, written to a descriptor by the library itself: its threads cannot call JavaScript.

const abi = require('./abi');
const { errorOf, errors } = require('./errors');
const { lib } = require('./library');

const LEVELS = { error: 3, warning: 4, info: 6, debug: 7 };

function logTo(fd, level = 'warning') {
  if (fd !== null && !(Number.isInteger(fd) && fd >= 0 && fd < 2 ** 31)) {
    throw new errors.InvalidArgumentError(`a descriptor is a number from 0 on, or null, not ${String(fd)}`);
  }
  if (!Object.hasOwn(LEVELS, level)) {
    throw new errors.InvalidArgumentError(`a level is one of ${Object.keys(LEVELS).join(', ')}, not ${String(level)}`);
  }
  const status = lib.tc_log_set_fd(LEVELS[level], fd ?? -1);
  if (status !== abi.TC_OK) throw errorOf(status, 'the process has a log of its own for the library');
}

module.exports = { logTo };
