"""An independent client for the Go tests: obeys commands on standard input, one in a line.

    zookeeper.py HOSTS

A command is JSON, such as {"op": "create", "path": "/a", "data": "text"}. The answer is a line: null, or why it failed.

    create   makes a node and its missing parents; if "private" is true, one that only "digest:go:password" may use
    set      sets a node's data
    delete   deletes a node with all below it
    replace  deletes a node without children and creates it again, in one transaction
    fill     makes "count" children of a node, named by number, each with its name for data
"""

import json
import sys

from kazoo.client import KazooClient
from kazoo.security import make_digest_acl


def create(zk, path, data, private=False):
    acl = [make_digest_acl("go", "password", all=True)] if private else None
    zk.create(path, data.encode(), acl=acl, makepath=True)


def commit(zk, operations):
    """Commits operations, such as ("delete", path), in transactions of a size that ZooKeeper takes."""
    for begin in range(0, len(operations), 500):
        transaction = zk.transaction()
        for name, *arguments in operations[begin : begin + 500]:
            getattr(transaction, name)(*arguments)
        for result in transaction.commit():
            if isinstance(result, Exception):
                raise result


def fill(zk, path, count):
    zk.ensure_path(path)
    commit(zk, [("create", f"{path}/{number:06}", str(number).encode()) for number in range(count)])


def delete(zk, path):
    below = []

    def visit(node):
        for child in zk.get_children(node):
            visit(f"{node}/{child}")
        below.append(("delete", node))

    visit(path)
    commit(zk, below)


def main():
    zk = KazooClient(sys.argv[1], auth_data=[("digest", "go:password")])
    zk.start()
    operations = {
        "create": lambda **arguments: create(zk, **arguments),
        "set": lambda path, data: zk.set(path, data.encode()),
        "replace": lambda path: commit(zk, [("delete", path), ("create", path)]),
        "delete": lambda path: delete(zk, path),
        "fill": lambda path, count: fill(zk, path, count),
    }
    for line in sys.stdin:
        command = json.loads(line)
        try:
            operations[command.pop("op")](**command)
            answer = None
        except Exception as error:  # pylint: disable=broad-except # the test says what it was
            answer = repr(error)
        print(json.dumps(answer), flush=True)
    zk.stop()


if __name__ == "__main__":
    main()
