"""What a subscribing connection wants, hears and checks: the common part of both connections. No I/O.

Each job has a channel of its own, and a client subscribes to the channels of the jobs that it waits for. The channel of
the lane would need one subscription for all of them, and costs the server the same, but it carries every event of every
job: a client that waits for one job of a busy lane would receive and drop megabytes per second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from jobfleet.clock import monotonic

BOUND = 2.0
"""Time limit in seconds for connecting and sending. A server that does not reply counts as unavailable."""
SILENCE = 4.0
"""Seconds without a message after which the connection is checked with a PING."""
ANSWER = 2.0
"""Time limit for the reply to the PING, in seconds."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two attempts to connect."""
PART = 1000
"""Channels per command: more would block the server for long."""
MOST_READ = 2000
"""Messages that are read before they are handled."""


class Message(NamedTuple):
    """A message of a channel.

    Attributes:
        channel: The name of the channel.
        text: The text; None when the subscription begins, so that earlier messages may have been missed.
    """

    channel: str
    text: str | None


def message_of(reply: Any) -> Message | None:
    """Convert a reply of a subscribing connection; None if it is neither a message nor a new subscription."""
    if not isinstance(reply, list | tuple) or len(reply) < 3:
        return None
    kind = bytes(reply[0])
    if kind == b"message":
        return Message(reply[1].decode(), reply[2].decode(errors="replace"))
    return Message(reply[1].decode(), None) if kind == b"subscribe" else None


class Subscriptions:
    """The channels of a connection.

    Attributes:
        wanted: The channels to which to subscribe.
    """

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self._dropped: set[str] = set()

    def add(self, channels: Iterable[str]) -> None:
        """Want channels."""
        self.wanted.update(channels)

    def drop(self, channels: Iterable[str]) -> None:
        """Do not want channels any more; the server learns of it with the next `forgotten`."""
        channels = set(channels)
        self.wanted -= channels
        self._dropped |= channels

    def forgotten(self) -> list[tuple[str, ...]]:
        """Return the commands that end the subscriptions that nobody wants any more."""
        if not self._dropped:
            return []
        channels, self._dropped = self._dropped - self.wanted, set()
        return commands("UNSUBSCRIBE", channels)


def commands(verb: str, channels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the commands for channels, some channels per command."""
    names = list(channels)
    return [(verb, *names[at : at + PART]) for at in range(0, len(names), PART)]


class Pulse:
    """Decides when to check a silent connection, because a half-open connection looks like a silent channel."""

    def __init__(self) -> None:
        self._heard_at = monotonic()
        self._asked_at: float | None = None

    def heard(self) -> None:
        """Record that something came."""
        self._heard_at, self._asked_at = monotonic(), None

    def should_ask(self) -> bool:
        """Whether to send a PING now; true once per silence."""
        now = monotonic()
        if self._asked_at is not None or now - self._heard_at < SILENCE:
            return False
        self._asked_at = now
        return True

    @property
    def is_lost(self) -> bool:
        """Whether the PING was not answered in time."""
        return self._asked_at is not None and monotonic() - self._asked_at >= ANSWER


class Backoff:
    """The pauses between attempts to connect."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._next_at = 0.0

    @property
    def left(self) -> float:
        """Seconds until the next attempt; 0 or less if it is due."""
        return self._next_at - monotonic()

    def failed(self) -> None:
        """Record a failure: the next attempt comes later."""
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
        self._next_at = monotonic() + self._pause

    def succeeded(self) -> None:
        """Record that something came. A connection alone does not count: the server may refuse to subscribe."""
        self._pause = 0.0
