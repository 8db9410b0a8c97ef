"""Reading the queues of a fleet: a few all at once, many by pages and less often.

Anyone who can write to Redis can add queue names, so a duty must not read all of them on each turn. Up to `LISTED`
queues come with each reading of the fleet. More queues are read by pages, and only if their number has changed or the
last reading is old. Both limits grow with the number of queues.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.inspect import LISTED, fleet, queues
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import FleetSeen

if TYPE_CHECKING:  # a supervisor reads fleets, and needs no blocking store
    from jobfleet.store.sync import Store

PACE = 0.001
"""Minimum seconds per queue between two readings of all queues."""
STALE = 10
"""Factor for the lifetime of a reading while the number of queues does not change."""
Reading = Generator[Sequence[Call[Any]], list[Any], FleetSeen]


def whole(keys: Keyspace) -> Reading:
    """Read a fleet with all its queues.

    Raises:
        JobfleetError: Redis did not reply.
    """
    seen = _value((yield (fleet(keys),)))
    return seen if seen.count <= LISTED else (yield from _paged(keys, seen))


def _paged(keys: Keyspace, seen: FleetSeen) -> Reading:
    """Complete a reading with all queues, by pages."""
    found: dict[str, tuple[int, int]] = {}
    cursor = b"0"
    while True:
        cursor, page = _value((yield (queues(keys, cursor),)))
        found |= page
        if cursor == b"0":
            return replace(seen, queues=found)


def _value(answers: list[Any]) -> Any:
    if isinstance(answers[0], JobfleetError):
        raise answers[0]
    return answers[0]


def read_whole(store: Store, keys: Keyspace) -> FleetSeen:
    """Read a fleet with all its queues, blocking.

    Raises:
        JobfleetError: Redis did not reply.
    """
    reading = whole(keys)
    answers: Any = None
    try:
        while True:
            answers = store.run_many(reading.send(answers))
    except StopIteration as end:
        seen: FleetSeen = end.value
        return seen


class FleetReader:
    """Reads a fleet repeatedly, for a duty.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys
        self._read_at = float("-inf")
        self._count = 0
        self._queues: Mapping[str, tuple[int, int]] = {}

    async def look(self) -> FleetSeen:
        """Read the fleet; if it has more than `LISTED` queues, they come from the last full reading.

        Raises:
            JobfleetError: Redis did not reply.
        """
        return await self.completed(await self._store.run(fleet(self._keys)))

    async def completed(self, seen: FleetSeen, *, patience: float | None = -1.0) -> FleetSeen:
        """Complete a new reading of the fleet with its queues.

        Args:
            seen: The reading.
            patience: The patience in seconds, in place of the store's.

        Raises:
            JobfleetError: Redis did not reply.
        """
        if seen.count <= LISTED:
            return seen
        age = monotonic() - self._read_at
        pace = PACE * seen.count
        if age < pace or (seen.count == self._count and age < STALE * pace):
            return replace(seen, queues=self._queues)
        reading = _paged(self._keys, seen)
        answers: Any = None
        try:
            while True:
                answers = await self._store.run_many(reading.send(answers), patience=patience)
        except StopIteration as end:
            whole_fleet: FleetSeen = end.value
        self._read_at, self._count, self._queues = monotonic(), seen.count, whole_fleet.queues
        return whole_fleet
