"""A proxy between a worker and Redis that can go silent, or lead elsewhere, without closing a connection."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

from tests.support.server import RedisServer

CHUNK = 1 << 16


class Proxy:
    """Passes bytes on to a server that listens on TCP.

    Args:
        server: Where new connections lead.
        tls: Speak TLS with clients, with this certificate.

    Attributes:
        port: Where it listens.
        url: Where to connect.
    """

    def __init__(self, server: RedisServer, *, tls: ssl.SSLContext | None = None) -> None:
        self._port = server.port
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"redis{'s' * (tls is not None)}://127.0.0.1:{self.port}/0"
        self._silent = threading.Event()
        self._sockets: list[socket.socket] = []
        self._is_closed = False
        self._start(self._accept)

    def lead_to(self, server: RedisServer) -> None:
        """Let new connections lead to another server; those that there are stay as they are."""
        self._port = server.port

    def silence(self) -> None:
        """Pass nothing more on of what there is, as a firewall does that has forgotten a connection; new ones work."""
        silenced, self._silent = self._silent, threading.Event()
        silenced.set()

    def close(self) -> None:
        """End all connections."""
        self._is_closed = True
        for one in (self._listening, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _start(work: object, *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]  # any callable

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listening.accept()
                if self._tls is not None:
                    near = self._tls.wrap_socket(near, server_side=True)
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                continue
            self._sockets += [near, far]
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for one, other in ((near, far), (far, near)):
                self._start(self._pass_on, one, other, self._silent)

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):  # a peer that closes with unread bytes resets its connection: that is an end, too
            while data := one.recv(CHUNK):
                if silent.is_set():
                    return
                other.sendall(data)
        if not silent.is_set():
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)
