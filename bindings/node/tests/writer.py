"""A client that knows nothing of treecache, for the tests in JavaScript: kazoo, which does what each line of its input says.

A line is the JSON of [METHOD, PATH, DATA or null]; the answer to it is a line of JSON too: what there is to know of the node
behind it, or null.
"""

import json
import sys

from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

zk = KazooClient(sys.argv[1])
zk.start()


def stat(path):
    found = zk.exists(path)
    return None if found is None else dict(zip(found._fields, (str(field) for field in found)))


for line in sys.stdin:
    method, path, data = json.loads(line)
    if method == "create":
        zk.create(path, data.encode("latin-1"))
    elif method == "create_sequence":
        path = zk.create(path, data.encode("latin-1"), sequence=True)
    elif method == "create_secret":
        zk.create(path, data.encode("latin-1"), acl=[make_digest_acl("ada", "secret", all=True)])
    elif method == "set":
        zk.set(path, data.encode("latin-1"))
    elif method == "delete":
        zk.delete(path, recursive=True)
    print(json.dumps({"path": path, "stat": stat(path)}), flush=True)
