"""Feature flags that live in ZooKeeper and change while the program runs.

    feature_flags.py HOSTS [ROOT]

Each child of ROOT (/flags unless given) is a flag, and its data says for whom it is on: "on" for all, "off" for
nobody, "25%" for a quarter of the users. The program answers on a TCP port: send it a line with a user's name, and it
replies with the flags that are on for that user. It does so from memory, also while ZooKeeper is away.

What was changed in one transaction takes effect at once: nobody is ever told a mixture of old and new flags.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Mapping

from treecache import Client, TreeCache, TreeCacheError, TreeEvent


class Flags:
    """Which share of the users, in percent, each flag is on for. Replaced as a whole, never changed in place."""

    def __init__(self) -> None:
        self._shares: Mapping[str, int] = {}
        self.loaded = asyncio.Event()

    def replace(self, shares: Mapping[str, int]) -> None:
        self._shares = shares
        print("flags:", *(f"{name}={share}%" for name, share in sorted(shares.items())), flush=True)

    def on_for(self, user: str) -> list[str]:
        """The flags that are on for a user: always the same ones, as long as nobody changes their shares."""
        return [
            name for name, share in sorted(self._shares.items()) if zlib.crc32(f"{name}/{user}".encode()) % 100 < share
        ]


def parse_share(data: bytes) -> int:
    """The share that a flag's data stands for. What cannot be understood is off."""
    text = data.decode(errors="replace").strip().lower()
    words = {"on": 100, "off": 0}
    return words.get(text, int(text[:-1]) if text.endswith("%") and text[:-1].isdecimal() else 0)


async def follow(cache: TreeCache, flags: Flags) -> None:
    """Keeps the flags as they are in ZooKeeper. Ends when the cache is closed."""
    shares: dict[str, int] = {}
    with cache.events(faults=True) as stream:
        async for told in stream:
            if isinstance(told, TreeCacheError):
                print("fault:", told, file=sys.stderr)
                continue
            node = told.event_data
            if node is not None and node.path != cache.path:
                name = node.path[len(cache.path) :].lstrip("/")
                if told.event_type == TreeEvent.NODE_REMOVED:
                    del shares[name]
                else:
                    shares[name] = parse_share(node.data)
            if told.event_type == TreeEvent.IN_STEP and cache.path not in cache.snapshot():
                print(f"in step; {cache.path} does not exist", flush=True)
            # The events of one version are the whole difference to the one before: only at their end do the shares
            # stand for a state that ZooKeeper was in. While the first load grows, they stand for a part of it.
            if told.event_type == TreeEvent.INITIALIZED:
                flags.loaded.set()
            if flags.loaded.is_set() and (told.last_of_version or told.event_type == TreeEvent.INITIALIZED):
                flags.replace(dict(shares))


async def main(hosts: str, root: str = "/flags") -> None:
    flags = Flags()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = (await reader.readline()).decode(errors="replace").strip()
        writer.write((" ".join(flags.on_for(user)) + "\n").encode())
        writer.close()

    # Who reads flags does not make the place where they are set.
    with Client(hosts) as client, client.cache(root, {"root.create": False}) as cache:
        following = asyncio.create_task(follow(cache, flags))
        loaded = asyncio.create_task(flags.loaded.wait())
        await asyncio.wait([following, loaded], return_when=asyncio.FIRST_COMPLETED)
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        print("port:", server.sockets[0].getsockname()[1], flush=True)
        await following


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} HOSTS [ROOT]")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
