"""A small HTTP endpoint for scrapers and probes. It runs in its own threads."""

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
from urllib.parse import parse_qsl, unquote, urlsplit

from prometheus_client import MetricsHandler

from jobfleet.errors import ConfigError
from jobfleet.metrics.exporter import Exporter

log: logging.Logger = logging.getLogger("jobfleet.metrics")
LOOPBACK = "127.0.0.1"
METRICS_PATHS = ("/", "/metrics")


class Verdict(NamedTuple):
    """The result of a probe.

    Attributes:
        wrong: The problems, one sentence each; empty if there is none.
        seen: The values that the probe checked.
    """

    wrong: list[str]
    seen: Mapping[str, object]


Probe = Callable[[], Verdict]
Lookup = Callable[[str, Mapping[str, str]], tuple[HTTPStatus, Mapping[str, object]]]
"""Answers for a name at the end of a path, and the parameters of the query."""


class MetricsServer:
    """Serves an exporter at ``/metrics``, and probes and lookups at their paths, until closed.

    A probe returns 200, or 503 if there is a problem, with the details in JSON. A child that is forked later closes
    the port at once, so that the port is free when this process ends.

    Args:
        exporter: The exporter to serve.
        port: The port; 0 picks a free one, see the attribute `port`.
        host: The address to bind, IPv4 or IPv6; default 127.0.0.1. "0.0.0.0" binds all of IPv4, "::" all addresses.
        refresh: Called before each scrape, in the thread of the request. It has to limit its own cost.
        probes: Probes by path.
        lookups: Lookups by the beginning of their path, which ends with a slash; a name follows it.

    Attributes:
        port: The bound port.

    Raises:
        ConfigError: The port is in use, or cannot be bound.
    """

    def __init__(
        self,
        exporter: Exporter,
        port: int,
        host: str = LOOPBACK,
        *,
        refresh: Callable[[], None] = lambda: None,
        probes: Mapping[str, Probe] | None = None,
        lookups: Mapping[str, Lookup] | None = None,
    ) -> None:
        try:
            self._http = _Endpoint(host, port, exporter, refresh, probes or {}, lookups or {})
        except (OSError, OverflowError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            remedy = "--metrics-port?" if host == LOOPBACK else "--metrics-port, --metrics-host?"
            raise ConfigError(f"Cannot serve metrics on port {port}: {why} ({remedy}).") from error
        self.port: int = self._http.server_address[1]
        self._thread = Thread(target=self._http.serve_forever, name="jobfleet-metrics", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    def close(self) -> None:
        """Stop serving and free the port. Safe to repeat."""
        if self in _OPEN:
            _OPEN.discard(self)
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def forget(self) -> None:
        """Free the port in a forked child, which has no copy of the server's thread."""
        self._http.socket.close()


class _Handler(MetricsHandler):
    timeout = 10  # seconds until a silent client is disconnected
    refresh: Callable[[], None]
    probes: Mapping[str, Probe]
    lookups: Mapping[str, Lookup]

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        """Return the metrics, the result of a probe or of a lookup, or 404 with the known paths."""
        path, query = urlsplit(self.path)[2:4]
        prefix, _, name = path.rpartition("/")
        if path in METRICS_PATHS:
            try:
                type(self).refresh()
            except Exception:
                log.exception("metrics.stale")  # the counts so far are still served
            super().do_GET()
        elif path in self.probes:
            self._answer(*_probed(self.probes[path]))
        elif name and f"{prefix}/" in self.lookups:
            self._answer(*_looked_up(self.lookups[f"{prefix}/"], unquote(name), query))
        else:
            places = ", ".join(("/metrics", *self.probes, *(f"{prefix}NAME" for prefix in self.lookups)))
            self._answer(HTTPStatus.NOT_FOUND, {"wrong": [f"No such path; use one of {places}."]})

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
    except Exception as error:  # noqa: BLE001 - a probe that raises does not show health
        wrong, seen = [f"The probe itself failed: {type(error).__name__}: {error}."], {}
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return status, {"status": "unwell" if wrong else "ok", "wrong": wrong, **seen}


def _looked_up(lookup: Lookup, name: str, query: str) -> tuple[HTTPStatus, Mapping[str, object]]:
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if len(given) < len(pairs):
        return HTTPStatus.BAD_REQUEST, {"wrong": ["A parameter is given twice; give each once."]}
    try:
        return lookup(name, given)
    except Exception:
        log.exception("metrics.lookup_failed")
        return HTTPStatus.INTERNAL_SERVER_ERROR, {"wrong": ["The lookup itself failed; the log has the traceback."]}


class _Endpoint(ThreadingHTTPServer):
    def __init__(
        self,
        host: str,
        port: int,
        exporter: Exporter,
        refresh: Callable[[], None],
        probes: Mapping[str, Probe],
        lookups: Mapping[str, Lookup],
    ) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        paths = {"probes": probes, "lookups": lookups}
        given = {"registry": exporter.registry, "refresh": staticmethod(refresh), **paths}
        super().__init__((host, port), type("Handler", (_Handler,), given))

    def server_bind(self) -> None:
        """Bind without a DNS lookup of this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not log scrapers that disconnect."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


_OPEN: set[MetricsServer] = set()


def _forget_all() -> None:
    while _OPEN:
        _OPEN.pop().forget()


os.register_at_fork(after_in_child=_forget_all)
