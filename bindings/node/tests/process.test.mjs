// What concerns the whole process: its end, signals, worker threads, what is collected, and that nothing is left behind.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { Client } from 'treecache';
import {
  HOSTS,
  PATIENCE,
  Program,
  Proxy,
  Writer,
  cacheOf,
  clientOf,
  collect,
  descriptors,
  eventsUntil,
  silentServer,
  threads,
  until,
} from './support.mjs';

const zk = new Writer();
test.after(() => zk.end());

const BEGIN = `
import { Client } from 'treecache';
const [hosts, root] = process.argv.slice(2);
const client = new Client(hosts);
const cache = client.cache(root);
cache.start();
`;

test('a process ends by itself when nobody waits, whatever is still open', async (t) => {
  const root = await zk.root(t);
  const stream = `
await cache.waitInitialized({ timeout: ${PATIENCE} });
const events = cache.events();
while ((await events.next()).value.type !== 'INITIALIZED');
console.log('over');
`;
  for (const end of ['', 'cache.close();', 'await client.close();', 'client.close();', 'events.unref().next();', 'process.exit();']) {
    const { code, rest, errors } = await Program.of(t, BEGIN + stream + end, [HOSTS, root]).ends();
    assert.deepEqual([code, rest, errors], [0, ['over'], ''], end);
  }
});

test('a process that waits goes on, until what it waits for is closed', async (t) => {
  const root = await zk.root(t);
  const program = Program.of(
    t,
    `${BEGIN}
process.once('SIGTERM', () => client.close());
console.log('ready');
let type;
for await (const event of cache.events()) ({ type } = event);
console.log(type, cache.state);
`,
    [HOSTS, root],
  );
  await program.shows('ready');
  await sleep(300);
  assert.equal(program.process.exitCode, null);
  program.process.kill('SIGTERM');
  assert.deepEqual(await program.ends(), { code: 0, signal: null, rest: ['CONNECTION_LOST LOST'], errors: '' });
});

test('Ctrl-C ends each wait, handled or not', async (t) => {
  const hosts = await silentServer(t);
  const handled = `process.once('SIGINT', () => { cache.close(); client.close(); });`;
  for (const wait of [
    'await cache.waitInitialized().catch(() => {});',
    'for await (const event of cache.events());',
  ]) {
    for (const handler of ['', handled]) {
      const program = Program.of(t, `${BEGIN}${handler}\nconsole.log('ready');\n${wait}`, [hosts, '/a']);
      await program.shows('ready');
      await sleep(100);
      program.process.kill('SIGINT');
      const { code, signal, errors } = await program.ends();
      assert.deepEqual([code, signal, errors], handler ? [0, null, ''] : [null, 'SIGINT', ''], wait);
    }
  }
});

test('process.exit does not wait for a sync', async (t) => {
  const root = await zk.root(t);
  const proxy = await Proxy.start();
  t.after(() => proxy.end());
  const program = Program.of(
    t,
    `${BEGIN}
await cache.waitInitialized();
setInterval(() => {}, 1000);
process.once('SIGTERM', () => {
  cache.sync().catch(() => {});
  setTimeout(() => process.exit(3), 100);
});
console.log('ready');
`,
    [proxy.hosts, root],
  );
  await program.shows('ready');
  proxy.pause(); // the connection stands, and nothing comes through any more
  program.process.kill('SIGTERM');
  const began = Date.now();
  const { code, errors } = await program.ends();
  assert.deepEqual([code, errors], [3, '']);
  assert.ok(Date.now() - began < 5000, 'it did not wait for the session to be over');
});

const WORKER = `
const { workerData, parentPort } = require('node:worker_threads');
const { Client } = require('treecache');
(async () => {
  const client = new Client(workerData.hosts);
  const cache = client.cache(workerData.root);
  cache.start();
  await cache.waitInitialized({ timeout: ${PATIENCE} });
  parentPort.postMessage(String(cache.getData(workerData.root).data));
  if (workerData.waits) for await (const event of cache.events());
})();
`;

const working = (data) => new Worker(WORKER, { eval: true, workerData: { hosts: HOSTS, ...data } });

test('workers have clients of their own, which end with them', async (t) => {
  const root = await zk.root(t);
  const client = clientOf(t);
  const cache = await cacheOf(t, root, {}, client);
  const before = threads().length;
  for (let round = 0; round < 3; round += 1) {
    await Promise.all(
      [working({ root }), working({ root })].map(async (worker) => {
        const exit = once(worker, 'exit');
        assert.deepEqual(await once(worker, 'message'), ['root']);
        assert.deepEqual(await exit, [0]);
      }),
    );
  }
  await until(() => threads().length <= before);
  assert.equal(String(cache.getData(root).data), 'root');
});

test('a worker may be ended while it waits', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  for (let round = 0; round < 3; round += 1) {
    const worker = working({ root, waits: true });
    await once(worker, 'message');
    await sleep(50);
    await worker.terminate();
  }
  await zk.set(`${root}/a`, 'after');
  await cache.sync({ timeout: PATIENCE });
  assert.equal(String(cache.getData(`${root}/a`).data), 'after');
});

test('what nothing refers to any more is closed', async (t) => {
  const root = await zk.root(t);
  await collect();
  const [threadsBefore, descriptorsBefore] = [threads().length, descriptors()];
  await (async () => {
    const client = new Client(HOSTS);
    const cache = client.cache(root);
    const events = cache.events({ timeout: PATIENCE });
    cache.start();
    await eventsUntil(events, 'IN_STEP');
    await assert.rejects(cache.events({ initial: false, timeout: 5 }).next()); // has waited, and waits no more
    cache.snapshot().walk().next();
  })();
  assert.ok(threads().length > threadsBefore);
  await until(async () => {
    await collect();
    return threads().length <= threadsBefore && descriptors() <= descriptorsBefore;
  }, 'its threads and descriptors are gone');
});

test('a cache keeps its client, a stream its cache, and who waits the stream', async (t) => {
  const root = await zk.root(t);
  let client = new Client(HOSTS);
  const events = (() => {
    const cache = client.cache(root);
    const events = cache.events({ timeout: PATIENCE });
    cache.start();
    return events;
  })();
  client = null;
  await eventsUntil(events, 'IN_STEP');
  const waiting = events.next();
  await collect();
  await zk.create(`${root}/c`);
  assert.equal((await waiting).value.path, `${root}/c`);
});

// How much memory the process has, in MB.
const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

test('many rounds leave no memory, thread or descriptor behind', async (t) => {
  const root = await zk.root(t);
  await zk.set(`${root}/a`, 'x'.repeat(10_000));
  const client = clientOf(t);
  const long = await cacheOf(t, root, {}, client);
  const round = async () => {
    const cache = client.cache(root);
    const events = cache.events({ timeout: PATIENCE });
    cache.start();
    await eventsUntil(events, 'INITIALIZED');
    for (let read = 0; read < 200; read += 1) {
      cache.getData(`${root}/a`);
      cache.getChildren(root);
      cache.getChildrenData(root);
      const snapshot = cache.snapshot();
      [...snapshot];
      snapshot.diff(long.snapshot());
      assert.throws(() => cache.getData('/elsewhere'));
      cache.stats();
    }
    await assert.rejects(cache.events({ initial: false, timeout: 0 }).next());
    assert.throws(() => client.cache(root, { nonsense: 1 }));
    cache.close();
  };
  const rounds = async (count) => {
    for (; count > 0; count -= 1) await round();
    await collect();
  };
  await rounds(10);
  const [descriptorsBefore, threadsBefore] = [descriptors(), threads().length];
  // Forty rounds read 8,000 times 10,000 bytes in each of three ways: what any of them leaves behind is 80 MB, each time.
  // What V8 and malloc keep for themselves comes to an end.
  const grown = [];
  do {
    const before = resident();
    await rounds(40);
    grown.push(resident() - before);
  } while (grown.at(-1) >= 20 && grown.length < 5);
  assert.ok(grown.at(-1) < 20, `it grows by ${grown.map((by) => by.toFixed(1)).join(', ')} MB`);
  await until(() => descriptors() <= descriptorsBefore && threads().length <= threadsBefore, 'all is closed');
});

test('the log goes to a descriptor', async (t) => {
  const program = Program.of(
    t,
    `
import { Client, logTo } from 'treecache';
logTo(2);
const client = new Client('127.0.0.1:1');
const cache = client.cache('/a');
cache.start();
while (cache.lastFault === null) await new Promise((wake) => setTimeout(wake, 10));
await client.close();
logTo(null);
for (const wrong of [['2'], [-1], [2, 'all']]) try { logTo(...wrong) } catch (error) { console.log(error.message) }
`,
    [],
  );
  const { code, rest, errors } = await program.ends();
  assert.equal(code, 0);
  assert.match(errors, /^<4>.*Connection refused/m);
  assert.deepEqual(rest, [
    'a descriptor is a number from 0 on, or null, not 2',
    'a descriptor is a number from 0 on, or null, not -1',
    'a level is one of error, warning, info, debug, not all',
  ]);
});

test('a library that cannot be loaded is said, with all that was tried', async (t) => {
  const folder = mkdtempSync(`${tmpdir()}/treecache-`);
  t.after(() => rmSync(folder, { recursive: true }));
  const load = async (library) => {
    const environment = { ...process.env, TREECACHE_LIBRARY: library };
    const program = ['-e', "require('treecache')"];
    const cwd = fileURLToPath(new URL('..', import.meta.url));
    return promisify(execFile)(process.execPath, program, { env: environment, cwd }).then(
      () => '',
      (error) => error.stderr,
    );
  };
  assert.match(await load(`${folder}/none.so`), /cannot be loaded; tried:\n {2}.*none\.so \(TREECACHE_LIBRARY\): /);
  copyFileSync('/bin/true', `${folder}/true.so`);
  assert.match(await load(`${folder}/true.so`), /true\.so \(TREECACHE_LIBRARY\): /);
  if (process.env.TREECACHE_LIBRARY !== undefined) assert.equal(await load(process.env.TREECACHE_LIBRARY), '');
});
