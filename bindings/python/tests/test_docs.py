"""The programs of README.md, docs/python.md, docs/from-kazoo.md, docs/deploying.md and docs/sharing.md, word for word, and the
example."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import pytest
from conftest import HOSTS, REPOSITORY, until
from prometheus_client import REGISTRY

from treecache import State, TreeCache

EXAMPLE = REPOSITORY / "bindings" / "python" / "examples" / "feature_flags.py"


def blocks(name):
    """The Python of a document, block by block, but for what is a file."""
    text = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    found = re.findall(r"(?<! -->\n)^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found
    return found


def put_files(name, folder, count):
    """Puts the files that a document shows into a folder; there are so many."""
    text = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    files = re.findall(r"^<!-- python (\S+) -->\n```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(files) == count
    for file, content in files:
        (folder / file).write_text(content)


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


def test_the_shortest_program(zk, services, tmp_path):
    program = tmp_path / "services.py"
    program.write_text(blocks("../README.md")[0])
    with Program("-u", program, HOSTS) as running:
        assert running.line() == "['db', 'web']"
        until(lambda: running.line() == "INITIALIZED ")
        zk.create("/services/new")
        until(lambda: running.line() == "NODE_ADDED /services/new")


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
    REGISTRY.unregister(module["collector"])
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


@pytest.fixture
def deployed(zk, tmp_path, monkeypatch):
    """The files of docs/deploying.md, in a folder of their own, and the tree that they read."""
    put_files("deploying.md", tmp_path, 4)
    monkeypatch.syspath_prepend(tmp_path)
    yield from configured(zk, tmp_path, monkeypatch)


@pytest.fixture
def sharing(zk, tmp_path, monkeypatch):
    """The same of docs/sharing.md."""
    put_files("sharing.md", tmp_path, 3)
    with tempfile.TemporaryDirectory(prefix="treecache-", dir="/dev/shm") as folder:
        monkeypatch.setenv("TREE", f"{folder}/tree")
        yield from configured(zk, tmp_path, monkeypatch)


def configured(zk, folder, monkeypatch):
    monkeypatch.setenv("ZOOKEEPER", HOSTS)
    zk.create("/config")
    zk.create("/config/greeting", b"good morning")
    yield folder
    zk.delete("/config", recursive=True)


@contextlib.contextmanager
def serving(folder, *command):
    """A server with workers, which ends at the end. Its output is in the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextlib.contextmanager
def gunicorn(folder, preload):
    """gunicorn with the files in a folder. Gives what says how a path is answered."""
    if not preload:
        configuration = folder / "gunicorn.conf.py"
        configuration.write_text(configuration.read_text().replace("preload_app = True\n", ""))
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return None

    with serving(folder, "gunicorn", "--bind", f"127.0.0.1:{port}", "app:app"):
        yield get


PRELOAD = pytest.mark.parametrize("preload", [True, False], ids=["preload", "without"])


@PRELOAD
def test_gunicorn(deployed, preload):
    with gunicorn(deployed, preload) as get:
        until(lambda: get("/livez") == (200, b"alive\n"))
        until(lambda: get("/readyz") == (200, b"ready\n"))

        def reads():
            status, body = get("/")
            assert status == 200 or (status, body) == (503, b"loading\n"), "of a worker that has not loaded yet"
            return status == 200 and json.loads(body) == {"greeting": "good morning"}

        until(lambda: all(reads() for _ in range(20)))  # each of the workers


@PRELOAD
def test_gunicorn_whose_master_keeps_the_tree(zk, sharing, preload):
    with gunicorn(sharing, preload) as get:
        until(lambda: all(get("/") == (200, b"good morning") for _ in range(20)))  # each of the workers
        zk.set("/config/greeting", b"good evening")
        until(lambda: all(get("/") == (200, b"good evening") for _ in range(20)))


def test_a_writer_of_its_own(sharing):
    file = os.environ["TREE"]
    with Program(sharing / "keep.py", HOSTS, "/config", file) as writer, TreeCache.attach(file) as cache:
        cache.wait_initialized(timeout=30)
        assert cache.get_data("/config/greeting").data == b"good morning"
        writer.process.terminate()
        assert writer.process.wait(timeout=30) == 0
        assert cache.state == State.SUSPENDED
        assert cache.get_data("/config/greeting").data == b"good morning"


def test_sharing(zk, services, tmp_path, capsys):
    def write(block):
        run(block.replace("/dev/shm/services", str(tmp_path / "services")), module)

    def move():
        while not moved.wait(0.1):
            zk.set("/services/db", b"10.0.0.2:5432")

    module = {"__name__": "document"}
    keep, attach, warm = blocks("sharing.md")
    moved = threading.Event()
    mover = threading.Thread(target=move, daemon=True)
    write(keep)
    mover.start()
    write(attach)
    moved.set()
    mover.join()
    for name in ("cache", "writer", "client"):
        module[name].close()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # What it starts with is what it has: this server says no word.
        write(warm.replace("localhost:2181", f"127.0.0.1:{silent.getsockname()[1]}"))
        for name in ("warm", "client"):
            module[name].close()
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], *lines[2:]] == ["b'10.0.0.1:80'", "/services/db b'10.0.0.2:5432'", "b'10.0.0.1:80'"]


def test_celery(deployed, monkeypatch):
    for folder in ("queue", "results"):
        (deployed / folder).mkdir()
    monkeypatch.setenv("BROKER", "filesystem://")
    monkeypatch.setenv("BACKEND", f"file://{deployed}/results")
    with (deployed / "tasks.py").open("a") as program:
        folders = {f"data_folder_{way}": f"{deployed}/queue" for way in ("in", "out")}
        program.write(f"\napp.conf.update(broker_transport_options={folders})\n")
    import tasks  # type: ignore[import-not-found]

    with serving(deployed, "celery", "--app", "tasks", "worker", "--pool", "prefork", "--concurrency", "2"):
        assert tasks.greet.delay("Ada").get(timeout=60) == "good morning, Ada"


def test_prometheus(deployed, root, cache):
    import metrics  # type: ignore[import-not-found]

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server, thread = metrics.serve(cache, port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert f'treecache_nodes{{root="{root}"}} 4.0\n' in answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
