"""A small HTTP endpoint for scrapers and probes, in threads of its own."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import MetricsHandler

from jobfleet.errors import ConfigError
from jobfleet.metrics.exporter import Exporter

log = logging.getLogger("jobfleet.metrics")
LOOPBACK = "127.0.0.1"
METRICS_PATHS = ("/", "/metrics")


class Verdict(NamedTuple):
    """What a probe found.

    Attributes:
        wrong: What is not as it should be, a sentence each; nothing when all is well.
        seen: What it looked at.
    """

    wrong: list[str]
    seen: Mapping[str, object]


Probe = Callable[[], Verdict]


class MetricsServer:
    """Serves an exporter at ``/metrics``, and probes, until closed.

    A probe answers 200, or 503 when something is wrong, and says what in JSON. A child that is forked later gives the
    port up at once, so that it never outlives its owner there.

    Args:
        exporter: What to serve.
        port: Where; 0 picks a free one, which `port` then tells.
        host: The address to bind, of either family; "0.0.0.0" for all of IPv4, "::" for all.
        refresh: Is called before each scrape, in whatever thread; to keep the cost of many down is its own affair.
        probes: What stands at which path beside the metrics.

    Raises:
        ConfigError: The port is taken, or cannot be bound.
    """

    def __init__(
        self,
        exporter: Exporter,
        port: int,
        host: str = LOOPBACK,
        *,
        refresh: Callable[[], None] = lambda: None,
        probes: Mapping[str, Probe] | None = None,
    ) -> None:
        try:
            self._http = _Endpoint(host, port, exporter, refresh, probes or {})
        except (OSError, OverflowError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            remedy = "--metrics-port?" if host == LOOPBACK else "--metrics-port, --metrics-host?"
            raise ConfigError(f"Cannot serve metrics on port {port}: {why} ({remedy}).") from error
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
    refresh: Callable[[], None]
    probes: Mapping[str, Probe]

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        """Answer with the metrics, a probe's finding, or where they are."""
        path = urlsplit(self.path).path
        if path in METRICS_PATHS:
            try:
                type(self).refresh()
            except Exception:
                log.exception("metrics.stale")  # what was counted is served nevertheless
            super().do_GET()
        elif path in self.probes:
            self._answer(*_probed(self.probes[path]))
        else:
            places = ", ".join(("/metrics", *self.probes))
            self._answer(HTTPStatus.NOT_FOUND, {"wrong": [f"Nothing is here; there is: {places}."]})

    def _answer(self, status: HTTPStatus, found: Mapping[str, object]) -> None:
        body = json.dumps(found, default=str).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _probed(probe: Probe) -> tuple[HTTPStatus, Mapping[str, object]]:
    try:
        wrong, seen = probe()
    except Exception as error:  # noqa: BLE001 - a probe that breaks is no sign of health
        wrong, seen = [f"The probe itself failed: {type(error).__name__}: {error}."], {}
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return status, {"status": "unwell" if wrong else "ok", "wrong": wrong, **seen}


class _Endpoint(ThreadingHTTPServer):
    def __init__(
        self, host: str, port: int, exporter: Exporter, refresh: Callable[[], None], probes: Mapping[str, Probe]
    ) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        given = {"registry": exporter.registry, "refresh": staticmethod(refresh), "probes": probes}
        super().__init__((host, port), type("Handler", (_Handler,), given))

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
