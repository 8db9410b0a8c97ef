"""Subscriptions to channels. Messages may be lost; they are only hints, and the state is in keys."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from jobfleet.clock import monotonic
from jobfleet.store.replies import CONNECTION_ERRORS
from jobfleet.store.server.connect import Target, async_client, client

CONFIRMATION = 2.0
"""Time limit for a subscription, in seconds."""
SILENCE = 4.0
"""Seconds without a message after which the connection is checked with a PING."""
ANSWER = 2.0
"""Time limit for the reply to the PING, in seconds."""


class Listener:
    """Receives messages of channels, blocking.

    Args:
        at: The server.
        channels: Their names.
    """

    def __init__(self, at: Target, channels: Sequence[str]) -> None:
        self._client = client(at)
        self._subscription: Any = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._channels = channels
        self._is_on = False

    def get(self, timeout: float) -> str | None:
        """Return the next message; None after `timeout` seconds, or if the server is unavailable."""
        deadline = monotonic() + timeout
        try:
            self._subscribe()
            while True:
                message = self._subscription.get_message(timeout=max(0.0, deadline - monotonic()))
                if (text := _text(message)) is not None:
                    return text
                if message is None and monotonic() >= deadline:
                    return None
        except CONNECTION_ERRORS:
            self._is_on = False
            with suppress(*CONNECTION_ERRORS):
                self._subscription.reset()
            return None

    def _subscribe(self) -> None:
        if self._is_on:
            return
        self._subscription.subscribe(*self._channels)
        for _ in self._channels:
            self._subscription.get_message(timeout=CONFIRMATION)
        self._is_on = True

    def subscribed(self) -> Self:
        """Subscribe now, so that no message published later is missed."""
        with suppress(*CONNECTION_ERRORS):
            self._subscribe()
        return self

    def close(self) -> None:
        """Stop listening."""
        self._subscription.close()
        self._client.close()


class AsyncListener:
    """Receives messages of channels, asynchronously.

    Args:
        at: The server.
        channels: Their names.
    """

    def __init__(self, at: Target, channels: Sequence[str]) -> None:
        self._client = async_client(at)
        self._subscription: Any = self._client.pubsub()
        self._channels = channels
        self._is_on = False
        self._heard_at = 0.0
        self._asked_at: float | None = None

    async def get(self, timeout: float) -> str | None:
        """Return the next message; None after `timeout` seconds, or if the server is unavailable."""
        deadline = monotonic() + timeout
        try:
            await self._subscribe()
            while True:
                message = await self._subscription.get_message(timeout=max(0.0, deadline - monotonic()))
                if message is not None:
                    self._heard_at, self._asked_at = monotonic(), None
                if (text := _text(message)) is not None:
                    return text
                if message is None and monotonic() >= deadline:
                    await self._see_whether_it_lives()
                    return None
        except CONNECTION_ERRORS:
            await self.reset()
            return None

    async def _see_whether_it_lives(self) -> None:
        """Send a PING after a long silence, because a half-open connection looks like a silent channel."""
        now = monotonic()
        if self._asked_at is not None:
            if now - self._asked_at >= ANSWER:
                await self.reset()
        elif now - self._heard_at >= SILENCE:
            self._asked_at = now
            await self._subscription.ping()

    async def reset(self) -> None:
        """Close the connection; the next `get` opens another one."""
        self._is_on = False
        with suppress(*CONNECTION_ERRORS):
            await self._subscription.aclose()
        self._subscription = self._client.pubsub()

    async def _subscribe(self) -> None:
        if self._is_on:
            return
        await self._subscription.subscribe(*self._channels)
        for _ in self._channels:
            await self._subscription.get_message(timeout=CONFIRMATION)
        self._is_on = True
        self._heard_at, self._asked_at = monotonic(), None

    async def subscribed(self) -> Self:
        """Subscribe now, so that no message published later is missed."""
        with suppress(*CONNECTION_ERRORS):
            await self._subscribe()
        return self

    async def close(self) -> None:
        """Stop listening."""
        with suppress(*CONNECTION_ERRORS):
            await self._subscription.aclose()
        await self._client.aclose()


def _text(message: dict[str, Any] | None) -> str | None:
    if message is None or message.get("type") != "message":
        return None
    data = message["data"]
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)  # anyone may publish anything
