"""A TCP proxy in front of a server, whose connections can be dropped."""

import select
import socket
import threading


class Proxy:
    """Forwards connections to the server, until it is told to drop them."""

    def __init__(self, server_port):
        self.server = ("127.0.0.1", server_port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_open = True
        self.pairs = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if not self.is_open:
                client.close()
                continue
            pair = (client, socket.create_connection(self.server))
            self.pairs.append(pair)
            threading.Thread(target=self.pump, args=pair, daemon=True).start()

    @staticmethod
    def pump(client, server):
        other = {client: server, server: client}
        try:
            while True:
                for side in select.select([client, server], [], [])[0]:
                    data = side.recv(65536)
                    if not data:
                        return
                    other[side].sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def drop(self):
        self.is_open = False
        for pair in self.pairs:
            for side in pair:
                try:
                    side.shutdown(socket.SHUT_RDWR)  # wakes the pump, which closes both
                except OSError:
                    pass  # closed already
        self.pairs.clear()

    def restore(self):
        self.is_open = True
