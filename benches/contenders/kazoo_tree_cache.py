"""kazoo's TreeCache, with the client's defaults. See README.md."""

import logging
import statistics
import sys
import threading
import time
import zlib

from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache, TreeEvent

LOOK = 0.001  # how often a wait looks, in seconds
READS_A_BLOCK = 2000

# What goes wrong in the background must not be missed; connections that end are meant to.
logging.basicConfig(level=logging.ERROR)
# It walks its tree by recursion: without this it cannot close one that is a thousand levels deep.
sys.setrecursionlimit(20000)


class Contender:
    def __init__(self):
        self.client = None
        self.caches = []
        self.root = None
        self.events = 0
        self.times = []
        self.expected, self.expected_data = [], None

    def connect(self, hosts):
        self.client = KazooClient(hosts=hosts)
        self.client.start(timeout=30)

    def load(self, root):
        complete = threading.Event()
        cache = TreeCache(self.client, root)
        cache.listen(lambda event: event.event_type == TreeEvent.INITIALIZED and complete.set())
        self.caches.append(cache)
        self.root = root
        cache.start()
        complete.wait()

    def digest(self):
        nodes = total = 0
        paths = [self.root]
        while paths:
            path = paths.pop()
            data = self.get(path)
            if data is None:
                continue
            nodes += 1
            total += zlib.crc32(data, zlib.crc32(path.encode() + b"\0"))
            paths.extend(f"{path}/{name}" for name in self.caches[-1].get_children(path))
        return f"nodes={nodes} sum={total % 2**64}"

    def get(self, path):
        found = self.caches[-1].get_data(path)
        # For a node that is not there it answers with one above it.
        return found.data if found is not None and found.path == path else None

    def listen(self):
        self.caches[-1].listen(self.on_event)
        self.events = 0

    def on_event(self, event):
        if event.event_data is None:
            return
        self.events += 1
        data = event.event_data.data
        if data.startswith(b"#"):
            self.times.append((data.decode(), time.monotonic_ns()))

    def heard(self, file):
        with open(file, "w") as output:
            output.writelines(f"{data} {at}\n" for data, at in self.times)
        events, self.events, self.times = self.events, 0, []
        return f"events={events} versions=0"

    def expect(self, file, data=None):
        self.expected = lines_of(file)
        self.expected_data = data.encode() if data is not None else None

    def until(self):
        while self.expected:
            if self.get(self.expected[-1]) == self.expected_data:
                self.expected.pop()
            else:
                time.sleep(LOOK)

    def measure(self, what, file, threads, ms):
        if what != "get":
            raise NotImplementedError
        paths, threads = lines_of(file), int(threads)
        took = []
        start = threading.Barrier(threads)

        def read(share):
            get, at = self.caches[-1].get_data, 0
            start.wait()
            end = time.monotonic() + int(ms) / 1000
            while time.monotonic() < end:
                began = time.perf_counter_ns()
                for _ in range(READS_A_BLOCK):
                    get(share[at])
                    at += 1
                    if at == len(share):
                        at = 0
                took.append((time.perf_counter_ns() - began) / READS_A_BLOCK)

        shares = [paths[i::threads] or paths for i in range(threads)]
        readers = [threading.Thread(target=read, args=[share]) for share in shares]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        return f"ns={statistics.median(took)}"

    def memory(self):
        pass

    def close(self):
        for cache in self.caches:
            cache.close()
        self.caches = []
        self.client.stop()
        self.client.close()


def lines_of(file):
    with open(file) as lines:
        return lines.read().splitlines()


def main():
    contender = Contender()
    print("ok", flush=True)
    for line in sys.stdin:
        request, *arguments = line.split()
        try:
            handle = getattr(contender, request, None)
            if handle is None:
                raise NotImplementedError
            answer = handle(*arguments)
            print(f"ok {answer}" if answer else "ok", flush=True)
        except NotImplementedError:
            print("unsupported", flush=True)
        except Exception as error:  # whatever it is, the harness is told
            print(f"error {type(error).__name__}: {error}", flush=True)


main()
