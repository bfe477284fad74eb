'use strict';
// An exact in-memory copy of a ZooKeeper subtree: the Node.js binding of libtreecache. What all this means is in index.d.ts.

const { TreeCache } = require('./lib/cache');
const { Client } = require('./lib/client');
const { errors } = require('./lib/errors');
const { EventStream } = require('./lib/events');
const { lib } = require('./lib/library');
const { logTo } = require('./lib/log');
const { Snapshot } = require('./lib/snapshot');

// For `using` and `await using`, where there is such a thing.
if (Symbol.dispose !== undefined) {
  for (const { prototype } of [TreeCache, Snapshot, EventStream]) prototype[Symbol.dispose] = prototype.close;
  Client.prototype[Symbol.asyncDispose] = Client.prototype.close;
}

module.exports = { Client, TreeCache, Snapshot, EventStream, logTo, libraryVersion: lib.tc_version(), ...errors };
