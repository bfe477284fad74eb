"""One session with a ZooKeeper ensemble."""

from __future__ import annotations

from typing import Optional

from . import _logging
from ._cache import TreeCache
from ._config import Config, Settings, make
from ._handle import Handle, Owner, interruptible, text
from ._library import lib


class Client(Owner):
    """One session with a ZooKeeper ensemble, shared by any number of caches. It connects by itself, in the background.

    hosts: "host:port,host:port/chroot"; the port is 2181 where none is given. config: settings by name, such as
    {"session.timeout.ms": 6000, "auth": ["digest:user:password"]}; those for caches are ignored.

    Raises InvalidArgumentError, with `key` when it is a setting. Any method may be called from any thread.
    """

    def __init__(self, hosts: str, config: Optional[Config] = None) -> None:
        _logging.begin()
        made = make(lib.tc_client_new_or_error, text(hosts), Settings(config).handle)
        self._open = Handle(made, lib.tc_client_free)
        self._hosts = hosts

    def __repr__(self) -> str:
        return f"<Client of {getattr(self, '_hosts', None)!r}{self._standing()}>"

    def cache(self, path: str, config: Optional[Config] = None) -> TreeCache:
        """A TreeCache of this client."""
        return TreeCache(self, path, config)

    def close(self) -> None:
        """Ends the session, waiting at most half a second for the server's word. Its caches are told CONNECTION_LOST,
        and stay readable.

        Any thread, and more than once; Ctrl-C ends the wait. Without it the session ends when neither the client nor
        any of its caches is referred to any more; at the end of the process the server waits for the session timeout.
        """
        # A handle is freed where the last reference goes: not on the main thread, where Ctrl-C would be lost in it.
        last = [self._open]
        self._open = None
        interruptible(last.clear)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
