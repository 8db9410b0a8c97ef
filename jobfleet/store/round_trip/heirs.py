"""What a store knows of the heirs of its primary: the replicas that may take over, all of which confirm a write.

**Those who promote are asked**, because a primary cannot tell a replica that is away from one that takes over just now.
They are the Sentinels, or the nodes of the cluster; on a server without both, nobody promotes by itself, and the
primary's own count is used. The answer is kept for a few seconds, so that many batches share it. It belongs to one
primary: the replication id in the reply to a mark shows whether that one has written.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobfleet.clock import monotonic
from jobfleet.store.round_trip.barrier import ALL, Heirs

FRESH = 5.0
"""Seconds for which an answer is used."""
FRESH_AFTER_FAILURE = 1.0
"""The same after a batch that was not confirmed, so that a replica that is away does not make everybody ask."""


class KnownHeirs:
    """The last answer of one store."""

    __slots__ = ("_asked_at", "_heirs")

    def __init__(self) -> None:
        self._heirs: Heirs | None = None
        self._asked_at = 0.0

    def fresh(self, within: float = FRESH) -> Heirs | None:
        """The answer, if it is not older than some seconds."""
        return self._heirs if monotonic() - self._asked_at < within else None

    @property
    def is_used(self) -> bool:
        """Whether anybody has asked, so that the store has writes that replicas must confirm."""
        return self._heirs is not None

    def learn(self, heirs: Heirs, asked_at: float) -> Heirs:
        """Keep an answer, with the time of the question."""
        self._heirs, self._asked_at = heirs, asked_at
        return heirs

    def doubt(self) -> None:
        """A batch was not confirmed, so ask sooner."""
        self._asked_at = min(self._asked_at, monotonic() - FRESH + FRESH_AFTER_FAILURE)


def heirs_of(info: Mapping[str, str], named: int | None) -> Heirs:
    """The heirs of a primary.

    Args:
        info: Its INFO; empty if the user may not ask.
        named: How many replicas those name who promote; None if nobody does, and the primary's own count is used.
    """
    rows = (row for name, row in info.items() if name.startswith("slave") and name[5:].isdigit())
    online = sum("state=online" in row for row in rows)
    return Heirs(max(1, online if named is None else named), info.get("master_replid", ""))


OF_THE_CLUSTER = Heirs(ALL)
"""The link to a cluster puts in the number of replicas of each node."""


def is_unguarded(info: Mapping[str, str]) -> bool:
    """Whether a primary with replicas continues to accept writes after all of them have left it; by its INFO."""
    return "slave0" in info and "min_slaves_good_slaves" not in info
