'use strict';
// Reads, which caches and snapshots have in common: the library's function for either is an argument.

const abi = require('./abi');
const { errorOf } = require('./errors');
const { text } = require('./handle');
const { lib, copy, string } = require('./library');
const { Out, Struct, scratch, pointerAt, sizeAt, statAt, nodeAt } = require('./values');

// What ZooKeeper has against a path, in the words of the library.
function whyNoPath(path) {
  if (path === '') return 'it is empty';
  if (!path.startsWith('/')) return "it must start with '/'";
  if (path.endsWith('/')) return "it must not end with '/'";
  const names = path.slice(1).split('/');
  if (names.includes('')) return 'it has an empty node name';
  if (names.includes('.') || names.includes('..')) return 'relative node names are not allowed';
  return 'it has a character that ZooKeeper does not allow';
}

// Throws what is wrong when a read has answered with a status. `owner` knows its root, and whether it is closed.
function check(status, path, owner) {
  if (status === abi.TC_OK) return;
  let why;
  if (status === abi.TC_ERR_INVALID_ARGUMENT) why = whyNoPath(path);
  else if (status === abi.TC_ERR_OUT_OF_TREE && owner._root !== null) why = `it is not below the root ${owner._root}`;
  throw errorOf(status, why, { path });
}

const path = (value) => text(value, 'path');

const LARGEST_KEPT = 2 ** 20;
let dataMemory = scratch(4096);
const lengthMemory = scratch(8);
const statMemory = scratch(abi.LAYOUTS.tc_stat.size);

// The node at a path; undefined where there is none.
function getData(call, where, owner) {
  const pointer = owner._pointer;
  path(where);
  for (let memory = dataMemory; ; ) {
    const status = call(pointer, where, memory, memory.byteLength, lengthMemory, statMemory);
    if (status === abi.TC_OK) {
      const data = Buffer.from(new Uint8Array(memory.buffer, 0, sizeAt(lengthMemory, 0)));
      return { path: where, data, stat: statAt(statMemory, 0) };
    }
    if (status === abi.TC_ERR_NO_NODE) return undefined;
    if (status !== abi.TC_ERR_TOO_SMALL) check(status, where, owner);
    memory = scratch(2 * sizeAt(lengthMemory, 0));
    if (memory.byteLength <= LARGEST_KEPT) dataMemory = memory;
  }
}

const out = new Out();

// What hands out children, the pointer to them; null where there is no such node.
function children(call, where, owner) {
  const status = call(owner._pointer, path(where), out.memory);
  if (status === abi.TC_ERR_NO_NODE) return null;
  check(status, where, owner);
  return out.take();
}

// The strings of an array of them, of which the lengths are in another array.
function strings(count, texts, lengths) {
  if (count === 0) return [];
  const pointers = scratch(8 * count);
  const sizes = scratch(8 * count);
  copy(pointers, texts, pointers.byteLength);
  copy(sizes, lengths, sizes.byteLength);
  const found = [];
  for (let at = 0; at < pointers.byteLength; at += 8) found.push(string(pointerAt(pointers, at), sizeAt(sizes, at)));
  return found;
}

const names = new Struct('tc_children');

// The names of a node's children, in the order of their bytes; undefined where there is no such node.
function getChildren(call, where, owner) {
  const pointer = children(call, where, owner);
  if (pointer === null) return undefined;
  try {
    const memory = names.read(pointer);
    const { len, names: texts, name_lens: lengths } = names.at;
    return strings(sizeAt(memory, len), pointerAt(memory, texts), pointerAt(memory, lengths));
  } finally {
    lib.tc_children_free(pointer);
  }
}

const withData = new Struct('tc_children_data');

// A node's children by name, in the order of the names' bytes, null for one that may not be read; undefined where there is
// no such node.
function getChildrenData(call, where, owner) {
  const pointer = children(call, where, owner);
  if (pointer === null) return undefined;
  try {
    const memory = withData.read(pointer);
    const { len, names: texts, name_lens: lengths, nodes } = withData.at;
    const count = sizeAt(memory, len);
    const found = new Map();
    const above = where === '/' ? '/' : `${where}/`;
    const pointers = scratch(8 * count);
    if (count > 0) copy(pointers, pointerAt(memory, nodes), pointers.byteLength);
    let at = 0;
    for (const name of strings(count, pointerAt(memory, texts), pointerAt(memory, lengths))) {
      const node = pointerAt(pointers, at);
      found.set(name, node === null ? null : nodeAt(above + name, node));
      at += 8;
    }
    return found;
  } finally {
    lib.tc_children_data_free(pointer);
  }
}

module.exports = { check, path, getData, getChildren, getChildrenData };
