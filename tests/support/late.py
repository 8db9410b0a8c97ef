"""A network that holds requests back: whoever sent one gives up, and it arrives all the same, later.

Stands between clients and a server on loopback, one thread per direction of a connection. Plain TCP does so when the
way is down for longer than a client waits: what the client has sent lies in a buffer until the way is there again.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until


class LateNetwork:
    """Passes bytes on to a server, and holds requests back when it is told to.

    Args:
        port: The server's port of loopback.

    Attributes:
        url: Where clients connect.
        held: How many requests are held back.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        self.held = 0
        self._to_hold = 0
        self._what = b""
        self._answered = 0
        self._lock = threading.Lock()
        self._release = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, what: str, *, count: int = 1) -> None:
        """Hold the next requests back in which a text occurs, so many; each is what a client sends in one go."""
        with self._lock:
            self._to_hold, self._what = count, what.encode()
            self._release.clear()

    def deliver(self) -> None:
        """Let the requests arrive that were held back, and wait until the server has answered them."""
        with self._lock:
            self._to_hold, held = 0, self.held
        self._release.set()
        wait_until(lambda: self._answered >= held, timeout=30, why="the server has answered what came late")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                threading.Thread(target=self._forth, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(1 << 20):
                with self._lock:
                    is_held = self._to_hold > 0 and self._what in piece
                    self._to_hold -= is_held
                    self.held += is_held
                if is_held:
                    self._release.wait()
                    server.sendall(piece)
                    threading.Thread(target=self._hear, args=(server,), daemon=True).start()
                    return  # the client has gone, and what it sent has arrived
                server.sendall(piece)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(1 << 20):
                with self._lock:
                    self._answered += self._release.is_set() and self.held > self._answered
                with suppress(OSError):
                    client.sendall(piece)
        with suppress(OSError):
            client.close()

    def _hear(self, server: socket.socket) -> None:
        """Nothing more is sent on that connection."""
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let everything go."""
        self._release.set()
        for one in [self._listening, *self._sockets]:
            with suppress(OSError):
                one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
