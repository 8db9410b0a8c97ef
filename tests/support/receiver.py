"""A receiver of webhooks: a real HTTP server in a thread, that answers as it is told, badly if need be."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """What somebody sent.

    Attributes:
        line: The request's first line.
        headers: In lower case.
        body: As it came.
    """

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


Answer = Callable[[socket.socket, threading.Event], None]


def says(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> Answer:
    """Answer with a status; `length` may lie about the body."""
    lines = [f"HTTP/1.1 {status} Said", *headers, f"Content-Length: {len(body) if length is None else length}", "", ""]
    return sends("\r\n".join(lines).encode() + body)


def sends(data: bytes) -> Answer:
    """Answer with these bytes."""

    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(data)

    return answer


def hangs(connection: socket.socket, over: threading.Event) -> None:
    """Answer nothing until the test is over."""
    over.wait()


def dribbles(data: bytes) -> Answer:
    """Answer with the same few bytes again and again, until the test is over or the other side is gone."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        while not over.wait(0.01):
            connection.sendall(data)

    return answer


class Receiver:
    """The server; `answers` are used one a request, the last for all that follow."""

    def __init__(self, *answers: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.answers = list(answers) or [says(204)]
        self.requests: list[Request] = []
        self._context = context
        self._over = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(30)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                request = _read(connection)
                if request is None:
                    return
                self.requests.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                answer(connection, self._over)


def _read(connection: socket.socket) -> Request | None:
    data = b""
    for chunk in iter(lambda: connection.recv(65_536), b""):
        data += chunk
        head, gap, body = data.partition(b"\r\n\r\n")
        if gap:
            line, *rows = head.decode("latin-1").split("\r\n")
            headers = dict(_pairs(rows))
            if len(body) >= int(headers.get("content-length", 0)):
                return Request(line, headers, body)
    return None


def _pairs(rows: list[str]) -> Iterator[tuple[str, str]]:
    for row in rows:
        name, _, value = row.partition(":")
        yield name.lower(), value.strip()
