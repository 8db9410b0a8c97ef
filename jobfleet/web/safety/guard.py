"""Guards of the dashboard: rates of requests, delays of logins, slow readers, headers, and what the audit gets."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobfleet.clock import monotonic
from jobfleet.web.errors import refusal

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


KEYS_MOST = 10_000
"""Names and addresses that are remembered; beyond that, the oldest are forgotten."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 16.0
"""Seconds that a login waits after the failures that are free, and at most."""
FORGOTTEN_AFTER = 1800.0
"""Seconds without a failure after which failures are forgotten."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0


class Delays:
    """Delays logins after failures, each time for twice as long. A right password is let through after the delay.

    Args:
        free: Failures before the first delay.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def of(self, key: str) -> float:
        """Seconds that a login waits before its password is looked at."""
        found = self._failures.get(key)
        if found is None or monotonic() - found.last > FORGOTTEN_AFTER or found.count < self._free:
            return 0.0
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(found.count - self._free, 10))

    def failed(self, key: str) -> None:
        """Record a failed login."""
        now = monotonic()
        found = self._failures.pop(key, None)
        if found is None or now - found.last > FORGOTTEN_AFTER:
            found = _Failures()
        found.count, found.last = found.count + 1, now
        self._failures[key] = found
        if len(self._failures) > KEYS_MOST:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)


class Rate:
    """A token bucket per key.

    Args:
        per_second: Requests per second.
        burst: Requests at once.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        now = monotonic()
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        is_free = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if is_free else tokens, now)
        if len(self._buckets) > KEYS_MOST:
            self._buckets.popitem(last=False)
        return 0.0 if is_free else (1.0 - tokens) / self._per_second


CODES = frozenset(
    {"unauthenticated", "forbidden", "cross-site", "wrong-host", "behind-proxy", "locked-out"}
)  # fmt: skip
"""The refusals of safety; a request that is only wrong is not one of them."""
PER_MINUTE, PER_HOUR = 1, 20
"""Entries of a name, or of the address of a stranger, per minute; and of a name, or of all strangers, per hour."""


class Refusals:
    """Counts refusals, and lets some of them into the audit."""

    def __init__(self) -> None:
        self._minute = Rate(PER_MINUTE / 60, PER_MINUTE)
        self._hour = Rate(PER_HOUR / 3600, PER_HOUR)
        self._waiting: OrderedDict[str, int] = OrderedDict()

    def count(self, name: str, address: str) -> int:
        """Count a refusal; return how many the audit is to record in one entry now, 0 for none.

        Args:
            name: Who has sent the request; empty for a stranger.
            address: The address that it came from.
        """
        found = self._waiting.pop(name, 0) + 1
        if self._minute.wait(f"name {name}" if name else address) or self._hour.wait(name):
            self._waiting[name] = found
            if len(self._waiting) > KEYS_MOST:
                self._waiting.popitem(last=False)
            return 0
        return found
