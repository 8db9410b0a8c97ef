"""Limits the number of jobs per claim by the size of the last envelopes.

Redis serves no other client while it returns envelopes, so a claim should return at most 4 MiB. Only Redis knows the
size of the next envelopes, and asking costs each claim about as much as a job. So a child begins with a few jobs per
lane and doubles the number as long as the envelopes are small.
"""

from __future__ import annotations

from jobfleet.store.calls.lease import CHUNK
from jobfleet.store.keys import Lane
from jobfleet.store.records import Claimed

FEW = 8
"""The number of jobs in the first claims of a lane."""
MOST_BYTES = 4 * 1024 * 1024
"""The maximal size of the envelopes of one claim in bytes."""


class ClaimSize:
    """Limits the number of jobs per claim, lane by lane."""

    def __init__(self) -> None:
        self._most: dict[Lane, int] = {}

    def of(self, lane: Lane, limit: int) -> int:
        """How many jobs to claim, at most `limit`."""
        return min(limit, self._most.get(lane, FEW))

    def took(self, lane: Lane, claimed: Claimed) -> None:
        """Adjust the limit to what a claim has returned."""
        count, most = len(claimed.grants), self._most.get(lane, FEW)
        if not count or (most == CHUNK and count <= FEW):
            return
        size = sum([len(grant.envelope) for grant in claimed.grants])
        self._most[lane] = max(1, min(CHUNK, 2 * most, count * MOST_BYTES // max(1, size)))
