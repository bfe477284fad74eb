// Caches that are attached to the file of another process: reads, events, the writer's death and return.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import test from 'node:test';
import { pathToFileURL } from 'node:url';
import * as treecache from 'treecache';
import { TreeCache } from 'treecache';
import { HOSTS, PATIENCE, Program, Writer, eventsUntil, shown, threads, until } from './support.mjs';

const zk = new Writer();
test.after(() => zk.end());

const WRITER = `
import { Client } from 'treecache';
const [hosts, root, file] = process.argv.slice(2);
const cache = new Client(hosts, { 'session.timeout.ms': 2000 }).cache(root, { 'share.file': file });
cache.start();
await cache.waitInitialized();
console.log('written');
for await (const event of cache.events());
`;

// A name for a file, in a folder in memory.
function fileOf(t) {
  const folder = mkdtempSync('/dev/shm/treecache-');
  t.after(() => rmSync(folder, { recursive: true }));
  return `${folder}/tree`;
}

// A process that keeps the tree in the file. It is killed, and says no word.
const writing = (t, root, file) => Program.of(t, WRITER, [HOSTS, root, file]);

test('what another process keeps is read, and followed', async (t) => {
  const [root, file] = [await zk.root(t), fileOf(t)];
  await writing(t, root, file).shows('written');
  const before = threads().length;
  const cache = TreeCache.attach(file);
  t.after(() => cache.close());
  await until(() => cache.isInitialized); // the file is written behind what the writer has told
  await cache.waitInitialized({ timeout: PATIENCE });
  assert.equal(cache.path, root);
  assert.equal(String(cache.getData(`${root}/a`).data), '1');
  assert.deepEqual(cache.getChildren(root), ['a', 'b']);
  const snapshot = cache.snapshot();
  assert.deepEqual([...snapshot].map(([path]) => path), [root, `${root}/a`, `${root}/a/x`, `${root}/b`]);
  assert.ok(snapshot.isCut);
  assert.throws(() => cache.getData('/elsewhere'), { message: `/elsewhere: it is not below the root ${root}` });
  await assert.rejects(cache.sync({ timeout: PATIENCE }), { name: 'UnsupportedError', path: file });
  assert.throws(() => cache.start(), treecache.StateError);
  await until(() => cache.state === 'IN_STEP');
  const { nodes, connections, contactAge } = cache.stats();
  assert.deepEqual([nodes, connections], [4, 0]);
  assert.ok(contactAge !== null);
  assert.equal(threads().length, before, 'to read takes no thread');

  const events = cache.events({ timeout: PATIENCE });
  await eventsUntil(events, 'INITIALIZED');
  await zk.set(`${root}/a`, 'new');
  const changed = await eventsUntil(events, 'NODE_UPDATED');
  assert.equal(shown(changed).at(-1), `NODE_UPDATED ${root}/a`);
  assert.equal(String(cache.getData(`${root}/a`).data), 'new');
  assert.deepEqual(shown(snapshot.diff(cache.snapshot())), [`NODE_UPDATED ${root}/a`]);
});

test('who attaches first waits for the writer, and may give up', async (t) => {
  const [root, file] = [await zk.root(t), fileOf(t)];
  const cache = TreeCache.attach(pathToFileURL(file), { 'events.capacity': 1000 });
  t.after(() => cache.close());
  assert.equal(cache.state, 'LOADING');
  assert.throws(() => cache.path, { name: 'NotReadyError', path: file });
  assert.deepEqual([...cache.snapshot()], []);
  assert.throws(() => cache.snapshot().walk(), treecache.NotReadyError);
  await assert.rejects(cache.waitInitialized({ timeout: 50 }), { name: 'TimeoutError', path: file });
  const waiting = cache.waitInitialized({ timeout: PATIENCE });
  await writing(t, root, file).shows('written');
  await waiting;
  assert.equal(cache.path, root);
});

test('without its writer a tree is read on, and says so; a new writer is taken up', async (t) => {
  const [root, file] = [await zk.root(t), fileOf(t)];
  const first = writing(t, root, file);
  await first.shows('written');
  const cache = TreeCache.attach(file);
  t.after(() => cache.close());
  const events = cache.events({ timeout: PATIENCE });
  await eventsUntil(events, 'INITIALIZED');
  first.process.kill('SIGKILL');
  await once(first.process, 'close');
  await eventsUntil(events, 'CONNECTION_SUSPENDED');
  assert.equal(cache.state, 'SUSPENDED');
  assert.equal(String(cache.getData(`${root}/a`).data), '1');
  await zk.set(`${root}/a`, 'back');
  await writing(t, root, file).shows('written');
  await eventsUntil(events, 'NODE_UPDATED');
  assert.equal(String(cache.getData(`${root}/a`).data), 'back');
});

test('what is no file of a tree is refused by its name', (t) => {
  const file = fileOf(t);
  writeFileSync(file, 'something else');
  assert.throws(() => TreeCache.attach(file), (error) => {
    assert.ok(error instanceof treecache.InvalidArgumentError);
    assert.ok(error.message.includes(file), error.message);
    return true;
  });
  assert.throws(() => TreeCache.attach('/dev/shm'), { name: 'InvalidArgumentError', message: /\/dev\/shm/ });
  assert.throws(() => TreeCache.attach('/a\0b'), treecache.InvalidArgumentError);
  assert.throws(() => TreeCache.attach(7), { name: 'TypeError', message: 'file: expected a string, not number' });
  assert.throws(() => TreeCache.attach(file, { 'close.keeps': true }), { message: /close\.keeps/ });
});
