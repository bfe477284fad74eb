"""What tests/packages/wheels has an installed wheel do, on a machine that has nothing but Python: loads the tree of
tests/c/tree.py, reads it, and is told of changes.

    wheel.py HOSTS
"""

import platform
import sys
from importlib import metadata
from pathlib import Path

import treecache

with treecache.Client(sys.argv[1]) as client, client.cache("/c", {"root.create": False}) as cache:
    cache.wait_initialized(timeout=60)
    assert cache.get_data("/c/still/größe").data == b"3"
    assert len(cache.snapshot()) > 10
    for event in cache.events(under=["/c/moving"], events=["added", "updated", "removed"], initial=False):
        assert event.event_data.path.startswith("/c/moving/"), event
        break

assert Path(treecache.__file__).with_name("libtreecache.so.0").exists()
wheel = metadata.distribution("treecache").read_text("WHEEL") or ""
tags = [line.removeprefix("Tag: ") for line in wheel.splitlines() if line.startswith("Tag: ")]
print(f"Python {platform.python_version()} on {platform.machine()}, with libtreecache {treecache.library_version} of {tags[0]}: works")
