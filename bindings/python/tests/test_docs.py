"""The programs of docs/python.md and docs/from-kazoo.md, word for word, and the example."""

import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
from conftest import HOSTS, REPOSITORY, until

EXAMPLE = REPOSITORY / "bindings" / "python" / "examples" / "feature_flags.py"


def blocks(name):
    """The Python of a document, block by block."""
    text = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture
def services(zk):
    """The tree that the documents speak of."""
    zk.create("/services")
    zk.create("/services/db", b"10.0.0.9:5432")
    zk.create("/services/web", b"10.0.0.1:80")
    yield
    zk.delete("/services", recursive=True)


class Program:
    """A running program, and what it prints."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def end(self):
        """Ends it with Ctrl-C; what it printed besides."""
        self.process.send_signal(signal.SIGINT)
        output, errors = self.process.communicate(timeout=30)
        assert (self.process.returncode, errors) == (0, "")
        return output


def test_the_first_program(zk, services, tmp_path):
    program = tmp_path / "services.py"
    program.write_text(blocks("python.md")[0])
    with Program(program, HOSTS) as running:
        assert running.line() == "2 services; press Ctrl-C to end"
        until(lambda: running.line() == "INITIALIZED ")
        zk.create("/services/new")
        until(lambda: running.line() == "NODE_ADDED /services/new")
        zk.delete("/services/new")
        assert running.line() == "NODE_REMOVED /services/new"
        assert running.end() == ""


def run(block, module):
    """Runs a block of a document, as if it followed those that were run in `module` before, against this server."""
    exec(compile(block.replace("localhost:2181", HOSTS), "document", "exec"), module)


def test_the_rest_of_the_guide(zk, services, capsys):
    module = {"__name__": "document"}
    moved = threading.Event()

    def move():
        while not moved.wait(0.1):
            zk.set("/services/web", b"10.0.0.2:80")

    mover = threading.Thread(target=move, daemon=True)
    for block in blocks("python.md")[1:]:
        if "asyncio.run" in block:
            mover.start()
        run(block, module)
    moved.set()
    mover.join()
    module["cache"].close()
    module["client"].close()

    output = capsys.readouterr().out
    expected = [
        "/services/web b'10.0.0.1:80' 0",
        "None",
        "['db', 'web']",
        "db b'10.0.0.9:5432'",
        "web b'10.0.0.1:80'",
        "3 True",
        "b'10.0.0.1:80'",
        "['db', 'web']",
        "b'10.0.0.2:80'",
    ]
    assert [line for line in output.splitlines() if line in expected] == expected
    assert re.search("/elsewhere: .* -3 /elsewhere\n", output, re.DOTALL)  # listeners may be printing meanwhile


def test_coming_from_kazoo(zk, services, capsys):
    module = {"__name__": "document"}
    for block in blocks("from-kazoo.md"):
        run(block, module)
    output = capsys.readouterr().out
    assert "frozenset(" in output  # the listener may be printing meanwhile
    assert output.endswith("db b'10.0.0.9:5432'\nweb b'10.0.0.1:80'\n")
    assert "fault:" not in output


def flags_of(user, port):
    """What the example replies."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{user}\n".encode())
        return connection.makefile().read().split()


def test_the_example_says_that_there_is_no_root_and_makes_none(zk, root):
    with Program(EXAMPLE, HOSTS, f"{root}/flags") as running:
        lines = [running.line() for _ in range(3)]
        assert f"in step; {root}/flags does not exist" in lines, lines
        assert "flags:" in lines, lines
        assert running.end() == ""
    assert zk.exists(f"{root}/flags") is None


def test_the_example(zk, root):
    flags = f"{root}/flags"
    zk.create(flags)
    zk.create(f"{flags}/dark", b"on")
    zk.create(f"{flags}/beta", b"25%")
    with Program(EXAMPLE, HOSTS, flags) as running:
        assert running.line() == "flags: beta=25% dark=100%"
        word, port = running.line().split()
        assert word == "port:"
        port = int(port)
        beta = [user for user in range(200) if flags_of(user, port) == ["beta", "dark"]]
        assert 30 < len(beta) < 70  # the same ones in every run

        swap = zk.transaction()
        swap.set_data(f"{flags}/dark", b"off")
        swap.create(f"{flags}/light", b"on")
        swap.delete(f"{flags}/beta")
        swap.commit()
        assert running.line() == "flags: dark=0% light=100%"
        assert flags_of(beta[0], port) == ["light"]

        zk.set(f"{flags}/light", b"perhaps")
        assert running.line() == "flags: dark=0% light=0%"
        assert flags_of(beta[0], port) == []
        assert running.end() == ""
