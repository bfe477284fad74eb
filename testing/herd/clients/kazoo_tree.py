"""kazoo's TreeCache: `kazoo_tree.py HOSTS ROOT`. Says "ready" once it is loaded; ends with its standard input."""

import logging
import sys

from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache, TreeEvent

logging.disable(logging.CRITICAL)
hosts, root = sys.argv[1:]
client = KazooClient(hosts=hosts, timeout=30.0)
client.start(timeout=30)
cache = TreeCache(client, root)


def told(event):
    if event.event_type == TreeEvent.INITIALIZED:
        print("ready", flush=True)


cache.listen(told)
cache.start()
sys.stdin.read()
client.stop()
