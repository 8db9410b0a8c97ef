"""The outermost layer: the rate of requests of an address, slow readers, and the headers that every answer has."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobfleet.web.errors import refusal
from jobfleet.web.safety.lockout import Rate

PER_SECOND, BURST = 50.0, 300
HEALTH = "/healthz"
SEND_WITHIN = 20.0
"""Seconds in which a client has to read what was sent to it before; then its connection is closed."""
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""``no-referrer`` would make browsers send ``Origin: null`` with forms."""
_log = logging.getLogger("jobfleet.web")
_RAW = [(name.encode(), text.encode()) for name, text in HEADERS.items()]


class Guard:
    """Adds the headers of safety, and bounds the rate of requests of an address.

    Args:
        app: The application.
        rate: The rate.
        key_of: Returns whose requests are counted together; by default those of an address.
    """

    def __init__(
        self, app: ASGIApp, rate: Rate | None = None, key_of: Callable[[HTTPConnection], str] | None = None
    ) -> None:
        self._app = app
        self._rate = rate or Rate(PER_SECOND, BURST)
        self._key_of = key_of or _address_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given: list[Any] = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [row for row in _RAW if row[0] not in names]
                if b"cache-control" not in names:
                    message["headers"].append((b"cache-control", b"no-store"))
            async with asyncio.timeout(SEND_WITHIN):
                await send(message)

        client = scope.get("client")
        is_health = scope["path"] == f"{scope.get('root_path', '')}{HEALTH}"  # it answers always
        if not is_health and (wait := self._rate.wait(self._key_of(HTTPConnection(scope)))):
            await _refuse(guarded, wait)
            return
        try:
            await self._app(scope, receive, guarded)
        except TimeoutError:
            _log.info("Closed a connection of %s, which did not read for %g s.", client and client[0], SEND_WITHIN)


def _address_of(connection: HTTPConnection) -> str:
    return "" if connection.client is None else connection.client.host


async def _refuse(send: Send, wait: float) -> None:
    body = json.dumps(refusal("too-many-requests").data).encode()
    headers = [(b"content-type", b"application/json"), (b"retry-after", str(math.ceil(wait)).encode())]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
