// What the tests share: a server, a root of their own on it, and kazoo, which knows nothing of treecache, to write.
//
// TREECACHE_TEST_HOSTS says where the server is, TREECACHE_TEST_HEADER where treecache.h is, TREECACHE_TEST_PYTHON which
// Python has kazoo; bindings/node/test sets them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createConnection, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';
import vm from 'node:vm';
import { Client } from 'treecache';

export const HOSTS = process.env.TREECACHE_TEST_HOSTS;
export const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
export const PATIENCE = 30_000; // ms; against hanging only

// The independent writer: `await zk.create('/path', 'data')` and so on. One answer after the other.
export class Writer {
  #process;
  #lines;

  constructor() {
    const program = fileURLToPath(new URL('writer.py', import.meta.url));
    this.#process = spawn(process.env.TREECACHE_TEST_PYTHON, [program, HOSTS], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async #ask(...question) {
    this.#process.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`kazoo has failed with ${question}`);
    return JSON.parse(value);
  }

  create = (path, data = '') => this.#ask('create', path, data);
  createSecret = (path, data = '') => this.#ask('create_secret', path, data);
  set = (path, data) => this.#ask('set', path, data);
  delete = (path) => this.#ask('delete', path, null);
  stat = async (path) => (await this.#ask('stat', path, null)).stat;

  // A root of the test's own: with the children a (data 1; with a child x) and b (data 2).
  async root(test) {
    const name = test.name.replace(/\W+/g, '-').slice(0, 60);
    const { path } = await this.#ask('create_sequence', `/${name}-`, 'root');
    await this.create(`${path}/a`, '1');
    await this.create(`${path}/a/x`);
    await this.create(`${path}/b`, '2');
    return path;
  }

  async end() {
    this.#process.stdin.end();
    await once(this.#process, 'exit');
  }
}

// Waits until a condition holds.
export async function until(condition, what = condition) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleep(10);
  }
}

// A client that is closed when the test is over.
export function clientOf(test, config, hosts = HOSTS) {
  const client = new Client(hosts, config);
  test.after(() => client.close());
  return client;
}

// A cache that is loaded and in step, so that a stream that is opened now is not told of that any more; and closed when the
// test is over.
export async function cacheOf(test, root, config, client = clientOf(test)) {
  const cache = client.cache(root, config);
  test.after(() => cache.close());
  const events = cache.events({ timeout: PATIENCE });
  cache.start();
  await eventsUntil(events, 'IN_STEP');
  events.close();
  return cache;
}

// What comes out of a stream, up to an event of this type.
export async function eventsUntil(stream, type) {
  const events = [];
  for (;;) {
    const { done, value } = await stream.next();
    if (done) throw new Error(`the stream is over before ${type}: ${events.map((event) => event.type)}`);
    events.push(value);
    if (value.type === type) return events;
  }
}

// Events in short.
export const shown = (events) => events.map(({ type, path }) => (path === null ? type : `${type} ${path}`));

// A way to the server that can be cut.
export class Proxy {
  #server;
  #pairs = new Set();

  static async start() {
    const proxy = new Proxy();
    const [host, port] = HOSTS.split(':');
    proxy.#server = createServer((client) => {
      const server = createConnection(Number(port), host);
      const pair = [client, server];
      proxy.#pairs.add(pair);
      for (const [from, to] of [pair, [server, client]]) {
        from.on('error', () => {});
        from.on('close', () => {
          to.destroy();
          proxy.#pairs.delete(pair);
        });
        from.pipe(to);
      }
    });
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get hosts() {
    return `127.0.0.1:${this.#server.address().port}`;
  }

  drop() {
    for (const [client] of this.#pairs) client.destroy();
  }

  // The connections stand, and nothing comes through any more.
  pause() {
    for (const pair of this.#pairs) for (const socket of pair) socket.unpipe().pause();
  }

  async end() {
    this.drop();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

// A server that takes connections, and says no word: nothing that waits for it ends by itself.
export async function silentServer(test) {
  const server = createServer(() => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  test.after(() => server.close());
  return `127.0.0.1:${server.address().port}`;
}

// A program that runs, and what it prints. It is killed at the end of the test.
export class Program {
  #lines;
  #errors = '';

  constructor(test, file, args, { input = '', ...options } = {}) {
    this.process = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    this.#lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    this.process.stderr.on('data', (data) => (this.#errors += data));
    this.process.stdin.on('error', () => {});
    this.process.stdin.end(input);
    this.exit = once(this.process, 'exit');
    test.after(() => this.process.kill('SIGKILL'));
  }

  // One that is given as text.
  static of(test, text, args) {
    return new Program(test, '--input-type=module', ['-', ...args], { input: text, cwd: fileURLToPath(new URL('..', import.meta.url)) });
  }

  async line() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the program is over: ${this.#errors}`);
    return value;
  }

  // Reads on up to this line.
  async shows(wanted) {
    while ((await this.line()) !== wanted);
  }

  // Waits until it has ended; how, and what it printed besides.
  async ends() {
    const rest = [];
    for (let line = await this.#lines.next(); !line.done; line = await this.#lines.next()) rest.push(line.value);
    const [code, signal] = await this.exit;
    return { code, signal, rest, errors: this.#errors };
  }
}

// The names of the library's own threads in this process.
export function threads() {
  return readdirSync('/proc/self/task')
    .map((task) => {
      try {
        return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim();
      } catch {
        return ''; // it has ended meanwhile
      }
    })
    .filter((name) => name.startsWith('treecache-'));
}

export const descriptors = () => readdirSync('/proc/self/fd').length;

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');

// Collects what nothing refers to any more, and has that freed.
export async function collect() {
  for (let round = 0; round < 3; round += 1) {
    gc();
    await sleep(20);
  }
}
