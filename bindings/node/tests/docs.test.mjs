// The programs of docs/node.md, docs/sharing.md and README.md of the package, word for word, and the example.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { HOSTS, Program, REPOSITORY, Writer, until } from './support.mjs';
import { Client } from 'treecache';

const zk = new Writer();
test.after(() => zk.end());

// The blocks of JavaScript of a document.
function blocks(name) {
  const found = [...readFileSync(`${REPOSITORY}/${name}`, 'utf8').matchAll(/^```js\n([^]*?)^```$/gm)].map(([, text]) => text);
  assert.notEqual(found.length, 0);
  return found;
}

// The tree that the documents speak of, below a root of the test's own that is the root for the programs; its hosts.
async function services(t) {
  const root = await zk.root(t);
  await zk.create(`${root}/services`);
  await zk.create(`${root}/services/db`, '10.0.0.9:5432');
  await zk.create(`${root}/services/web`, '10.0.0.1:80');
  return { root, hosts: `${HOSTS}${root}` };
}

test('the first program', async (t) => {
  const { root, hosts } = await services(t);
  const program = Program.of(t, blocks('docs/node.md')[0], [hosts]);
  assert.equal(await program.line(), '2 services; press Ctrl-C to end');
  await program.shows('INITIALIZED ');
  await zk.create(`${root}/services/new`);
  await program.shows('NODE_ADDED /services/new');
  await zk.delete(`${root}/services/new`);
  assert.equal(await program.line(), 'NODE_REMOVED /services/new');
  program.process.kill('SIGINT');
  const { signal, rest, errors } = await program.ends();
  assert.deepEqual([signal, rest, errors], ['SIGINT', [], '']);
});

test('the program of the package', async (t) => {
  const { root, hosts } = await services(t);
  const program = Program.of(t, blocks('bindings/node/README.md')[0].replace('localhost:2181', hosts), []);
  assert.equal(await program.line(), "[ 'db', 'web' ]");
  await program.shows('INITIALIZED ');
  await zk.set(`${root}/services/web`, 'new');
  await program.shows('NODE_UPDATED /services/web');
});

test('the rest of the guide', async (t) => {
  const { hosts } = await services(t);
  const text = blocks('docs/node.md').slice(1).join('\n').replace('localhost:2181', hosts);
  const once = new Set();
  const lines = text.split('\n').filter((line) => !line.startsWith('import ') || (!once.has(line) && once.add(line)));
  const imports = lines.filter((line) => line.startsWith('import '));
  const body = lines.filter((line) => !line.startsWith('import ')).join('\n');
  const program = Program.of(t, `${imports.join('\n')}\n${body}\ncache.close();\nawait client.close();\n`, []);
  const { code, rest, errors } = await program.ends();
  assert.deepEqual([code, errors], [0, '']);
  const zxids = rest.filter((line) => / \d+n$/.test(line));
  assert.equal(zxids.length, 4); // three nodes and the snapshot
  const [state, ...others] = rest.filter((line) => !zxids.includes(line));
  assert.match(state, /^(IN_STEP|CATCHING_UP) 3$/); // the latter for a moment
  assert.deepEqual(others, [
    '/services/web 10.0.0.1:80 0',
    'undefined',
    "[ 'db', 'web' ]",
    'db 10.0.0.9:5432',
    'web 10.0.0.1:80',
    '3 true',
    '10.0.0.1:80',
    '/services/web',
    'true',
    'AbortError',
    'true TC_ERR_OUT_OF_TREE /elsewhere: it is not below the root /services',
  ]);
});

test('the program of docs/sharing.md', async (t) => {
  const { hosts } = await services(t);
  const folder = mkdtempSync('/dev/shm/treecache-');
  t.after(() => rmSync(folder, { recursive: true }));
  const client = new Client(hosts);
  const cache = client.cache('/services', { 'share.file': `${folder}/tree` });
  cache.start();
  const [program] = blocks('docs/sharing.md');
  const { code, rest, errors } = await Program.of(t, program, [`${folder}/tree`]).ends();
  assert.deepEqual([code, rest, errors], [0, ['10.0.0.1:80'], '']);
  cache.close();
  await client.close();
});

test('the example', async (t) => {
  const { root, hosts } = await services(t);
  const example = fileURLToPath(new URL('../examples/feature-flags.mjs', import.meta.url));
  const program = new Program(t, example, [hosts]);
  assert.equal(await program.line(), '/flags does not exist');
  assert.equal(await program.line(), 'flags:');
  const [, port] = /^port: (\d+)$/.exec(await program.line());
  const ask = async (user) => (await fetch(`http://127.0.0.1:${port}/${user}`)).text();
  assert.equal(await ask('ada'), '\n');
  await zk.create(`${root}/flags`);
  await zk.create(`${root}/flags/dark`, 'on');
  await zk.create(`${root}/flags/half`, '50%');
  await zk.create(`${root}/flags/odd`, 'perhaps');
  await program.shows('flags: dark=100% half=50% odd=0%');
  const answers = new Set();
  for (let user = 0; user < 50; user += 1) answers.add(await ask(`user${user}`));
  assert.deepEqual([...answers].sort(), ['dark\n', 'dark half\n']);
  await zk.set(`${root}/flags/dark`, 'off');
  await until(async () => (await ask('ada')) !== 'dark\n' && !(await ask('ada')).startsWith('dark '));
  program.process.kill('SIGINT');
  const { code, errors } = await program.ends();
  assert.deepEqual([code, errors], [0, '']);

  const usage = await new Program(t, example, []).ends();
  assert.deepEqual([usage.code, usage.errors], [2, 'usage: feature-flags.mjs HOSTS [ROOT]\n']);
});
