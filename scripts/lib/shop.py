"""The ZooKeeper side of scripts/demo: a small shop with services and configuration, its changes, and a proxy.

    shop.py SERVER_PORT

Prints the port of a TCP proxy in front of the server, then obeys commands on standard input, one a line, and
answers each with "done":

    fill        creates the shop: configuration, and services with ephemeral instances
    change N    makes N changes, a few a second
    drop        drops every connection of the proxy, and refuses new ones until "restore"
    restore     lets connections through again
    finish      makes the last change, the node /shop/closed
    write FILE  writes the tree as the server has it, in the form of `watch --dump`

All of it goes through kazoo, so it shares no code with the library that it is compared with.
"""

import random
import sys
import time

from kazoo.client import KazooClient
from proxy import Proxy

SERVICES = ["cart", "checkout", "payment", "search"]
CONFIG = {
    "database/url": b"postgres://db.internal/shop",
    "database/pool": b"20",
    "features/new-checkout": b"off",
    "features/recommendations": b"on",
    "certificate": bytes(range(0, 256, 3)),
}


class Shop:
    def __init__(self, zk):
        self.zk = zk
        self.random = random.Random(2181)  # the same shop every time
        self.instances = []

    def fill(self):
        for path, value in CONFIG.items():
            self.zk.create(f"/shop/config/{path}", value, makepath=True)
        for service in SERVICES:
            self.zk.create(f"/shop/services/{service}", f'{{"port": {self.port()}}}'.encode(), makepath=True)
            for _ in range(2):
                self.start_instance(service)

    def change(self):
        """One change of the kind that services make: instances come and go, settings are changed."""
        what = self.random.choice(["start", "stop", "load", "load", "config", "order"])
        if what == "start":
            self.start_instance(self.random.choice(SERVICES))
        elif what == "stop" and len(self.instances) > 2:
            self.zk.delete(self.instances.pop(self.random.randrange(len(self.instances))))
        elif what == "config":
            self.zk.set("/shop/config/database/pool", str(self.random.randrange(10, 50)).encode())
        elif what == "order":
            self.zk.create("/shop/orders/1", b"3 apples", makepath=True)
            time.sleep(0.1)
            self.zk.delete("/shop/orders", recursive=True)
        else:
            self.zk.set(self.random.choice(self.instances), self.address())

    def finish(self):
        self.zk.create("/shop/closed", b"no more changes")

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            self.write_node("/shop", file)

    def write_node(self, path, file):
        data, stat = self.zk.get(path)
        file.write(f"{path}\t{stat.mzxid}\t{data.hex()}\n")
        for name in self.zk.get_children(path):
            self.write_node(f"{path}/{name}", file)

    def start_instance(self, service):
        path = f"/shop/services/{service}/instance-"
        self.instances.append(self.zk.create(path, self.address(), ephemeral=True, sequence=True))

    def address(self):
        return f"10.0.{self.random.randrange(256)}.{self.random.randrange(256)}:{self.port()}".encode()

    def port(self):
        return self.random.randrange(8000, 9000)


def main():
    server_port = int(sys.argv[1])
    proxy = Proxy(server_port)
    zk = KazooClient(f"127.0.0.1:{server_port}")
    zk.start()
    shop = Shop(zk)
    print(proxy.port, flush=True)
    for line in sys.stdin:
        command, *arguments = line.split(maxsplit=1)
        if command == "change":
            for _ in range(int(arguments[0])):
                shop.change()
                time.sleep(0.25)
        elif command == "write":
            shop.write(arguments[0].strip())
        else:
            {"fill": shop.fill, "finish": shop.finish, "drop": proxy.drop, "restore": proxy.restore}[command]()
        print("done", flush=True)
    zk.stop()


if __name__ == "__main__":
    main()
