"""Serve the dashboard with uvicorn: `jobfleet web`."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.fleet.sync import Fleet
from jobfleet.web.app import WebApp, root_path_of
from jobfleet.web.safety.access import AccessFile
from jobfleet.web.safety.identity import is_loopback

KEEP_ALIVE, DRAIN = 15, 3
HEADERS_MOST = 32 * 1024
HEADERS_WITHIN = 10.0
"""Seconds that the headers of a request may take to arrive; at most twice as long."""
CONNECTIONS_MOST = 1000
"""Connections at once; more are answered with 503."""


class _Protocol(H11Protocol):
    """A connection that is closed if a request does not arrive in time; uvicorn waits for the rest of it for ever."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to watch."""
        super().connection_made(transport)
        self._look(None)

    def _look(self, before: object) -> None:
        """Close the connection if it has waited for the same request since the last look."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        state = (self.cycle,) if is_waiting else None
        if state is not None and state == before:
            self.transport.close()
            return
        self._watch = self.loop.call_later(HEADERS_WITHIN, self._look, state)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """A server that ends the live updates before it waits for open requests, and that a signal ends without an error.

    Args:
        config: The settings of uvicorn.
        close_streams: Ends the live updates.
    """

    def __init__(self, config: uvicorn.Config, close_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._close_streams = close_streams

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and Ctrl-C. uvicorn would raise the signal again, which ends the process with an error."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self.handle_exit, signum, None)
        try:
            yield
        finally:
            for signum in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(signum)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End open requests, and stop."""
        self._close_streams()
        await super().shutdown(sockets)


def check_host(fleet: Fleet) -> None:
    """Refuse to listen on an address that other machines reach if nobody has to log in.

    Raises:
        ConfigError: There is neither a user, nor a token, nor a proxy.
    """
    config = fleet.config
    access = AccessFile(config.web_access).read()
    if is_loopback(config.web_host) or access.users or access.tokens or config.web_proxies:
        return
    raise ConfigError(
        f"Other machines reach {config.web_host}, and nobody would have to log in: run 'jobfleet web user add NAME' "
        "first, set web_proxies, or listen on 127.0.0.1."
    )


def login_line(config: JobConfig) -> str:
    """Who may use a dashboard, for the lines at its start.

    Args:
        config: The settings.

    Raises:
        ConfigError: The access file cannot be used.
    """
    path = config.web_access.absolute()
    if AccessFile(path).read().users or config.web_proxies:
        return f"Users and tokens: {path}."
    return (
        f"No login: {path} has no user, so everybody on this machine is {config.web_open_role}. "
        "Add a user: jobfleet web user add NAME."
    )


def server_of(application: ASGIApp, close_streams: Callable[[], None]) -> uvicorn.Server:
    """The server of a dashboard; it bounds connections, headers and idle time.

    Args:
        application: The dashboard.
        close_streams: Ends its live updates.
    """
    settings = uvicorn.Config(
        application, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="on",
        ws="none", http=_Protocol, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=DRAIN,
        limit_concurrency=CONNECTIONS_MOST, h11_max_incomplete_event_size=HEADERS_MOST,
    )  # fmt: skip
    return _Server(settings, close_streams)


def serve(fleet: Fleet, announce: Callable[[str, str], None]) -> None:
    """Serve the dashboard of a fleet until SIGTERM or Ctrl-C.

    Args:
        fleet: The fleet.
        announce: Called once it is served, with the address and a sentence on who may use it.

    Raises:
        ConfigError: The address is in use, or would be open to other machines.
    """
    check_host(fleet)
    config = fleet.config
    web = WebApp(fleet)
    with bound(config.web_host, config.web_port) as listening:
        host = f"[{config.web_host}]" if ":" in config.web_host else config.web_host
        address = f"http://{host}:{listening.getsockname()[1]}{root_path_of(config.web_root_path)}/"
        announce(address, login_line(config))
        asyncio.run(server_of(web, web.dashboard.hub.close).serve(sockets=[listening]))


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: The address is in use, or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(256)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}; set --host or --port of 'jobfleet web', or "
            "JOBFLEET_WEB_HOST or JOBFLEET_WEB_PORT for 'jobfleet up --web' too."
        ) from error
    return listening
