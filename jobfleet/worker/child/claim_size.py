"""How many jobs a claim asks for, by the bytes that the last ones have brought.

Redis answers nobody while it hands out envelopes, so a claim is to bring 4 MiB at most. Only Redis knows how large the
next ones are, and asking it costs each claim about as much as a job. So a child begins with a few jobs in each lane,
and doubles that as long as they are small.
"""

from __future__ import annotations

from jobfleet.store.calls.lease import CHUNK
from jobfleet.store.keys import Lane
from jobfleet.store.records import Claimed

FEW = 8
"""Jobs that are claimed together at first."""
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of envelopes that a claim is to bring at most."""


class ClaimSize:
    """Bounds what is claimed at once, lane by lane."""

    def __init__(self) -> None:
        self._most: dict[Lane, int] = {}

    def of(self, lane: Lane, limit: int) -> int:
        """How many jobs to ask for in place of `limit`."""
        return min(limit, self._most.get(lane, FEW))

    def took(self, lane: Lane, claimed: Claimed) -> None:
        """Take note of what a claim has brought."""
        count, most = len(claimed.grants), self._most.get(lane, FEW)
        if not count or (most == CHUNK and count <= FEW):
            return
        size = sum([len(grant.envelope) for grant in claimed.grants])
        self._most[lane] = max(1, min(CHUNK, 2 * most, count * MOST_BYTES // max(1, size)))
