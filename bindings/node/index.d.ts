/**
 * An exact in-memory copy of a ZooKeeper subtree: the Node.js binding of libtreecache.
 *
 * All reads are answered from memory, at once. Only what returns a promise waits. Each thread of `worker_threads` makes
 * what it uses: nothing of this package can be sent to another thread.
 */

/** What a key is set to; an array sets the key several times. */
export type Value = string | number | bigint | boolean | readonly string[];

/** Settings by name, as docs/configuration.md lists them, such as `{ 'session.timeout.ms': 6000 }`. */
export type Config = Readonly<Record<string, Value>>;

/** How a cache stands to the server. A later library may have more of them, which are called `UNKNOWN_9` and so on. */
export type State =
  | 'LATENT'
  | 'LOADING'
  | 'IN_STEP'
  | 'CATCHING_UP'
  | 'SUSPENDED'
  | 'LOST'
  | 'CLOSED'
  | 'WARM'
  | 'HELD'
  | `UNKNOWN_${number}`;

/** ZooKeeper's Stat of a node. Times are in ms since the Unix epoch. */
export interface Stat {
  /** zxid of the creation: two nodes of one path are the same node only if this is equal. */
  readonly czxid: bigint;
  readonly mzxid: bigint;
  readonly ctime: number;
  readonly mtime: number;
  readonly version: number;
  readonly cversion: number;
  readonly aversion: number;
  /** The session an ephemeral node belongs to, or 0. */
  readonly ephemeralOwner: bigint;
  readonly dataLength: number;
  readonly numChildren: number;
  readonly pzxid: bigint;
}

/** A node as it was when it was read. The data is the caller's own copy, and empty where ZooKeeper has none. */
export interface Node {
  readonly path: string;
  readonly data: Buffer;
  readonly stat: Stat;
}

interface EventOf<Type extends string, Path, NodeOrNull, OldOrNull> {
  readonly type: Type;
  /** Of the node, relative to the client's chroot. */
  readonly path: Path;
  /** The node; of one that was removed, what was last known of it. */
  readonly node: NodeOrNull;
  /** The node before an update. */
  readonly oldNode: OldOrNull;
  /** Of the version that the event belongs to; 0 for events of the connection. */
  readonly zxid: bigint;
  /** The last event of a published version: what came since the one before may be applied as one. */
  readonly lastOfVersion: boolean;
}

/** Something that happened to the tree. */
export type NodeEvent =
  | EventOf<'NODE_ADDED' | 'NODE_REMOVED', string, Node, null>
  | EventOf<'NODE_UPDATED', string, Node, Node>;

/** Something that happened to the cache. */
export type ConnectionEvent = EventOf<
  | 'CONNECTION_SUSPENDED'
  | 'CONNECTION_RECONNECTED'
  | 'CONNECTION_LOST'
  | 'INITIALIZED'
  | 'IN_STEP'
  | `UNKNOWN_${number}`,
  null,
  null,
  null
>;

/** What went wrong in the background. It asks for nothing: whatever can go on goes on. */
export type FaultEvent = EventOf<'FAULT', string | null, null, null> & { readonly fault: TreeCacheError };

export type TreeEvent = NodeEvent | ConnectionEvent;

/** Figures of a cache. Ages are in ms; null where there was nothing yet. */
export interface Stats {
  readonly state: State;
  /** Since the last word from a server. */
  readonly contactAge: number | null;
  /** Since a cut was last known to be the server's tree. */
  readonly cutAge: number | null;
  /** Of the version that is read now, like `nodes` and `bytes`. */
  readonly zxid: bigint;
  readonly nodes: number;
  readonly bytes: number;
  /** Versions published, and how many of them were cuts. */
  readonly versions: number;
  readonly cuts: number;
  /** Handed out, to each stream. */
  readonly events: number;
  /** How often a stream fell behind and went on by difference. */
  readonly lags: number;
  /** Nodes asked for, and requests they were asked with. */
  readonly reads: number;
  readonly batches: number;
  /** Verifications of the tree after a connection was gone. */
  readonly resyncs: number;
  /** Of the client: how often it has connected. */
  readonly connections: number;
  readonly sessionId: bigint;
  /** `host:port` the client is connected to. */
  readonly server: string | null;
  /** By which watches the cache hears of changes: `recursive` or `one-shot`; null where that is not known yet. */
  readonly watch: string | null;
  /** Of the cache and its client so far; `lastFault` is the last of them. */
  readonly faults: number;
  readonly lastFaultAge: number | null;
  readonly lastFaultStatus: number;
}

/** Options of what waits. */
export interface WaitOptions {
  /** How long at most, in ms; no limit unless given. TimeoutError when it is over. */
  readonly timeout?: number;
  /** Ends the wait: the promise is rejected with the signal's reason, an `AbortError` unless another was given. */
  readonly signal?: AbortSignal;
}

/** Options of a stream. `timeout`: the longest silence that it puts up with. `signal`: ends the stream. */
export interface EventOptions extends WaitOptions {
  /** Whether what goes wrong in the background is in the stream too, as events of the type FAULT. */
  readonly faults?: boolean;
  /** Events that it may lag before it goes on by difference; the cache's `events.capacity` unless given. */
  readonly capacity?: number;
  /** The subtrees of which it tells: one absolute path or several. */
  readonly under?: string | readonly string[];
  /** How many levels below each of them; 0 for that node alone. */
  readonly depth?: number;
  /** Of which kinds: added, updated, removed, connection, initialized and in_step; one string, with commas, or an array. */
  readonly events?: string | readonly string[];
  /** Whether the tree so far comes first: true unless given. */
  readonly initial?: boolean;
  /** Whether nothing comes before INITIALIZED, and of the tree only what changes after it. */
  readonly afterInitialized?: boolean;
}

/**
 * One session with a ZooKeeper ensemble, shared by any number of caches. It connects by itself, in the background.
 *
 * It does not keep the process from ending; neither does a cache, unless somebody waits.
 */
export class Client {
  /**
   * @param hosts `host:port,host:port/chroot`; the port is 2181 where none is given
   * @param config settings by name; those for caches are ignored
   * @throws InvalidArgumentError, with `key` when it is about a setting
   */
  constructor(hosts: string, config?: Config);

  /**
   * Makes a cache of the subtree at a path. Nothing is read before its `start`.
   *
   * @param config settings by name; those for clients are ignored
   */
  cache(path: string, config?: Config): TreeCache;

  /**
   * Ends the session. Its caches are told CONNECTION_LOST, and stay readable. Resolves when the server knows, or half a
   * second has passed. A second call does nothing.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An in-memory copy of a subtree, and of every change of it. After `close`, all but `state` and `close` throw ClosedError. */
export class TreeCache {
  private constructor();

  /**
   * A cache of the tree that another cache keeps in a file (its setting `share.file`), in whatever process: without a
   * session. It is started. A writer that comes back is taken up by itself; without a file the state is LOADING until there
   * is one. `sync` throws UnsupportedError.
   *
   * @param config settings by name, of which `close.keep`, `events.capacity` and `events.bytes` count
   */
  static attach(file: string | URL, config?: Config): TreeCache;

  /** The root. NotReadyError when the cache is attached to a file that was not there yet. */
  readonly path: string;
  readonly state: State;
  /** Whether the first load is complete. */
  readonly isInitialized: boolean;
  /** What went wrong last, of the cache or of its client, whether it is over or not; null where nothing did. */
  readonly lastFault: TreeCacheError | null;

  /** Begins to load and follow the tree. Returns at once. StateError when it was started before. */
  start(): void;

  /**
   * Begins to follow the tree from what a snapshot of the same root holds, in place of `start`. Its tree can be read when
   * this returns, in state WARM until there is a connection. Then the tree is verified, and only what differs is told.
   */
  startFrom(snapshot: Snapshot): void;

  /**
   * Waits until the first load is complete.
   *
   * Rejects with TimeoutError, StateError when it is not started, ClosedError also when it is closed meanwhile, and with what
   * a fault said when the load cannot succeed. The message says what went wrong last: `timed out after 10 s; last:
   * zk1:2181: Connection refused`.
   */
  waitInitialized(options?: WaitOptions): Promise<void>;

  /**
   * Waits until reads see all that was committed anywhere before this call. It takes a thread of libuv's pool meanwhile.
   *
   * Rejects as `waitInitialized`, and with ConnectionError when there is no connection or it goes meanwhile.
   */
  sync(options?: WaitOptions): Promise<void>;

  stats(): Stats;

  /**
   * The node at a path; undefined when there is no such node. Throws OutOfTreeError, NotReadyError, NoPermissionError and
   * InvalidArgumentError.
   */
  getData(path: string): Node | undefined;

  /** The names of a node's children, in the order of their bytes; undefined when there is no such node. Throws as `getData`. */
  getChildren(path: string): string[] | undefined;

  /**
   * A node's children by name, all of one version, null for one that may not be read; undefined when there is no such node.
   * Throws as `getData`.
   */
  getChildrenData(path: string): Map<string, Node | null> | undefined;

  /** The tree as it is now, which two reads need not be. Takes constant time. */
  snapshot(): Snapshot;

  /** Opens a stream of its events: `for await (const event of cache.events())`. Before or after `start`. */
  events(options: EventOptions & { readonly faults: true }): EventStream<TreeEvent | FaultEvent>;
  events(options?: EventOptions): EventStream<TreeEvent>;

  /** Ends it: who waits is rejected with ClosedError, and streams end. Nodes and snapshots stay. Never waits. */
  close(): void;
  [Symbol.dispose](): void;
}

/**
 * The tree of a cache as it was at one moment; it never changes, and does not need the cache.
 *
 * Iteration and `size` speak of the nodes that the session may read, parents before their children, siblings in the order of
 * their bytes. Nodes are read when they are asked for, one at a time.
 */
export class Snapshot implements Iterable<[path: string, node: Node]> {
  private constructor();

  /** The root of its cache; null when that was attached to a file that was not there yet. */
  readonly root: string | null;
  /** The zxid that it is of; a lower bound when it is not a cut, 0 before the first version. */
  readonly zxid: bigint;
  /** Whether it equals the server's tree at `zxid`. */
  readonly isCut: boolean;
  readonly size: number;

  /** As the cache's. */
  getData(path: string): Node | undefined;
  /** As the cache's. */
  getChildren(path: string): string[] | undefined;
  /** As the cache's. */
  getChildrenData(path: string): Map<string, Node | null> | undefined;

  /** Whether there is such a node, and it may be read. */
  has(path: string): boolean;
  /** The nodes from a path down, with their paths; from the root, unless given. */
  walk(path?: string): Generator<[path: string, node: Node], void, undefined>;
  [Symbol.iterator](): Iterator<[path: string, node: Node]>;

  /** What has to happen to this snapshot to make it `newer`, in the order and the form of events. */
  diff(newer: Snapshot): NodeEvent[];

  /** Lets go of what it holds at once. Without it, that happens some time after nothing refers to it any more. */
  close(): void;
  [Symbol.dispose](): void;
}

/**
 * What a cache has to tell: the tree so far first, as NODE_ADDED (and INITIALIZED when the cache is), then what follows,
 * without gap or duplicate. A stream that lags too far goes on with the difference between what it gave last and the newest
 * version.
 *
 * It ends when the stream, the cache or the client is closed, when its signal is aborted, and with the end of a loop. While somebody waits for an event,
 * the process does not end, but for `unref`.
 */
export class EventStream<Event = TreeEvent> implements AsyncIterableIterator<Event> {
  private constructor();

  /** The next event. After a TimeoutError one can go on with the same stream. */
  next(): Promise<IteratorResult<Event, undefined>>;
  return(value?: undefined): Promise<IteratorResult<Event, undefined>>;
  [Symbol.asyncIterator](): this;

  /** Has the process go on while somebody waits for an event, as it is at first; or, with `unref`, not for that alone. */
  ref(): this;
  unref(): this;

  close(): void;
  [Symbol.dispose](): void;
}

/**
 * Has the library write its log lines to a descriptor, such as 2: `<4>text`, with syslog's number of the level. Off by
 * default, and with null. For the whole process, all its threads included.
 */
export function logTo(fd: number | null, level?: 'error' | 'warning' | 'info' | 'debug'): void;

/** The version of the shared library that was found. */
export const libraryVersion: string;

/** What the library refuses or tells. There is a class for each status. */
export class TreeCacheError extends Error {
  constructor(reason?: string | null, about?: { path?: string | null; key?: string | null; serverError?: number });
  /** The name of the status: `TC_ERR_TIMEOUT`. */
  readonly code: string;
  /** The number of the status. */
  readonly status: number;
  /** What is wrong; `message` begins with what it is about. */
  readonly reason: string;
  /** The node it is about. */
  readonly path: string | null;
  /** The configuration key it is about. */
  readonly key: string | null;
  /** ZooKeeper's own error code, or 0. */
  readonly serverError: number;
}

/** Malformed path, hosts, key, value or timeout. */
export class InvalidArgumentError extends TreeCacheError {}
/** There is no such node. */
export class NoNodeError extends TreeCacheError {}
/** The path is not below the root. */
export class OutOfTreeError extends TreeCacheError {}
/** The first load is not complete, and the node has not been seen yet. */
export class NotReadyError extends TreeCacheError {}
/** Started twice, or not started. */
export class StateError extends TreeCacheError {}
/** Closed, also while waiting. */
export class ClosedError extends TreeCacheError {}
/** The time to wait is over. */
export class TimeoutError extends TreeCacheError {}
/** Does not occur in Node.js. */
export class WouldDeadlockError extends TreeCacheError {}
/** The server cannot do what a cache needs; or the cache is attached to a file. */
export class UnsupportedError extends TreeCacheError {}
/** The server refused the credentials. */
export class AuthError extends TreeCacheError {}
/** A defect in the library. */
export class PanicError extends TreeCacheError {}
/** The session may not read the node, or one above it. */
export class NoPermissionError extends TreeCacheError {}
/** There is no connection. */
export class ConnectionError extends TreeCacheError {}
/** The server sent what ZooKeeper's protocol does not allow; or a shared file is damaged. */
export class ProtocolError extends TreeCacheError {}
/** TLS failed. */
export class TLSError extends TreeCacheError {}
/** The ensemble went back in time. */
export class ResetError extends TreeCacheError {}
/** The tree is beyond a limit; the cache has stopped. */
export class LimitError extends TreeCacheError {}
/** Does not occur in Node.js. */
export class InterruptedError extends TreeCacheError {}
/** Does not occur in Node.js. */
export class TooSmallError extends TreeCacheError {}
