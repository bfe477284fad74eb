// Clients and caches: their lives, reads, waits, and what is refused.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as treecache from 'treecache';
import { Client, Snapshot, TreeCache } from 'treecache';
import { HOSTS, PATIENCE, Writer, cacheOf, clientOf, eventsUntil, silentServer, until } from './support.mjs';

const zk = new Writer();
test.after(() => zk.end());

// Stats as kazoo has them.
const told = (stat) => Object.fromEntries(Object.entries(stat).map(([field, value]) => [field, String(value)]));

test('a cache is loaded and follows', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const node = cache.getData(`${root}/a`);
  assert.equal(node.path, `${root}/a`);
  assert.deepEqual(node.data, Buffer.from('1'));
  assert.deepEqual(told(node.stat), await zk.stat(`${root}/a`));
  assert.deepEqual(cache.getChildren(root), ['a', 'b']);

  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  await zk.set(`${root}/a`, all.toString('latin1'));
  await cache.sync({ timeout: PATIENCE });
  assert.deepEqual(cache.getData(`${root}/a`).data, all);
  assert.deepEqual(told(cache.getData(`${root}/a`).stat), await zk.stat(`${root}/a`));
  assert.deepEqual(node.data, Buffer.from('1'), 'what was read is a copy');
});

test('a life', async (t) => {
  const root = await zk.root(t);
  const client = clientOf(t);
  const cache = client.cache(root);
  assert.ok(cache instanceof TreeCache);
  assert.deepEqual([cache.state, cache.path, cache.isInitialized], ['LATENT', root, false]);
  await assert.rejects(cache.waitInitialized({ timeout: 1000 }), treecache.StateError);
  assert.throws(() => cache.getData(root), treecache.NotReadyError);

  cache.start();
  await cache.waitInitialized({ timeout: PATIENCE });
  await cache.waitInitialized();
  assert.ok(cache.isInitialized);
  await until(() => cache.state === 'IN_STEP');
  assert.throws(() => cache.start(), treecache.StateError);
  const { nodes, bytes, connections, server, watch, contactAge, sessionId } = cache.stats();
  assert.deepEqual([nodes, bytes, connections, server, watch], [4, 6, 1, HOSTS, 'recursive']);
  assert.ok(contactAge >= 0 && sessionId !== 0n);
  assert.equal(cache.lastFault, null);

  cache.close();
  cache.close();
  assert.equal(cache.state, 'CLOSED');
});

test('all is refused after close', async (t) => {
  const root = await zk.root(t);
  const client = clientOf(t);
  const cache = await cacheOf(t, root, {}, client);
  const stream = cache.events();
  const snapshot = cache.snapshot();
  cache.close();
  const uses = [
    () => cache.start(),
    () => cache.startFrom(snapshot),
    () => cache.stats(),
    () => cache.snapshot(),
    () => cache.events(),
    () => cache.isInitialized,
    () => cache.lastFault,
    () => cache.getData(root),
    () => cache.getChildren(root),
    () => cache.getChildrenData(root),
  ];
  for (const use of uses) assert.throws(use, { name: 'ClosedError', code: 'TC_ERR_CLOSED', message: /the TreeCache is closed/ });
  await assert.rejects(cache.waitInitialized(), treecache.ClosedError);
  await assert.rejects(cache.sync(), treecache.ClosedError);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });

  assert.equal(String(snapshot.getData(root).data), 'root');
  snapshot.close();
  snapshot.close();
  for (const use of [
    () => snapshot.getData(root),
    () => snapshot.getChildren(root),
    () => snapshot.has(root),
    () => snapshot.size,
    () => snapshot.zxid,
    () => snapshot.isCut,
    () => snapshot.walk(),
    () => [...snapshot],
    () => snapshot.diff(snapshot),
  ]) {
    assert.throws(use, treecache.ClosedError);
  }
  await client.close();
  await client.close();
  assert.throws(() => client.cache(root), treecache.ClosedError);
});

test('a cache outlives its client', async (t) => {
  const root = await zk.root(t);
  const client = clientOf(t);
  const cache = await cacheOf(t, root, {}, client);
  const events = cache.events({ timeout: PATIENCE });
  await client.close();
  const types = [];
  for await (const event of events) types.push(event.type);
  assert.equal(types.at(-1), 'CONNECTION_LOST');
  assert.equal(cache.state, 'LOST');
  assert.equal(String(cache.getData(`${root}/a`).data), '1');
});

test('a node that does not exist is undefined, and what is no path of the tree is an error', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  for (const from of [cache, cache.snapshot()]) {
    assert.equal(from.getData(`${root}/nowhere`), undefined);
    assert.equal(from.getChildren(`${root}/nowhere`), undefined);
    assert.equal(from.getChildrenData(`${root}/nowhere`), undefined);
    assert.throws(() => from.getData('/elsewhere'), {
      name: 'OutOfTreeError',
      status: -3,
      path: '/elsewhere',
      message: `/elsewhere: it is not below the root ${root}`,
    });
    assert.throws(() => from.getData('a'), { name: 'InvalidArgumentError', message: "a: it must start with '/'" });
    assert.throws(() => from.getChildren('/a//b'), { message: '/a//b: it has an empty node name' });
    assert.throws(() => from.getData(`${root}/a\0`), { name: 'InvalidArgumentError', message: 'there is a NUL in it' });
    assert.throws(() => from.getData('/\ud800'), { name: 'InvalidArgumentError', message: 'there is no Unicode at index 1' });
    assert.throws(() => from.getData(7), { name: 'TypeError', message: 'path: expected a string, not number' });
    assert.throws(() => from.getChildrenData(), TypeError);
  }
});

test('nodes of every size are read', async (t) => {
  const root = await zk.root(t);
  const sizes = [0, 1, 4095, 4096, 4097, 100_000, 600_000, 1_000_000, 3];
  for (const size of sizes) await zk.create(`${root}/${size}-ü`, String.fromCharCode(size % 251).repeat(size));
  const cache = await cacheOf(t, root);
  const snapshot = cache.snapshot();
  const children = cache.getChildrenData(root);
  for (const size of sizes) {
    const path = `${root}/${size}-ü`;
    const node = cache.getData(path);
    assert.equal(node.data.length, size);
    assert.ok(node.data.equals(Buffer.alloc(size, size % 251)));
    assert.deepEqual(snapshot.getData(path), node);
    assert.deepEqual(children.get(`${size}-ü`), node);
  }
});

test('children come with their data, in the order of their bytes, and those that may not be read as null', async (t) => {
  const root = await zk.root(t);
  await zk.createSecret(`${root}/c`, 'secret');
  const cache = await cacheOf(t, root);
  for (const from of [cache, cache.snapshot()]) {
    assert.deepEqual(from.getChildren(root), ['a', 'b', 'c']);
    assert.deepEqual(
      [...from.getChildrenData(root)].map(([name, node]) => [name, node?.path, node && String(node.data)]),
      [['a', `${root}/a`, '1'], ['b', `${root}/b`, '2'], ['c', undefined, null]],
    );
    assert.deepEqual(from.getChildrenData(`${root}/b`), new Map());
    assert.throws(() => from.getData(`${root}/c`), { name: 'NoPermissionError', path: `${root}/c` });
  }
});

test('a wait that is over says what went wrong last', async (t) => {
  const cache = clientOf(t, {}, '127.0.0.1:1').cache('/services');
  t.after(() => cache.close());
  cache.start();
  await until(() => cache.lastFault !== null);
  const said = /^\/services: timed out after 0\.3 s; last: 127\.0\.0\.1:1: Connection refused/;
  const error = { name: 'TimeoutError', code: 'TC_ERR_TIMEOUT', status: -7, path: '/services', message: said };
  await assert.rejects(cache.waitInitialized({ timeout: 300 }), error);
  await assert.rejects(cache.events({ timeout: 300 }).next(), error);
  await assert.rejects(cache.sync({ timeout: 300 }), {
    name: 'ConnectionError',
    message: /^\/services: there is no connection; last: 127\.0\.0\.1:1: Connection refused/,
  });
  const { lastFault } = cache;
  assert.ok(lastFault instanceof treecache.ConnectionError);
  assert.match(lastFault.message, /Connection refused/);
  assert.equal(cache.stats().lastFaultStatus, lastFault.status);
});

test('a load that cannot succeed ends the wait for it', async (t) => {
  const root = await zk.root(t);
  const cache = clientOf(t).cache(root, { 'limit.nodes': 2 });
  const events = cache.events();
  cache.start();
  await assert.rejects(cache.waitInitialized({ timeout: PATIENCE }), treecache.LimitError);
  await assert.rejects(eventsUntil(events, 'INITIALIZED'), treecache.LimitError);
});

test('a wait says why if the cache stops between two of its questions', async (t) => {
  const { lib } = createRequire(import.meta.url)('../lib/library.js');
  const { TC_ERR_TIMEOUT } = createRequire(import.meta.url)('../lib/abi.js');
  const cache = clientOf(t).cache(await zk.root(t), { 'limit.nodes': 2 });
  cache.start();
  await until(() => cache.state === 'CLOSED');
  const ask = lib.tc_wait_initialized_or_error;
  let early = 2;
  lib.tc_wait_initialized_or_error = (...given) => (early-- > 0 ? TC_ERR_TIMEOUT : ask(...given));
  t.after(() => (lib.tc_wait_initialized_or_error = ask));
  await assert.rejects(cache.waitInitialized({ timeout: PATIENCE }), (error) => {
    assert.ok(error instanceof treecache.LimitError);
    assert.match(error.message, /; last: /);
    return true;
  });
});

test('a signal ends each wait, with its reason', async (t) => {
  const hosts = await silentServer(t);
  const cache = clientOf(t, {}, hosts).cache('/a');
  t.after(() => cache.close());
  cache.start();
  const waits = [
    (signal) => cache.waitInitialized({ signal }),
    (signal) => cache.waitInitialized({ signal, timeout: 3_600_000 }),
    (signal) => cache.events({ signal }).next(),
    async (signal) => {
      for await (const event of cache.events({ signal })) assert.fail(event.type);
    },
  ];
  for (const wait of waits) {
    const controller = new AbortController();
    const waiting = wait(controller.signal);
    setTimeout(() => controller.abort(), 20);
    await assert.rejects(waiting, { name: 'AbortError' });
    await assert.rejects(async () => wait(AbortSignal.abort()), { name: 'AbortError' });
    await assert.rejects(async () => wait(AbortSignal.timeout(20)), { name: 'TimeoutError' });
    const reason = new Error('enough');
    await assert.rejects(async () => wait(AbortSignal.abort(reason)), reason);
  }
});

test('close ends each wait', async (t) => {
  const hosts = await silentServer(t);
  for (const wait of [
    (cache) => assert.rejects(cache.waitInitialized(), treecache.ClosedError),
    async (cache) => assert.deepEqual(await cache.events().next(), { done: true, value: undefined }),
    async (cache) => {
      for await (const event of cache.events()) assert.fail(event.type);
    },
  ]) {
    const cache = clientOf(t, {}, hosts).cache('/a');
    cache.start();
    const waiting = wait(cache);
    await sleep(20);
    cache.close();
    await waiting;
  }
});

test('a sync that waits is ended by a signal, and by close', async (t) => {
  const hosts = await silentServer(t);
  const cache = clientOf(t, {}, hosts).cache('/a');
  const early = cache.sync({ timeout: 5 }); // before the start
  await assert.rejects(early, treecache.StateError);
  cache.start();
  const controller = new AbortController();
  const aborted = cache.sync({ signal: controller.signal });
  const closed = cache.sync();
  controller.abort();
  await assert.rejects(aborted, (error) => error.name === 'AbortError' || error instanceof treecache.ConnectionError);
  cache.close();
  await assert.rejects(closed, (error) => error instanceof treecache.ClosedError || error instanceof treecache.ConnectionError);
});

test('a cache that begins with what another has read tells only what differs', async (t) => {
  const root = await zk.root(t);
  const client = clientOf(t);
  const first = await cacheOf(t, root, {}, client);
  const snapshot = first.snapshot();
  first.close();
  await zk.set(`${root}/b`, 'new');

  const cache = client.cache(root);
  t.after(() => cache.close());
  const events = cache.events({ timeout: PATIENCE });
  cache.startFrom(snapshot);
  assert.ok(['1', 'new'].includes(String(cache.getData(`${root}/a`).data)));
  const heard = (await eventsUntil(events, 'IN_STEP')).filter((event) => event.node !== null);
  assert.deepEqual(heard.map(({ type }) => type).sort(), [...Array(4).fill('NODE_ADDED'), 'NODE_UPDATED']);
  assert.equal(String(heard.at(-1).oldNode.data), '2');
  assert.equal(String(cache.getData(`${root}/b`).data), 'new');

  const other = client.cache(`${root}/a`);
  t.after(() => other.close());
  assert.throws(() => other.startFrom(snapshot), { name: 'InvalidArgumentError', message: new RegExp(`${root}/a`) });
  assert.throws(() => other.startFrom({}), { name: 'TypeError', message: 'snapshot: expected a Snapshot, not object' });
});

test('what is wrong with a setting is said with its key', async (t) => {
  const client = clientOf(t);
  const wrong = [
    [() => new Client(HOSTS, { 'session.timeouts.ms': 1 }), 'session.timeouts.ms'],
    [() => new Client(HOSTS, { 'session.timeout.ms': -1 }), 'session.timeout.ms'],
    [() => new Client(HOSTS, { 'session.timeout.ms': NaN }), 'session.timeout.ms'],
    [() => new Client(HOSTS, { 'session.timeout.ms': 'a\0b' }), 'session.timeout.ms'],
    [() => new Client(HOSTS, { tls: true }), 'tls.ca.file'],
    [() => client.cache('/a', { 'root.create': 'maybe' }), 'root.create'],
    [() => client.cache('/a', { '__proto__.x': 1 }), '__proto__.x'],
  ];
  for (const [use, key] of wrong) {
    assert.throws(use, (error) => {
      assert.ok(error instanceof treecache.InvalidArgumentError, String(error));
      assert.ok(error.message.includes(key), error.message);
      return true;
    });
  }
  assert.throws(() => new Client('no server'), { name: 'InvalidArgumentError', message: /no server/ });
  assert.throws(() => new Client(7), { name: 'TypeError', message: 'hosts: expected a string, not number' });
  assert.throws(() => new Client(HOSTS, null), { name: 'TypeError', message: /^config: / });
  assert.throws(() => new Client(HOSTS, { auth: { digest: 'ada' } }), { name: 'TypeError', message: /^auth: expected/ });
  assert.throws(() => new Client(HOSTS, { 'tls.ca.file': undefined }), { name: 'TypeError', message: /^tls\.ca\.file: / });
  assert.throws(() => client.cache('a'), { name: 'InvalidArgumentError', message: /must start with '\/'/ });
  assert.throws(() => client.cache('/a', { 'listen.under': undefined }), TypeError);
  const cache = client.cache('/a');
  for (const timeout of [-1, NaN, '5', null]) {
    await assert.rejects(cache.waitInitialized({ timeout }), {
      name: 'InvalidArgumentError',
      message: `a timeout is a number of ms from 0 on, not ${timeout}`,
    });
  }
  await assert.rejects(cache.sync({ signal: 5 }), { name: 'TypeError', message: /signal: expected an AbortSignal/ });
  await assert.rejects(cache.waitInitialized({ timeoutMs: 5 }), { name: 'TypeError', message: /no option timeoutMs/ });
  await assert.rejects(cache.waitInitialized(5000), { name: 'TypeError', message: /expected an object of options/ });
});

test('a password that cannot be used is not shown', () => {
  assert.throws(() => new Client(HOSTS, { 'sasl.password': 'hunter\0two' }), (error) => !error.message.includes('hunter'));
  assert.throws(() => new Client(HOSTS, { auth: ['digest:ada:hunter\ud800'] }), (error) => !error.message.includes('hunter'));
});

test('a list sets a key several times', async (t) => {
  const root = await zk.root(t);
  await zk.createSecret(`${root}/c`, 'seen');
  const client = clientOf(t, { auth: ['digest:nobody:nothing', 'digest:ada:secret'] });
  const cache = await cacheOf(t, root, {}, client);
  assert.equal(String(cache.getData(`${root}/c`).data), 'seen');
});

test('nothing is made of a pointer by who is none of this package', () => {
  for (const kind of [TreeCache, Snapshot, treecache.EventStream]) {
    assert.throws(() => new kind(1n), { name: 'TypeError', message: `a ${kind.name} is not made with new` });
    assert.throws(() => new kind(), TypeError);
  }
});
