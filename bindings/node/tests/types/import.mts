// Programs whose types are checked, by tsc: what is right is taken, and what is wrong is not.
import { Client, ConnectionError, Snapshot, TimeoutError, TreeCache, TreeCacheError, libraryVersion, logTo } from 'treecache';
import type { Config, EventStream, FaultEvent, Node, State, TreeEvent } from 'treecache';

export async function right(signal: AbortSignal): Promise<string> {
  const config: Config = { 'session.timeout.ms': 6000, auth: ['digest:ada:secret'], tls: false };
  await using client = new Client('localhost:2181', config);
  using cache: TreeCache = client.cache('/services', { 'root.create': false });
  cache.start();
  await cache.waitInitialized({ timeout: 10_000, signal });
  await cache.sync();
  const state: State = cache.state;
  const node: Node | undefined = cache.getData('/services/web');
  const children: string[] = cache.getChildren('/services') ?? [];
  for (const [name, child] of cache.getChildrenData('/services') ?? []) children.push(name, child?.data.toString() ?? '');
  using snapshot: Snapshot = cache.snapshot();
  for (const [path, { data, stat }] of snapshot) children.push(path, data.toString('utf8'), stat.czxid.toString(16));
  for (const [path] of snapshot.walk('/services/web')) children.push(path);
  for (const change of snapshot.diff(cache.snapshot())) {
    // Each of them is about a node.
    children.push(change.path, change.node.data.toString());
    if (change.type === 'NODE_UPDATED') children.push(change.oldNode.data.toString());
  }
  const stream: EventStream = cache.events({ under: ['/services/web'], depth: 1, events: 'added', initial: false });
  for await (const event of stream.unref()) {
    const known: TreeEvent = event;
    if (known.node !== null) children.push(known.path, known.node.path);
    else if (event.type === 'INITIALIZED') break;
  }
  for await (const event of cache.events({ faults: true })) {
    if (event.type === 'FAULT') {
      const fault: FaultEvent = event;
      throw fault.fault instanceof ConnectionError ? fault.fault : new TreeCacheError('why', { path: fault.path });
    }
  }
  logTo(2, 'debug');
  const age: number | null = cache.stats().contactAge;
  return [state, node?.data.length, age, cache.lastFault?.code, libraryVersion, ...children].join();
}

export function wrong(client: Client, cache: TreeCache): void {
  // @ts-expect-error: hosts are needed
  new Client();
  // @ts-expect-error: it comes from a client, or from attach
  new TreeCache();
  // @ts-expect-error: of a setting that may be undefined, it has to be said what is meant then
  new Client('localhost', { 'tls.ca.file': process.env['CA'] });
  // @ts-expect-error: a level that there is not
  logTo(2, 'all');
  // @ts-expect-error: ms, as a number
  void cache.waitInitialized({ timeout: '10s' });
  // @ts-expect-error: an option that there is not
  cache.events({ kinds: 'added' });
  // @ts-expect-error: it may not be there
  cache.getData('/services').data;
  // @ts-expect-error: faults are told only if they are asked for
  cache.events().next().then(({ value }) => value?.fault);
  // @ts-expect-error: what was read does not change
  cache.stats().nodes = 5;
  // @ts-expect-error: a snapshot, not a cache
  cache.startFrom(client);
  const error: TreeCacheError = new TimeoutError();
  // @ts-expect-error: nobody else says what an error is of
  error.status = -1;
}
