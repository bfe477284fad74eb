'use strict';
// Settings by name, as docs/configuration.md lists them.

const abi = require('./abi');
const { errorOf } = require('./errors');
const { kindOf, text } = require('./handle');
const { lib } = require('./library');
const { Out, takeError } = require('./values');

const out = new Out();
const why = new Out();

// The strings that a value sets its key with: one after the other, for a list.
function valuesOf(key, value) {
  switch (typeof value) {
    case 'boolean':
    case 'number':
    case 'bigint':
      return [String(value)];
    case 'string':
      return [value];
    default:
      if (Array.isArray(value)) return value;
      throw new TypeError(
        `${key}: expected a string, a number, a boolean or an array of strings, not ${kindOf(value)}`,
      );
  }
}

// Calls a function with the settings as the library has them.
function withSettings(config, use) {
  if (config === null || typeof config !== 'object' || Array.isArray(config)) {
    throw new TypeError(`config: expected an object of settings by name, not ${kindOf(config)}`);
  }
  const settings = lib.tc_config_new();
  try {
    for (const [key, value] of Object.entries(config)) {
      text(key, 'config');
      for (const one of valuesOf(key, value)) {
        checkWith(settings, lib.tc_config_set(settings, key, text(one, key, { key })));
      }
    }
    return use(settings);
  } finally {
    lib.tc_config_free(settings);
  }
}

// Throws why the last call with the settings has failed, if it has.
function checkWith(settings, status) {
  if (status === abi.TC_OK) return;
  lib.tc_config_get_error(settings, why.memory);
  throwTold(status, takeError(why.take()));
}

// What a constructor of the library makes. Throws what it tells when it has failed. The last two arguments of `call` are
// where it puts what it made, and why it did not.
function make(call, ...parameters) {
  const status = call(...parameters, out.memory, why.memory);
  const told = takeError(why.take());
  if (status !== abi.TC_OK) throwTold(status, told);
  return out.take();
}

// Makes a call that tells why it has failed, as its last argument, and throws that. `about`: what it is about otherwise.
function tell(call, about, ...parameters) {
  const status = call(...parameters, why.memory);
  const told = takeError(why.take());
  if (status !== abi.TC_OK) throwTold(status, told, about);
}

function throwTold(status, told, about = {}) {
  throw errorOf(status, told?.message, { path: told?.path ?? about.path, key: told?.key });
}

module.exports = { withSettings, checkWith, make, tell, throwTold };
