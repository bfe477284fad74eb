// Feature flags that live in ZooKeeper and change while the program runs.
//
//     feature-flags.mjs HOSTS [ROOT]
//
// Each child of ROOT (/flags unless given) is a flag, and its data says for whom it is on: "on" for all, "off" for nobody,
// "25%" for a quarter of the users. The program answers over HTTP: GET /ada tells the flags that are on for ada. It does so
// from memory, also while ZooKeeper is away. Ctrl-C ends it.
//
// What was changed in one transaction takes effect at once: nobody is ever told a mixture of old and new flags.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Client } from 'treecache';

/**
 * The share of the users, in percent, that a flag's data stands for. What cannot be understood is off.
 * @param {Buffer} data
 */
function parseShare(data) {
  const text = data.toString().trim().toLowerCase();
  if (text === 'on') return 100;
  return /^\d+%$/.test(text) ? Number.parseInt(text, 10) : 0;
}

/**
 * The flags that are on for a user: always the same ones, as long as nobody changes their shares.
 * @param {string} user
 * @param {Record<string, number>} shares
 */
function onFor(user, shares) {
  /** @param {string} name */
  const place = (name) => createHash('sha256').update(`${name}/${user}`).digest().readUInt32BE() % 100;
  return Object.keys(shares).filter((name) => place(name) < shares[name]);
}

const [hosts, root = '/flags'] = process.argv.slice(2);
if (hosts === undefined) {
  console.error('usage: feature-flags.mjs HOSTS [ROOT]');
  process.exit(2);
}

const client = new Client(hosts);
// Who reads flags does not make the place where they are set.
const cache = client.cache(root, { 'root.create': false });
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
cache.start();

/** @type {Record<string, number>} replaced as a whole, never changed in place */
let shares = {};
const server = createServer((request, response) => {
  response.end(`${onFor(decodeURIComponent(request.url?.slice(1) ?? ''), shares).join(' ')}\n`);
});

try {
  // The events of one version are the whole difference to the one before: only at their end is the tree one that ZooKeeper
  // had. A snapshot is of one version, too.
  for await (const event of cache.events({ faults: true, signal: interrupted.signal })) {
    if (event.type === 'FAULT') console.error('fault:', event.fault.message);
    if (!cache.isInitialized || !(event.lastOfVersion || event.type === 'INITIALIZED')) continue;
    const flags = cache.getChildrenData(root);
    if (flags === undefined) console.log(`${root} does not exist`);
    shares = Object.fromEntries([...(flags ?? [])].map(([name, node]) => [name, node === null ? 0 : parseShare(node.data)]));
    console.log('flags:', ...Object.entries(shares).map(([name, share]) => `${name}=${share}%`));
    if (!server.listening) {
      await new Promise((listening) => void server.listen(0, '127.0.0.1', () => listening(undefined)));
      const address = server.address();
      if (address !== null && typeof address === 'object') console.log('port:', address.port);
    }
  }
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
} finally {
  server.close();
  cache.close();
  await client.close();
}
