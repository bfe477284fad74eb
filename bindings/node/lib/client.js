'use strict';
// One session with a ZooKeeper ensemble.

const { TreeCache } = require('./cache');
const { make, withSettings } = require('./config');
const { OURS, Owner, freeing, text } = require('./handle');
const { lib } = require('./library');

const free = freeing(lib.tc_client_free);

class Client extends Owner {
  constructor(hosts, config = {}) {
    text(hosts, 'hosts');
    const made = withSettings(config, (settings) => make(lib.tc_client_new_or_error, hosts, settings));
    super(OURS, made, free);
  }

  cache(path, config = {}) {
    text(path, 'path');
    const made = withSettings(config, (settings) => make(lib.tc_new_or_error, this._pointer, path, settings));
    return new TreeCache(OURS, made, { name: path, root: path, client: this, config });
  }

  async close() {
    await this._letGo()?.close();
  }
}

module.exports = { Client };
