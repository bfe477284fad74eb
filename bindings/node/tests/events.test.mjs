// Streams of events: their order, what is in them, and how a wait for them ends.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as rest, setTimeout as sleep } from 'node:timers/promises';
import * as treecache from 'treecache';
import { PATIENCE, Proxy, Writer, cacheOf, clientOf, descriptors, eventsUntil, shown, until } from './support.mjs';

const zk = new Writer();
test.after(() => zk.end());

test('events come in order, with what was and what is', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const events = cache.events({ timeout: PATIENCE });
  assert.deepEqual(shown(await eventsUntil(events, 'INITIALIZED')), [
    `NODE_ADDED ${root}`,
    `NODE_ADDED ${root}/a`,
    `NODE_ADDED ${root}/a/x`,
    `NODE_ADDED ${root}/b`,
    'INITIALIZED',
  ]);

  await zk.create(`${root}/c`, 'c');
  const added = (await events.next()).value;
  assert.deepEqual(shown([added]), [`NODE_ADDED ${root}/c`]);
  assert.deepEqual([String(added.node.data), added.node.path, added.oldNode], ['c', `${root}/c`, null]);
  assert.equal(added.zxid, added.node.stat.czxid);
  assert.ok(added.lastOfVersion);

  await zk.set(`${root}/c`, 'd');
  const updated = (await events.next()).value;
  assert.equal(updated.type, 'NODE_UPDATED');
  assert.deepEqual([String(updated.node.data), String(updated.oldNode.data)], ['d', 'c']);
  assert.equal(updated.oldNode.stat.version, 0);
  assert.equal(updated.node.stat.version, 1);

  await zk.delete(`${root}/a`);
  assert.deepEqual(shown([(await events.next()).value, (await events.next()).value]), [
    `NODE_REMOVED ${root}/a/x`,
    `NODE_REMOVED ${root}/a`,
  ]);
  events.close();
});

test('replayed onto an empty map, the events give the tree; for who comes late, too', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  for (let number = 0; number < 20; number += 1) await zk.create(`${root}/b/${number}`, String(number));
  await zk.delete(`${root}/a`);
  await cache.sync({ timeout: PATIENCE });
  const tree = new Map();
  for await (const event of cache.events({ timeout: PATIENCE })) {
    if (event.type === 'NODE_REMOVED') tree.delete(event.path);
    else if (event.node !== null) tree.set(event.path, event.node);
    if (event.type === 'INITIALIZED') break;
  }
  assert.deepEqual(tree, new Map(cache.snapshot()));
  assert.equal(tree.size, 22);
});

test('a stream tells only what is wanted', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const under = cache.events({ under: [`${root}/a`], events: ['added', 'removed'], initial: false, timeout: PATIENCE });
  const depth = cache.events({ depth: 0, events: 'updated', timeout: PATIENCE });
  const after = cache.events({ afterInitialized: true, timeout: PATIENCE });
  await zk.set(`${root}/a`, 'new');
  await zk.create(`${root}/a/y`);
  await cache.sync({ timeout: PATIENCE }); // within a version, the root would be told first
  await zk.set(root, 'changed');
  assert.deepEqual(shown([(await under.next()).value]), [`NODE_ADDED ${root}/a/y`]);
  assert.deepEqual(shown([(await depth.next()).value]), [`NODE_UPDATED ${root}`]);
  const heard = await eventsUntil(after, 'NODE_ADDED');
  assert.deepEqual(shown(heard), ['INITIALIZED', `NODE_UPDATED ${root}/a`, `NODE_ADDED ${root}/a/y`]);
  for (const stream of [under, depth, after]) stream.close();

  assert.throws(() => cache.events({ under: '/elsewhere' }), { name: 'InvalidArgumentError', message: /\/elsewhere/ });
  assert.throws(() => cache.events({ events: ['sometimes'] }), { name: 'InvalidArgumentError', message: /sometimes/ });
  assert.throws(() => cache.events({ depth: -1 }), { name: 'InvalidArgumentError', message: /-1/ });
  assert.throws(() => cache.events({ kinds: 'added' }), { name: 'TypeError', message: /there is no option kinds/ });
  assert.throws(() => cache.events({ timeout: 'soon' }), { name: 'InvalidArgumentError', message: /soon/ });
  assert.throws(() => cache.events({ capacity: 0.5 }), { name: 'InvalidArgumentError', message: /events\.capacity/ });
});

test('several who wait for one stream get each event once, in turn', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const events = cache.events({ initial: false, timeout: PATIENCE });
  const waiting = [events.next(), events.next(), events.next()];
  for (const name of ['c', 'd', 'e']) await zk.create(`${root}/${name}`);
  const heard = await Promise.all(waiting);
  assert.deepEqual(heard.map(({ value }) => value.path), [`${root}/c`, `${root}/d`, `${root}/e`]);
  events.close();
});

test('a time that is over loses no event', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const events = cache.events({ initial: false, timeout: 30 });
  await assert.rejects(events.next(), { name: 'TimeoutError', path: root, message: `${root}: timed out after 0.03 s` });
  await assert.rejects(events.next(), treecache.TimeoutError);
  await zk.create(`${root}/c`);
  await cache.sync({ timeout: PATIENCE });
  assert.deepEqual(shown([(await events.next()).value]), [`NODE_ADDED ${root}/c`]);
  events.close();
});

test('what has come while the event loop was busy is in time', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const timeout = 200;
  const events = cache.events({ initial: false, timeout });
  const waiting = events.next();
  const created = zk.create(`${root}/c`);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const end = Date.now() + PATIENCE;
  while (!cache.getChildren(root).includes('c') && Date.now() < end) Atomics.wait(pause, 0, 0, 10);
  Atomics.wait(pause, 0, 0, 2 * timeout);
  assert.deepEqual(shown([(await waiting).value]), [`NODE_ADDED ${root}/c`]);
  await created;
  events.close();
});

test('a signal closes its stream', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const before = descriptors();
  const controller = new AbortController();
  const events = cache.events({ initial: false, signal: controller.signal });
  const waiting = events.next();
  assert.equal(descriptors(), before + 1);
  controller.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  assert.equal(descriptors(), before);
  await assert.rejects(events.next(), { name: 'AbortError' });
});

test('the end of a loop closes its stream', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const events = cache.events();
  for await (const event of events) {
    assert.equal(event.path, root);
    break;
  }
  assert.deepEqual(await events.next(), { done: true, value: undefined });
  assert.deepEqual(await events.return(), { done: true, value: undefined });
  events.close();
  events.unref().ref();
});

test('what closes the stream of a loop may be in the loop', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  let seen = 0;
  for await (const event of cache.events()) {
    seen += 1;
    if (event.type === 'INITIALIZED') cache.close();
  }
  assert.equal(seen, 5);
});

test('a tree of many events leaves time for all else', async (t) => {
  const root = await zk.root(t);
  for (let number = 0; number < 1000; number += 1) await zk.create(`${root}/b/${number}`);
  const cache = await cacheOf(t, root);
  let rounds = 0;
  let isOver = false;
  const others = (async () => {
    while (!isOver) {
      await rest();
      rounds += 1;
    }
  })();
  const events = cache.events();
  await eventsUntil(events, 'INITIALIZED');
  events.close();
  isOver = true;
  await others;
  assert.ok(rounds >= 9, `${rounds} rounds`);
});

test('a lost connection is told, as a fault too, and what changed meanwhile', async (t) => {
  const root = await zk.root(t);
  const proxy = await Proxy.start();
  t.after(() => proxy.end());
  const cache = await cacheOf(t, root, {}, clientOf(t, {}, proxy.hosts));
  const events = cache.events({ initial: false, faults: true, timeout: PATIENCE });
  proxy.drop();
  await eventsUntil(events, 'CONNECTION_SUSPENDED');
  await zk.set(`${root}/a`, 'meanwhile');
  const heard = await eventsUntil(events, 'IN_STEP');
  assert.ok(shown(heard).includes('CONNECTION_RECONNECTED'));
  await until(() => String(cache.getData(`${root}/a`).data) === 'meanwhile');
  assert.equal(cache.stats().connections, 2);
  events.close();
});

test('faults are in a stream that asks for them', async (t) => {
  const cache = clientOf(t, {}, '127.0.0.1:1').cache('/a');
  t.after(() => cache.close());
  const events = cache.events({ faults: true, timeout: PATIENCE });
  cache.start();
  const { value: event } = await events.next();
  assert.equal(event.type, 'FAULT');
  assert.deepEqual([event.path, event.node, event.zxid], [null, null, 0n]);
  assert.ok(event.fault instanceof treecache.ConnectionError);
  assert.match(event.fault.message, /Connection refused/);
  events.close();
});

test('a stream that nobody reads goes on by difference', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const events = cache.events({ initial: false, capacity: 2, timeout: PATIENCE });
  for (let number = 0; number < 10; number += 1) {
    await zk.set(`${root}/a`, String(number));
    await cache.sync({ timeout: PATIENCE }); // so that each is an event of its own
  }
  const { value } = await events.next();
  assert.deepEqual([value.type, String(value.node.data)], ['NODE_UPDATED', '9']);
  assert.equal(cache.stats().lags, 1);
  events.close();
});

test('a signal that is used for many waits keeps nothing of them', async (t) => {
  const root = await zk.root(t);
  const cache = await cacheOf(t, root);
  const controller = new AbortController();
  let listeners = 0;
  for (const [method, by] of [['addEventListener', 1], ['removeEventListener', -1]]) {
    const original = controller.signal[method];
    controller.signal[method] = (...parameters) => {
      listeners += by;
      original.apply(controller.signal, parameters);
    };
  }
  const events = cache.events({ initial: false, signal: controller.signal, timeout: 5 });
  for (let round = 0; round < 20; round += 1) await assert.rejects(events.next(), treecache.TimeoutError);
  for (let round = 0; round < 5; round += 1) await cache.sync({ signal: controller.signal });
  await sleep(0);
  assert.equal(listeners, 0);
  events.close();
});
