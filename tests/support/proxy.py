"""A proxy between clients and Redis that loses, delays or holds what passes, or leads elsewhere."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from tests.support.server import RedisServer

CHUNK = 1 << 16


@dataclass
class _Pair:
    """The two sides of one connection.

    Attributes:
        near: The client's side.
        far: The server's side.
        silent: Set once nothing more is passed on.
        last: What the client has sent last.
        ended: How many of its directions have ended.
    """

    near: socket.socket
    far: socket.socket
    silent: threading.Event
    last: bytes = b""
    ended: int = 0

    def close(self) -> None:
        for one in (self.near, self.far):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Passes bytes on to a server that listens on TCP.

    Args:
        server: Where new connections lead.
        tls: Speak TLS with clients, with this certificate.

    Attributes:
        port: Where it listens.
        url: Where to connect.
        swallowed: How many replies were swallowed.
    """

    def __init__(self, server: RedisServer, *, tls: ssl.SSLContext | None = None) -> None:
        self._port = server.port
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"redis{'s' * (tls is not None)}://127.0.0.1:{self.port}/0"
        self._silent = threading.Event()
        self._pairs: list[_Pair] = []
        self._open = {"up": threading.Event(), "down": threading.Event()}
        self._delay = threading.Event()
        self._seconds = 0.0
        self._to_swallow = 0
        self._what = b""
        self._lock = threading.Lock()
        self.swallowed = 0
        self._is_closed = False
        self.pass_all()
        self._start(self._accept)

    def lead_to(self, server: RedisServer) -> None:
        """Let new connections lead to another server; those that there are stay as they are."""
        self._port = server.port

    def silence(self) -> None:
        """Pass nothing more on of what there is, as a firewall does that has forgotten a connection; new ones work."""
        silenced, self._silent = self._silent, threading.Event()
        silenced.set()

    def cut(self) -> None:
        """Close all connections; new ones work."""
        for pair in list(self._pairs):
            pair.close()

    def hold(self, *directions: str) -> None:
        """Hold back what goes `up` to the server or `down` to the clients until `pass_all`, on new connections too."""
        for direction in directions:
            self._open[direction].clear()

    def delay(self, seconds: float) -> None:
        """Pass everything on late, until `pass_all`."""
        self._seconds = seconds
        self._delay.clear()

    def swallow(self, what: str, *, count: int = 1) -> None:
        """Close the next connections on which the reply to a request with this text comes, instead of passing it on."""
        with self._lock:
            self._to_swallow, self._what = count, what.encode()

    def pass_all(self) -> None:
        """Pass everything on at once again, also what was held back."""
        self._seconds = 0.0
        self._to_swallow = 0
        self._delay.set()
        for direction in self._open.values():
            direction.set()

    def close(self) -> None:
        """End all connections."""
        self._is_closed = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.pass_all()
        for pair in list(self._pairs):
            pair.close()
            pair.near.close()
            pair.far.close()

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
            except OSError:
                continue
            try:
                if self._tls is not None:
                    near = self._tls.wrap_socket(near, server_side=True)
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(near, far, self._silent)
            self._pairs.append(pair)
            self._start(self._pass_on, pair, "up")
            self._start(self._pass_on, pair, "down")

    def _pass_on(self, pair: _Pair, direction: str) -> None:
        one, other = (pair.near, pair.far) if direction == "up" else (pair.far, pair.near)
        with suppress(OSError):  # a peer that closes with unread bytes resets its connection: that is an end, too
            while data := one.recv(CHUNK):
                self._open[direction].wait()
                if self._seconds:
                    self._delay.wait(self._seconds)
                if pair.silent.is_set():
                    return
                if direction == "up":
                    pair.last = data
                elif self._is_swallowed(pair):
                    pair.close()
                    break
                other.sendall(data)
        if not pair.silent.is_set():
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)
            self._end(pair)

    def _end(self, pair: _Pair) -> None:
        """Close both sides when both directions have ended."""
        with self._lock:
            pair.ended += 1
            is_over = pair.ended == 2 and pair in self._pairs
            if is_over:
                self._pairs.remove(pair)
        if is_over:
            pair.near.close()
            pair.far.close()

    def _is_swallowed(self, pair: _Pair) -> bool:
        with self._lock:
            hit = self._to_swallow > 0 and self._what in pair.last
            self._to_swallow -= hit
            self.swallowed += hit
        return hit
