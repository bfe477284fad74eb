'use strict';
// Finds and loads the shared library, once, when the package is loaded.

const path = require('node:path');
const koffi = require('koffi');
const { FUNCTIONS } = require('./abi');

const SONAME = 'libtreecache.so.0';

// The files to try, in this order, each with where the name comes from.
function candidates() {
  const chosen = process.env.TREECACHE_LIBRARY;
  if (chosen) return [[chosen, 'TREECACHE_LIBRARY']];
  const platform = `${process.platform}-${process.arch}`;
  return [
    [path.join(__dirname, '..', 'native', platform, SONAME), `of this package, for ${platform}`],
    [SONAME, 'system loader'],
  ];
}

const TYPES = {
  void: 'void',
  bool: 'bool',
  i32: 'int32_t',
  i64: 'int64_t',
  size: 'size_t',
  ptr: 'void *',
  text: 'const char *',
  out: koffi.out(koffi.pointer('void *')),
  diff: koffi.pointer(koffi.proto('int32_t', ['const void *', 'void *'])),
};

function load() {
  const tried = [];
  for (const [name, source] of candidates()) {
    try {
      const file = koffi.load(name);
      const functions = {};
      for (const [name, [result, parameters]] of Object.entries(FUNCTIONS)) {
        functions[name] = file.func(name, TYPES[result], parameters.map((parameter) => TYPES[parameter]));
      }
      return functions;
    } catch (error) {
      // It is not there, or not this library, or an older one.
      tried.push(`  ${name} (${source}): ${error.message}`);
    }
  }
  throw new Error(
    `the shared library of treecache cannot be loaded; tried:\n${tried.join('\n')}\n` +
      'Install libtreecache, or name its file in the environment variable TREECACHE_LIBRARY.',
  );
}

const copy = koffi.load(null).func('void *memcpy(void *to, const void *from, size_t length)');

module.exports = {
  lib: load(),
  // memcpy, into a Buffer.
  copy,
  // The string of so many bytes of UTF-8 at an address, or up to its NUL.
  string: koffi.decode.string,
  // Has the event loop call a function while a descriptor is readable.
  poll: koffi.node.poll,
};
