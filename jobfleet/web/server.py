"""Serve the dashboard with uvicorn: `jobfleet web`."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.fleet.sync import Fleet
from jobfleet.web.app import WebApp
from jobfleet.web.connections import Connections, Protocol
from jobfleet.web.safety.access import AccessFile
from jobfleet.web.safety.entrance import Entrance, is_loopback

KEEP_ALIVE, DRAIN = 15, 3


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
        ConfigError: There is neither a user, nor a token, nor a proxy that logs people in.
    """
    config = fleet.config
    access = AccessFile(config.web_access).read()
    if is_loopback(config.web_host) or access.users or access.tokens or Entrance(config).has_proxies:
        return
    raise ConfigError(
        f"Other machines reach {config.web_host}, and there is no user: run 'jobfleet web user add NAME' first, set "
        "web_trusted_proxies, or listen on 127.0.0.1."
    )


def login_line(config: JobConfig) -> str:
    """Who may use a dashboard, for the lines at its start.

    Args:
        config: The settings.

    Raises:
        ConfigError: The access file cannot be used.
    """
    path = config.web_access.absolute()
    if AccessFile(path).read().users:
        return f"Users and tokens: {path}."
    who = (
        "No login: web_open_access lets everybody on this machine in as"
        if config.web_open_access
        else "The token in this address lets one browser in as"
    )
    return f"{who} {config.web_open_role}, because {path} has no user. Add one: jobfleet web user add NAME."


def server_of(
    application: ASGIApp, close_streams: Callable[[], None], connections: Connections | None = None
) -> uvicorn.Server:
    """The server of a dashboard; it bounds connections, headers and idle time.

    Args:
        application: The dashboard.
        close_streams: Ends its live updates.
        connections: Bounds the connections.
    """
    protocol: Any = partial(Protocol, connections=connections or Connections())
    settings = uvicorn.Config(
        application, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="on",
        ws="none", http=protocol, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=DRAIN,
    )  # fmt: skip
    return _Server(settings, close_streams)


def serve(fleet: Fleet, say: Callable[[str], None]) -> None:
    """Serve the dashboard of a fleet until SIGTERM or Ctrl-C.

    Args:
        fleet: The fleet.
        say: Called with the address and who may use it, once it is served; and with the next address for a browser.

    Raises:
        ConfigError: The address is in use, or would be open to other machines.
    """
    check_host(fleet)
    config = fleet.config
    web = WebApp(fleet)
    with bound(config.web_host, config.web_port) as listening:
        identity = web.dashboard.identity
        host = f"[{config.web_host}]" if ":" in config.web_host else config.web_host
        address = identity.entrance.url or f"http://{host}:{listening.getsockname()[1]}{identity.entrance.root}"

        def link(token: str) -> str:
            return f"{address}/?token={token}"

        identity.on_link = lambda by, token: say(f"A browser at {by} is logged in. For another one: {link(token)}")
        token = identity.new_link()
        shown = link(token) if identity.login == "token" else f"{address}/"
        say(f"The dashboard is at {shown} (Ctrl-C ends it). {login_line(config)}")
        connections = Connections(identity.entrance.trusts)
        asyncio.run(server_of(web, web.dashboard.hub.close, connections).serve(sockets=[listening]))


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
