"""Reading the queues of a fleet: at once where they are few, by pages and not too often where they are many.

Anyone who can write to Redis can add queue names, so a duty must not read all of them each time it looks. Up to
`LISTED` queues come with each look. More are read by pages, and only when their number has changed or the last
reading is old; both limits grow with their number.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.inspect import LISTED, fleet, queues
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import FleetSeen
from jobfleet.store.sync import Store

PACE = 0.001
"""Seconds per queue that go by at least before all of them are read again."""
STALE = 10
"""How many times as long they are believed while their number does not change."""
Reading = Generator[Sequence[Call[Any]], list[Any], FleetSeen]


def whole(keys: Keyspace) -> Reading:
    """Read a fleet with all its queues.

    Raises:
        JobfleetError: Redis did not answer.
    """
    seen = _value((yield (fleet(keys),)))
    return seen if seen.count <= LISTED else (yield from _paged(keys, seen))


def _paged(keys: Keyspace, seen: FleetSeen) -> Reading:
    """Complete a look with all queues, by pages."""
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
    """Read a fleet with all its queues, at once.

    Raises:
        JobfleetError: Redis did not answer.
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
    """Looks at a fleet again and again, for a duty.

    Args:
        store: How.
        keys: The fleet's keys.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys
        self._read_at = float("-inf")
        self._count = 0
        self._queues: Mapping[str, tuple[int, int]] = {}

    async def look(self) -> FleetSeen:
        """The fleet now, its queues included; of more than `LISTED` queues, as they were read last.

        Raises:
            JobfleetError: Redis did not answer.
        """
        return await self.completed(await self._store.run(fleet(self._keys)))

    async def completed(self, seen: FleetSeen, *, patience: float | None = -1.0) -> FleetSeen:
        """A fleet that was read just now, with the queues that it lacks.

        Args:
            seen: What was read.
            patience: Seconds; another patience than the store's.

        Raises:
            JobfleetError: Redis did not answer.
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
