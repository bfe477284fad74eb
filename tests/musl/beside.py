"""Whether a process with musl and one with glibc read what the other one keeps in a file, exactly:

    beside.py HOSTS DUMP_GLIBC DUMP_MUSL

The two are builds of dump.c. What a reader has is compared with what kazoo reads of the server. And while two nodes are changed
together, again and again, no reader may see one of them changed and the other one not.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time

from kazoo.client import KazooClient

CHANGES = 300
PATIENCE = 30  # seconds, against hanging


class Dump:
    """A process with dump.c, which is asked for the tree."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tree(self):
        """The tree as it has it: by path, the Stat and the data."""
        print(file=self.process.stdin, flush=True)
        tree = {}
        for line in self.process.stdout:
            if line == ".\n":
                return tree
            path, stat, data = line.rstrip("\n").split("\t")
            tree[path] = (tuple(map(int, stat.split())), bytes.fromhex(data))
        sys.exit(f"{self.process.args} ended, with {self.process.wait()}")

    def close(self):
        self.process.stdin.close()
        if code := self.process.wait(PATIENCE):
            sys.exit(f"{self.process.args} ended with {code}")


def read(zk, path):
    """The tree as the server has it."""
    data, stat = zk.get(path)
    tree = {path: (tuple(stat), data)}
    for name in zk.get_children(path):
        tree |= read(zk, f"{path}/{name}")
    return tree


def same(reader, tree):
    """Waits until the reader has that tree."""
    end = time.monotonic() + PATIENCE
    while (has := reader.tree()) != tree:
        if time.monotonic() > end:
            differing = {path for path in has.keys() | tree.keys() if has.get(path) != tree.get(path)}
            sys.exit(f"{reader.process.args} does not have what the server has: {sorted(differing)[:5]}")
        time.sleep(0.05)


def fill(zk, root):
    zk.create(root, b"root")
    for one in range(20):
        transaction = zk.transaction()
        transaction.create(f"{root}/{one}", bytes(range(256)) * one)
        for another in range(20):
            transaction.create(f"{root}/{one}/größe {another}", b"" if another % 2 else b"\n\0" * another)
        transaction.commit()


def change(zk, root):
    zk.delete(f"{root}/0", recursive=True)
    zk.set(f"{root}/1", b"x" * 100_000)
    zk.create(f"{root}/1/new", b"", ephemeral=True)
    zk.set(f"{root}/2/größe 3", b"set")


def change_together(zk, root):
    for number in range(CHANGES):
        transaction = zk.transaction()
        for name in ("1", "19"):
            transaction.set_data(f"{root}/{name}", str(number).encode())
        transaction.commit()


def beside(zk, hosts, root, writes, reads):
    with tempfile.TemporaryDirectory(prefix="treecache-", dir="/dev/shm") as folder:
        fill(zk, root)
        with contextlib.closing(Dump(writes, f"{folder}/tree", hosts, root)):
            with contextlib.closing(Dump(reads, f"{folder}/tree")) as reader:
                same(reader, read(zk, root))
                change(zk, root)
                same(reader, read(zk, root))
                changes = threading.Thread(target=change_together, args=(zk, root))
                changes.start()
                seen = set()
                while changes.is_alive():
                    tree = reader.tree()
                    seen.add(tree[f"{root}/19"][1])
                    if len(seen) > 1 and tree[f"{root}/1"][1] != tree[f"{root}/19"][1]:
                        sys.exit(f"{reads} shows half of a transaction: {tree[f'{root}/1']}, {tree[f'{root}/19']}")
                changes.join()
                same(reader, read(zk, root))
    return len(seen)


def main():
    hosts, glibc, musl = sys.argv[1:]
    zk = KazooClient(hosts)
    zk.start()
    for number, (name, writes, reads) in enumerate([("musl reads glibc's", glibc, musl), ("glibc reads musl's", musl, glibc)]):
        versions = beside(zk, hosts, f"/beside-{number}", writes, reads)
        print(f"{name} file: exact, and {versions} of {CHANGES} changes were seen, each of them whole")
    zk.stop()


if __name__ == "__main__":
    main()
