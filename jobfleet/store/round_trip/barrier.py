"""Barriers: let the server confirm that writes have reached its replicas, or its disk.

A barrier follows calls in the same exchange, so on the same connection: a small write of its own, and WAIT or WAITAOF.
Calls and barrier prove something only together. If a part of the exchange fails, everything is sent again, because the
next reply may come from another primary, which may lack the first write.

A replica that takes over may be any of those that can, so by default all of these must confirm (`Heirs`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.store.call import Call, Command, Key

DURABILITY = "durability"
"""The field of a level in the header of a job, and among the settings of a queue."""
REPLICATED = "replicated"
FSYNC = "fsync"
KNOWN = frozenset((REPLICATED, FSYNC))
"""The levels that need a confirmation."""
ALL = 0
"""In place of a number of replicas: all that may take over."""
_LANE = re.compile(r"\{[^{}:]+:[^{}:]+:\d+\}:")
"""The beginning of a key of a lane; the fleet's own keys have no colon in their braces."""


class Heirs(NamedTuple):
    """Which replicas may take over from a primary, as those see it who would promote them.

    Attributes:
        number: How many there are; `ALL` if the link to a cluster puts in the number of each node.
        primary: The replication id of the primary that they belong to; empty if it is unknown.
    """

    number: int
    primary: str = ""


class AskHeirs(NamedTuple):
    """A step of a trip: find out the heirs.

    Attributes:
        is_misled: Whether the last exchange went to another server than the primary: its connections are closed.
    """

    is_misled: bool = False


class Barrier(NamedTuple):
    """What the server must confirm after calls.

    Attributes:
        mark: The write of its own.
        levels: `REPLICATED`, `FSYNC` or both.
        replicas: The least number of replicas that must confirm; `ALL` for all heirs.
        timeout_ms: Time limit of the wait in ms; never 0, which would wait for ever.
        is_spread: Whether lanes may be on several nodes: then each lane that is written to gets a mark. The waits go to
            all nodes that are called.
        heirs: The heirs that must confirm if `replicas` is `ALL`; None before they are known.
    """

    mark: Call[str]
    levels: frozenset[str]
    replicas: int
    timeout_ms: int
    is_spread: bool = False
    heirs: Heirs | None = None

    @property
    def asks_heirs(self) -> bool:
        """Whether all heirs must confirm."""
        return self.replicas == ALL and REPLICATED in self.levels

    @property
    def needs_heirs(self) -> bool:
        """Whether the heirs must be known before the waits can be sent."""
        return self.asks_heirs and self.heirs is None

    def is_primary(self, marks: Iterable[str]) -> bool:
        """Whether the marks were written by the primary that the heirs belong to; they return its replication id."""
        primary = "" if self.heirs is None else self.heirs.primary
        return not primary or all(mark in ("", primary) for mark in marks)

    def marks(self, calls: Iterable[Call[Any]]) -> list[Call[str]]:
        """The writes that follow calls, so that the waits cover them."""
        if not self.is_spread:
            return [self.mark]
        found = (_LANE.match(_text(call.keys[0])) for call in calls if not call.script.read_only)
        keys = dict.fromkeys(f"{one[0]}barrier" for one in found if one is not None)
        return [self.mark._replace(keys=(key,)) for key in keys or self.mark.keys]

    @property
    def _least(self) -> int:
        """How many replicas must confirm."""
        return self.replicas if self.heirs is None or self.replicas != ALL else self.heirs.number

    @property
    def waits(self) -> list[Command]:
        """The commands that wait; together they take at most `timeout_ms`. None before the heirs are known."""
        if self.needs_heirs:
            return []
        timeout_ms = max(1, self.timeout_ms // len(self.levels))
        made: list[Command] = []
        if REPLICATED in self.levels:
            made.append(("WAIT", self._least, timeout_ms))
        if FSYNC in self.levels:
            made.append(("WAITAOF", 1, 0, timeout_ms))
        return made

    def is_reached(self, replies: Sequence[Any]) -> bool:
        """Whether the replies to `waits` confirm all levels."""
        left = list(replies)
        if REPLICATED in self.levels and not _is_at_least(left.pop(0), self._least):
            return False
        return FSYNC not in self.levels or (isinstance(left[0], list) and _is_at_least(left[0][0], 1))


def _text(key: Key) -> str:
    return key if isinstance(key, str) else key.decode(errors="surrogateescape")


def _is_at_least(count: object, least: int) -> bool:
    return isinstance(count, int) and count >= least


def levels_in(headers: Iterable[Mapping[str, Any]]) -> Collection[str]:
    """Return the levels that jobs ask for, by their headers."""
    levels = {header[DURABILITY] for header in headers if DURABILITY in header}
    return levels & KNOWN if levels else levels


class Confirming(list[Call[Any]]):
    """Calls that a barrier follows.

    Args:
        calls: The calls. Each is safe to repeat.
        barrier: The barrier.

    Attributes:
        is_reached: Whether the levels were reached; set when the calls have been run.
        took: Seconds from the first attempt to the confirmation.
    """

    def __init__(self, calls: Iterable[Call[Any]], barrier: Barrier) -> None:
        super().__init__(calls)
        self.barrier: Barrier = barrier
        self.is_reached: bool = False
        self.took: float = 0.0
