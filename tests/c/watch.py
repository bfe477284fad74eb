"""The user of examples/c/watch.c: looks at what it prints of text that others have chosen, and of a root that is missing.

    watch.py WATCH SERVER_PORT
"""

import subprocess
import sys
import tempfile

from kazoo.client import KazooClient

PATIENCE_S = 30  # nothing takes that long
WATCH, PORT = sys.argv[1:]
HOSTS = f"127.0.0.1:{PORT}"


def what_is_foreign_is_escaped_in_what_it_prints_and_dumps(zk):
    root = "/watched"
    for path, data in [("", b""), ("/a\u202etxt", b"\x1b[31m\"red\""), ("/gr\u00f6\u00dfe\\", b"")]:
        zk.create(root + path, data)
    with tempfile.NamedTemporaryFile() as dump:
        watch = subprocess.Popen([WATCH, "--dump", dump.name, HOSTS, root], stdout=subprocess.PIPE)
        lines = iter(watch.stdout.readline, b"in step: nothing is outstanding\n")
        added = sorted(line.decode() for line in lines if line.startswith(b"added"))
        watch.terminate()
        watch.communicate(timeout=PATIENCE_S)
        dumped = [line.split("\t")[0] for line in dump.read().decode().splitlines()]
    paths = [root, f"{root}/a\\u{{202e}}txt", f"{root}/gr\u00f6\u00dfe\\\\"]
    data = ["\"\"", r'"\x1b[31m\"red\""', "\"\""]
    assert added == [f"added    {path} {data}\n" for path, data in zip(paths, data)], added
    assert watch.returncode == 0 and dumped == paths, dumped


def a_missing_root_is_said_to_be_missing_and_is_not_made(zk):
    with subprocess.Popen([WATCH, HOSTS, "/missing"], stdout=subprocess.PIPE, text=True) as watch:
        said = [watch.stdout.readline() for _ in range(2)]
        watch.terminate()
    assert said == ["initialized: the whole tree is here\n", "in step; the root does not exist\n"], said
    assert zk.exists("/missing") is None, "watching has made the root"


def main():
    zk = KazooClient(HOSTS)
    zk.start()
    what_is_foreign_is_escaped_in_what_it_prints_and_dumps(zk)
    a_missing_root_is_said_to_be_missing_and_is_not_made(zk)
    zk.stop()


if __name__ == "__main__":
    main()
