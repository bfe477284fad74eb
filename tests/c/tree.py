"""The server's side of the C tests: fills a tree that the programs know, and keeps a part of it moving.

    tree.py SERVER_PORT

Prints "ready" when the tree is there, then goes on until it is ended:

    /c/still      never changes; see FIXED
    /c/stillborn  a sibling whose name begins with the tree's
    /c/large      has 5,000 bytes of data
    /c/guarded    has a child that only "digest:c:secret" may read
    /c/moving     /beat is set and /blink is created or deleted ten times a second
"""

import itertools
import sys
import time

from kazoo.client import KazooClient
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


def main():
    zk = KazooClient(f"127.0.0.1:{sys.argv[1]}")
    zk.start()
    for path, data in FIXED.items():
        zk.create(path, data)
    zk.create("/c/guarded/private", b"secret", acl=[make_digest_acl("c", "secret", all=True)])
    print("ready", flush=True)

    for beat in itertools.count(1):
        zk.set("/c/moving/beat", str(beat).encode())
        if beat % 2:
            zk.create("/c/moving/blink", b"on")
        else:
            zk.delete("/c/moving/blink")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
