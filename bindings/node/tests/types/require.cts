// As import.mts, from CommonJS.
import treecache = require('treecache');

export function names(file: URL): string[] {
  const cache: treecache.TreeCache = treecache.TreeCache.attach(file, { 'close.keep': true });
  try {
    return [...cache.snapshot()].map(([path, node]) => `${path} ${node.stat.version}`);
  } finally {
    cache.close();
  }
}
