"""What the library logs, in `logging`."""

import logging
import subprocess
import sys
import threading

from conftest import HOSTS, until

from treecache import Client

BEGIN = """
import logging, os, sys, time
from treecache import Client

def faults(client, count):
    with client.cache("/a") as cache:
        while cache.stats().faults < count:
            time.sleep(0.01)
"""


def run(program, *arguments):
    """What a program says on standard error."""
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + program, *arguments], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()


def test_warnings_are_shown_where_nobody_has_set_up_logging():
    lines = run('with Client("127.0.0.1:1") as client: faults(client, 1)')
    assert lines and all(line.startswith("127.0.0.1:1: ") for line in lines), lines


def test_a_fault_is_one_record_however_many_caches_there_are(caplog):
    with caplog.at_level(logging.WARNING, "treecache"), Client("127.0.0.1:1") as client:
        caches = [client.cache(path) for path in ("/a", "/b", "/c")]
        for cache in caches:
            cache.start()
        until(lambda: caches[0].stats().faults >= 2)
        client.close()
        faults = caches[0].stats().faults
        records = lambda: [one for one in caplog.records if "127.0.0.1:1: " in one.getMessage()]  # noqa: E731
        until(lambda: len(records()) >= faults)
    assert len(records()) == faults
    assert {(one.name, one.levelno) for one in records()} == {("treecache", logging.WARNING)}


def test_debug_lines_come_on_demand(root):
    quiet = "logging.basicConfig(level=logging.WARNING)"
    loud = f"{quiet}; logging.getLogger('treecache').setLevel(logging.DEBUG)"
    use = """
with Client(sys.argv[1], {"connect.timeout.ms": 20_000}) as client, client.cache(sys.argv[2]) as cache:
    cache.wait_initialized(30)
"""
    assert run(quiet + use, HOSTS, root) == []
    assert any(line.startswith(("DEBUG:treecache:", "INFO:treecache:")) for line in run(loud + use, HOSTS, root))


def test_an_argument_that_is_refused_is_an_exception_and_no_record():
    program = """
from treecache import TreeCacheError
with Client("127.0.0.1:1") as client:
    cache = client.cache("/a")
    for bad in (lambda: client.cache("nonsense"), lambda: cache.get_data("nonsense"), lambda: cache.sync(1)):
        try:
            bad()
        except TreeCacheError:
            pass
"""
    assert [line for line in run(program) if "127.0.0.1:1: " not in line] == []


def test_a_root_that_is_created_is_one_line(root):
    program = """
with Client(sys.argv[1], {"connect.timeout.ms": 20_000}) as client, client.cache(sys.argv[2]) as cache:
    cache.wait_initialized(30)
"""
    lines = run(program, HOSTS, f"{root}/new/root")
    assert lines == [f"created the root {root}/new/root, which was missing, with the ACL world:anyone:cdrwa"]


def test_the_child_of_a_fork_logs_for_itself():
    program = """
def loud(name):
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{name} {os.getpid()} %(message)s"))
    logging.getLogger("treecache").handlers[:] = [handler]

loud("parent")
with Client("127.0.0.1:1") as client:
    faults(client, 1)
child = os.fork()
loud("parent" if child else "child")
with Client("127.0.0.1:1") as client:
    faults(client, 1)
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("child is", child, file=sys.stderr)
"""
    lines = run(program)
    child = next(line for line in lines if line.startswith("child is")).split()[-1]
    said = [line.split()[:2] for line in lines if not line.startswith("child is")]
    assert ["child", child] in said, lines
    assert all((name == "child") == (process == child) for name, process in said), lines


def test_clients_on_many_threads_begin_one_log():
    makers = [threading.Thread(target=lambda: Client("127.0.0.1:1").close()) for _ in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [thread.name for thread in threading.enumerate()].count("treecache log") == 1
