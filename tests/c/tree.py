"""The server's side of the C tests: fills a tree that the programs know, and keeps a part of it moving.

    tree.py SERVER_PORT

Prints "ready" when the tree is there, then goes on until it is ended:

    /c/still      never changes; see FIXED
    /c/stillborn  a sibling whose name begins with the tree's
    /c/large      has 5,000 bytes of data
    /c/guarded    has a child that only "digest:c:secret" may read
    /c/moving     /beat is set and /blink is created or deleted ten times a second
"""

import contextlib
import itertools
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError
from kazoo.security import make_digest_acl

FIXED = {
    "/c": b"",
    "/c/still": b"root",
    "/c/still/a": b"1",
    "/c/still/a/x": b"",
    "/c/still/a/y": b"\x00\xff\n",
    "/c/still/b": b"2",
    "/c/still/größe": b"3",
    "/c/stillborn": b"",
    "/c/guarded": b"",
    "/c/guarded/open": b"everybody's",
    "/c/large": b"large" * 1000,
    "/c/moving": b"",
    "/c/moving/beat": b"0",
}


def create(zk, path, data, **more):
    """What is there was created by an attempt that got no answer; so in `delete`."""
    with contextlib.suppress(NodeExistsError):
        zk.retry(zk.create, path, data, **more)


def delete(zk, path):
    with contextlib.suppress(NoNodeError):
        zk.retry(zk.delete, path)


def main():
    again = {"max_tries": -1, "max_delay": 0.2}
    zk = KazooClient(f"127.0.0.1:{sys.argv[1]}", connection_retry=again, command_retry=again)
    zk.start(timeout=60)
    for path, data in FIXED.items():
        create(zk, path, data)
    create(zk, "/c/guarded/private", b"secret", acl=[make_digest_acl("c", "secret", all=True)])
    print("ready", flush=True)

    for beat in itertools.count(1):
        zk.retry(zk.set, "/c/moving/beat", str(beat).encode())
        if beat % 2:
            create(zk, "/c/moving/blink", b"on")
        else:
            delete(zk, "/c/moving/blink")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
