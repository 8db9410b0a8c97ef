"""Serve the dashboard with uvicorn: `jobfleet web`."""

from __future__ import annotations

import asyncio
import http
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.fleet.sync import Fleet
from jobfleet.web.app import WebApp
from jobfleet.web.safety.access import AccessFile
from jobfleet.web.safety.entrance import Entrance, bare, is_loopback
from jobfleet.web.safety.guard import HEALTH

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


# The connections of the server: how many there may be, and which one makes room for a new one.


HEADERS_WITHIN = 10.0
"""Seconds that the headers of a request may take to arrive; at most twice as long."""
HEADERS_MOST = 32 * 1024
"""Bytes of the line and the headers of a request."""
MOST, OF_ADDRESS = 1000, 256
"""Connections at once, and those of an address that is not a trusted proxy."""
PARTS_MOST = 2000
"""Parts of a body; each costs as much time as a whole request, and a chunk may have a single byte."""
SPARE = 32
"""Connections beyond that, which get an answer to a health check alone."""


class Connections:
    """The open connections, oldest first. A new one is never refused because of silent ones: these make room.

    Args:
        is_proxy: Whether an address is that of a trusted proxy, which has the connections of many clients.
        most: Connections at once.
        of_address: Connections of an address at once.
    """

    def __init__(
        self, is_proxy: Callable[[str], bool] = lambda _: False, most: int = MOST, of_address: int = OF_ADDRESS
    ) -> None:
        self._is_proxy = is_proxy
        self._most, self._of_address = most, of_address
        self._open: dict[str, dict[Protocol, None]] = {}

    def add(self, protocol: Protocol) -> bool:
        """Count a connection; False if only a health check may be answered, because all others are busy."""
        own = self._open.setdefault(protocol.address, {})
        has_room = True
        if len(own) >= self._of_address and not self._is_proxy(protocol.address):
            has_room = self._make_room(own, self._of_address)
        if has_room and (every := self._every()) is not None:
            has_room = self._make_room(every, self._most)
        self._open.setdefault(protocol.address, {})[protocol] = None
        return has_room

    def _every(self) -> dict[Protocol, None] | None:
        """All connections, if there are as many as there may be."""
        if sum(map(len, self._open.values())) < self._most:
            return None
        largest = sorted(self._open.values(), key=len, reverse=True)  # the address with most of them gives way first
        return {one: None for group in largest for one in group}

    def _make_room(self, group: dict[Protocol, None], most: int) -> bool:
        """Close a connection that waits: rather one that was silent from the start than one between two requests."""
        waiting = [one for one in group if one.is_waiting and not one.is_narrow]
        silent = [one for one in waiting if one.cycle is None]
        narrow = [one for one in group if one.is_narrow]
        is_free = bool(silent or waiting)
        if not is_free and len(group) < most + SPARE:
            return False
        for victim in (silent or waiting or narrow)[:1]:
            self.remove(victim)
            victim.transport.abort()
        return is_free

    def remove(self, protocol: Protocol) -> None:
        """A connection has ended."""
        own = self._open.get(protocol.address, {})
        own.pop(protocol, None)
        if not own:
            self._open.pop(protocol.address, None)


class Protocol(H11Protocol):
    """A connection that is counted, and closed if a request does not arrive in time; uvicorn waits for it for ever.

    Args:
        connections: The open connections.
        named: What uvicorn gives.

    Attributes:
        address: The address of the client.
        is_narrow: Whether it gets an answer to a health check alone.
    """

    _watch: asyncio.TimerHandle | None = None

    def __init__(self, *, connections: Connections, **named: Any) -> None:
        super().__init__(**named)
        self.conn: h11.Connection = _Bounded(h11.SERVER, HEADERS_MOST)
        self._connections = connections
        self.address: str = ""
        self.is_narrow: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for the headers of a request."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to watch."""
        super().connection_made(transport)
        self.address = bare(self.client[0]) if self.client else ""
        if not self._connections.add(self):
            self.is_narrow, self.app = True, _narrow(self.app)
        self._look(None)

    def _look(self, before: object) -> None:
        """Close the connection if it has waited for the same request since the last look."""
        state = (self.cycle,) if self.is_waiting else None
        if state is not None and state == before:
            self.transport.close()
            return
        self._watch = self.loop.call_later(HEADERS_WITHIN, self._look, state)

    def send_400_response(self, msg: str) -> None:
        """Answer an invalid request and close the connection; uvicorn fails if an answer has begun."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        self._connections.remove(self)
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)


class _Bounded(h11.Connection):
    """What reads requests; it takes a body of too many parts as an invalid request."""

    _parts = 0

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        """The next event, as in h11.

        Raises:
            h11.RemoteProtocolError: The bytes are not a request, or its body has too many parts.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._parts = 0
        elif isinstance(event, h11.Data):
            self._parts += 1
        if self._parts > PARTS_MOST:
            raise h11.RemoteProtocolError(f"A body may have {PARTS_MOST:,} parts.")
        return event


def _narrow(app: ASGIApp) -> ASGIApp:
    """An application that answers a health check alone."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(HEALTH):
            await app(scope, receive, send)
            return
        status = http.HTTPStatus.SERVICE_UNAVAILABLE
        headers = [(b"connection", b"close"), (b"retry-after", b"2"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return answer
