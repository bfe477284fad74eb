"""What the library logs, handed to `logging.getLogger("treecache")`.

The library writes its lines into a pipe, and a thread of Python's takes them out. A thread of the library's never calls
Python: it would have to wait for the interpreter's lock, and could come while the interpreter ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
from typing import Optional

from . import _abi
from ._library import lib

_log = logging.getLogger("treecache")

#: syslog's numbers, as the library uses them.
_LEVELS = {3: logging.ERROR, 4: logging.WARNING, 6: logging.INFO, 7: logging.DEBUG}

_LINE = re.compile(r"<(\d)>(.*)", re.DOTALL)

_lock = threading.Lock()
#: Where the library writes to, once there was a client.
_pipe: Optional[int] = None
#: The level that the library was told.
_level = 0


def begin() -> None:
    """Has the library log, at the level that the logger is enabled for now: WARNING, where nobody has said otherwise."""
    global _pipe, _level
    level = next((number for number, level in reversed(_LEVELS.items()) if _log.isEnabledFor(level)), 3)
    with _lock:
        if _pipe is None:
            try:
                reads, _pipe = os.pipe()
            except OSError:  # no descriptor left: the client will say so
                return
            os.set_blocking(_pipe, False)
            thread = threading.Thread(target=_forward, args=(reads,), name="treecache log", daemon=True)
            thread.start()
            atexit.register(_end, _pipe, thread)
            _level = 0
        # Fails where a Rust program has a logger of its own, which then has the lines.
        if level != _level and lib.tc_log_set_fd(level, _pipe) == _abi.TC_OK:
            _level = level


def _forward(reads: int) -> None:
    with open(reads, encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found:
                level, text = found.groups()
                _log.log(_LEVELS.get(int(level), logging.INFO), "%s", text)


def _end(pipe: int, thread: threading.Thread) -> None:
    """At the end of the process: what was logged so far is logged, if that is soon done."""
    if pipe == _pipe:
        lib.tc_log_set_fd(3, -1)
        os.close(pipe)
        thread.join(timeout=1)


def _after_fork() -> None:
    """The child has neither the thread nor a use for the parent's pipe. Its own first client begins anew."""
    global _lock, _pipe
    _lock = threading.Lock()
    if _pipe is not None:
        lib.tc_log_set_fd(3, -1)
        os.close(_pipe)
        _pipe = None


os.register_at_fork(after_in_child=_after_fork)
