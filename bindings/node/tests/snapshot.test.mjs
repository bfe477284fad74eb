// Snapshots: iteration, walks, differences, and that they never change.
import assert from 'node:assert/strict';
import test from 'node:test';
import * as treecache from 'treecache';
import { PATIENCE, Writer, cacheOf, clientOf, shown } from './support.mjs';

const zk = new Writer();
test.after(() => zk.end());

const paths = (pairs) => [...pairs].map(([path]) => path);

test('a snapshot is iterated from the root down, in the order of bytes', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const snapshot = cache.snapshot();
  const all = [root, `${root}/a`, `${root}/a/x`, `${root}/b`];
  assert.deepEqual(paths(snapshot), all);
  assert.deepEqual(paths(snapshot.walk()), all);
  assert.deepEqual(paths(snapshot.walk(`${root}/a`)), [`${root}/a`, `${root}/a/x`]);
  for (const [path, node] of snapshot) {
    assert.equal(node.path, path);
    assert.deepEqual(node, snapshot.getData(path));
    assert.deepEqual(node, cache.getData(path));
    assert.ok(snapshot.has(path));
  }
  assert.deepEqual([snapshot.size, snapshot.root, snapshot.isCut], [4, root, true]);
  assert.ok(snapshot.zxid > 0n);
  for (const path of [`${root}/nowhere`, '/elsewhere', 'no path']) assert.ok(!snapshot.has(path));
  assert.throws(() => snapshot.has(5), TypeError);
  assert.throws(() => snapshot.walk('/elsewhere'), treecache.OutOfTreeError);
  assert.throws(() => snapshot.walk(`${root}/nowhere`), { name: 'NoNodeError', path: `${root}/nowhere` });
  assert.throws(() => snapshot.walk('a'), treecache.InvalidArgumentError);
});

test('a walk reads what is asked for, and may be left, interleaved, and outlive the snapshot', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const snapshot = cache.snapshot();
  for (const [path] of snapshot) {
    assert.equal(path, root);
    break;
  }
  const [one, other] = [snapshot.walk(), snapshot.walk()];
  snapshot.close();
  assert.equal(one.next().value[0], root);
  assert.equal(other.next().value[0], root);
  assert.equal(one.next().value[0], `${root}/a`);
  assert.equal(other.next().value[0], `${root}/a`);
  assert.deepEqual(one.return(), { done: true, value: undefined });
  assert.deepEqual(paths(other), [`${root}/a/x`, `${root}/b`]);
  assert.deepEqual(other.next(), { done: true, value: undefined });
});

test('a snapshot never changes', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const older = cache.snapshot();
  await zk.set(`${root}/b`, 'new');
  await zk.create(`${root}/c`);
  await zk.delete(`${root}/a`);
  await cache.sync({ timeout: PATIENCE });
  const newer = cache.snapshot();
  assert.equal(String(older.getData(`${root}/b`).data), '2');
  assert.deepEqual(paths(newer), [root, `${root}/b`, `${root}/c`]);

  const changes = older.diff(newer);
  assert.deepEqual(shown(changes), [
    `NODE_REMOVED ${root}/a/x`,
    `NODE_REMOVED ${root}/a`,
    `NODE_UPDATED ${root}/b`,
    `NODE_ADDED ${root}/c`,
  ]);
  const updated = changes[2];
  assert.deepEqual([String(updated.oldNode.data), String(updated.node.data)], ['2', 'new']);
  assert.ok(changes.at(-1).lastOfVersion);
  assert.equal(changes.at(-1).zxid, newer.zxid);
  assert.deepEqual(newer.diff(newer), []);
  cache.close();
  assert.equal(older.diff(newer).length, changes.length);
});

test('snapshots of different roots have no difference', async (t) => {
  const root = await zk.root(t);
  const client = clientOf(t);
  const whole = (await cacheOf(t, root, {}, client)).snapshot();
  const part = (await cacheOf(t, `${root}/a`, {}, client)).snapshot();
  assert.throws(() => whole.diff(part), {
    name: 'InvalidArgumentError',
    message: `one snapshot is of ${root}, the other of ${root}/a`,
  });
  assert.throws(() => whole.diff(new Map()), { name: 'TypeError', message: 'newer: expected a Snapshot, not object' });
});

test('what may not be read is left out', async (t) => {
  const root = await zk.root(t);
  await zk.createSecret(`${root}/c`);
  const snapshot = (await cacheOf(t, root)).snapshot();
  assert.deepEqual(paths(snapshot), [root, `${root}/a`, `${root}/a/x`, `${root}/b`]);
  assert.ok(!snapshot.has(`${root}/c`));
  assert.throws(() => snapshot.walk(`${root}/c`), { name: 'NoPermissionError', path: `${root}/c` });
});

test('before the first version a snapshot is empty', async (t) => {
  const cache = clientOf(t).cache('/a');
  t.after(() => cache.close());
  const snapshot = cache.snapshot();
  assert.deepEqual([...snapshot], []);
  assert.deepEqual([snapshot.size, snapshot.zxid, snapshot.isCut, snapshot.root], [0, 0n, false, '/a']);
});
