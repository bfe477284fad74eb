// What lib/abi.js says of treecache.h is what treecache.h says.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import * as treecache from 'treecache';

const abi = createRequire(import.meta.url)('../lib/abi.js');
const header = readFileSync(process.env.TREECACHE_TEST_HEADER, 'utf8').replace(/\/\*[^]*?\*\//g, '');

const NUMBERS = { int32_t: 'i32', uint32_t: 'u32', int64_t: 'i64', uint64_t: 'u64', size_t: 'size', bool: 'bool', tc_state: 'i32' };

// What abi.js calls a type of C.
function kind(type) {
  const bare = type.replace(/\b(const|struct)\b/g, '').replace(/\s+/g, ' ').replace(/ ?\*/g, '*').trim();
  if (bare === 'char*') return 'text';
  if (bare.endsWith('*')) return 'ptr';
  if (bare === 'tc_diff_fn') return 'diff';
  return NUMBERS[bare] ?? bare;
}

test('structs have the fields of the header, in its order', () => {
  for (const [name, fields] of Object.entries(abi.STRUCTS)) {
    const [, body] = new RegExp(`typedef struct ${name} \\{([^}]*)\\} ${name};`).exec(header);
    const found = [...body.matchAll(/^\s*(.*?)(\w+);$/gm)].map(([, type, field]) => [field, kind(type)]);
    const expected = fields.map(([field, type]) => [field, type]);
    assert.deepEqual(found.map(([field, type]) => [field, type === 'text' ? 'ptr' : type]), expected, name);
  }
});

test('functions are those of the header', () => {
  for (const [name, [result, parameters]] of Object.entries(abi.FUNCTIONS)) {
    const declared = new RegExp(`^([\\w *]*?\\*?)\\b${name}\\(([^)]*)\\);`, 'm').exec(header);
    assert.ok(declared, name);
    const found = declared[2] === 'void' ? [] : declared[2].split(',').map((one) => kind(one.replace(/\w+\s*$/, '')));
    const expected = parameters.map((one) => (one === 'out' ? 'ptr' : one));
    assert.deepEqual([kind(declared[1]), found], [result, expected], name);
  }
});

test('numbers are those of the header', () => {
  const number = (name) => Number(new RegExp(`^#define ${name} (-?\\d+)$`, 'm').exec(header)[1]);
  const all = (prefix) => [...header.matchAll(new RegExp(`^#define (${prefix}\\w+) (-?\\d+)$`, 'gm'))];
  for (const [name, value] of Object.entries(abi.STATUS)) assert.equal(value, number(name), name);
  assert.equal(Object.keys(abi.STATUS).length, all('TC_ERR_').length + 1); // and TC_OK
  const numbered = (prefix, names) => names.forEach((name, value) => assert.equal(value, number(`${prefix}${name}`), name));
  numbered('TC_EVENT_', abi.EVENTS);
  numbered('TC_STATE_', abi.STATES);
  assert.equal(abi.STATES.length, all('TC_STATE_').length);
  assert.equal(abi.EVENTS.length + 1, all('TC_EVENT_').length); // and LAST_OF_VERSION
  for (const name of ['TC_EVENT_LAST_OF_VERSION', 'TC_WALK_CONTINUE', 'TC_WALK_STOP']) {
    assert.equal(abi[name], number(name));
  }
});

test('there is a class of errors for each status, and import has all that require has', () => {
  const required = createRequire(import.meta.url)('treecache');
  assert.deepEqual(Object.keys(treecache).sort(), Object.keys(required).sort());
  for (const name of Object.keys(required)) assert.equal(treecache[name], required[name]);
  const classes = Object.values(treecache).filter((value) => value.prototype instanceof treecache.TreeCacheError);
  const codes = classes.map((kind) => new kind().code).sort();
  assert.deepEqual(codes, Object.keys(abi.STATUS).filter((name) => name !== 'TC_OK').sort());
  for (const kind of classes) {
    const error = new kind('why', { path: '/a\u202eb', key: 'k', serverError: -4 });
    assert.equal(error.status, abi.STATUS[error.code]);
    assert.equal(error.name, kind.name);
    assert.equal(error.message, 'k: /a\\u{202e}b: why');
    assert.equal(error.path, '/a\u202eb');
    assert.equal(error.serverError, -4);
  }
});
