"""A small HTTP endpoint for scrapers, in a thread of its own."""

from __future__ import annotations

import os
import socket
import sys
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Any

from prometheus_client import MetricsHandler

from jobfleet.errors import ConfigError
from jobfleet.metrics.exporter import Exporter


class MetricsServer:
    """Serves an exporter until closed. Every path answers with the metrics.

    A child that is forked later gives the port up at once, so that it never outlives its owner there.

    Args:
        exporter: What to serve.
        port: Where; 0 picks a free one, which `port` then tells.
        host: The address to bind, of either family; empty for all of IPv4, "::" for all.

    Raises:
        ConfigError: The port is taken, or cannot be bound.
    """

    def __init__(self, exporter: Exporter, port: int, host: str = "") -> None:
        try:
            self._http = _Endpoint(host or "0.0.0.0", port, exporter)  # noqa: S104 - scrapers come from elsewhere
        except (OSError, OverflowError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ConfigError(f"Cannot serve metrics on port {port}: {why} (--metrics-port?).") from error
        self.port: int = self._http.server_address[1]
        self._thread = Thread(target=self._http.serve_forever, name="jobfleet-metrics", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    def close(self) -> None:
        """Stop serving and free the port. Twice is harmless."""
        if self in _OPEN:
            _OPEN.discard(self)
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def forget(self) -> None:
        """Free the port in a forked child, where the thread does not exist."""
        self._http.socket.close()


class _Handler(MetricsHandler):
    timeout = 10  # seconds a silent client may hold a thread


class _Endpoint(ThreadingHTTPServer):
    def __init__(self, host: str, port: int, exporter: Exporter) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        super().__init__((host, port), _Handler.factory(exporter.registry))

    def server_bind(self) -> None:
        """Bind without asking DNS for this machine's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of scrapers that hang up."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


_OPEN: set[MetricsServer] = set()


def _forget_all() -> None:
    while _OPEN:
        _OPEN.pop().forget()


os.register_at_fork(after_in_child=_forget_all)
