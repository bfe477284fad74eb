"""What the tests share: a server, a root of their own on it, and kazoo, which knows nothing of treecache, to write.

TREECACHE_TEST_HOSTS says where the server is, TREECACHE_TEST_HEADER where treecache.h is; bindings/python/test sets
both.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from treecache import Client, TreeCache, TreeEvent

HOSTS = os.environ["TREECACHE_TEST_HOSTS"]
REPOSITORY = Path(__file__).parents[3]

sys.path.append(str(REPOSITORY / "scripts" / "lib"))  # for the proxy of shop.py


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def in_child(function: Callable[[], object]) -> int:
    """Runs a function in a fork of this process, and says with which code that ended: 0 when it returned."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def threads() -> list[str]:
    """The names of the library's own threads, and not of Python's."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/self/task/{task}/comm") as name:
            names.append(name.read().strip())
    return [name for name in names if name.startswith("treecache-")]


def descriptors() -> list[str]:
    """Those of this process."""
    return os.listdir("/proc/self/fd")


@pytest.fixture(scope="session")
def zk() -> Iterator[KazooClient]:
    """The independent writer."""
    zk = KazooClient(HOSTS)
    zk.start()
    yield zk
    zk.stop()
    zk.close()


@pytest.fixture
def root(zk: KazooClient, request: pytest.FixtureRequest) -> str:
    """A node that is this test's own: with the children a (data 1; with a child x) and b (data 2)."""
    name = re.sub(r"\W+", "-", request.node.originalname)
    root: str = zk.create(f"/{name}-", b"root", sequence=True)
    for path, data in {"/a": b"1", "/a/x": b"", "/b": b"2"}.items():
        zk.create(root + path, data)
    return root


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HOSTS) as client:
        yield client


@pytest.fixture
def cache(client: Client, root: str) -> Iterator[TreeCache]:
    """A cache of `root`, loaded and in step: a stream that is opened now is not told of that any more."""
    cache = client.cache(root)
    with cache.events(timeout=30) as stream, cache:  # opened before the start, so that it misses nothing
        until(lambda: next(stream).event_type == TreeEvent.IN_STEP)
        yield cache
