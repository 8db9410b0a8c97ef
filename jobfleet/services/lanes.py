"""Which lanes a duty sees to in a turn: all of them where they are few, else those where something is to be done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from jobfleet.codec import decode
from jobfleet.errors import EncodingError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.fleet import FleetReader
from jobfleet.store.keys import WORK, Keyspace, Lane
from jobfleet.store.records import FleetSeen

FEW = 200
"""Lanes that are seen to in each turn, whatever is in them."""
SLICE = 500
"""Other lanes that are looked at per turn: whether anything is in them at all."""
Place = tuple[str, int]


class Lanes:
    """The lanes of a fleet, for a duty.

    Up to `FEW` lanes are all seen to in each turn. Of more, those that live workers serve are, and those in which
    something was found; of the rest it is looked by turns whether one is empty, which costs a fraction of a script.

    Args:
        store: How.
        keys: The fleet's keys.
        signs: The keys of a lane of which one exists while something is to be done there.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, signs: Sequence[str] = WORK) -> None:
        self._store = store
        self._keys = keys
        self._signs = signs
        self._reader = FleetReader(store, keys)
        self._queues: Mapping[str, tuple[int, int]] | None = None
        self._places: list[Place] = []
        self._served: list[Place] = []
        self._others: list[Place] = []
        self._busy: dict[Place, None] = {}
        self._next = 0

    async def look(self) -> FleetSeen:
        """Look at the fleet, and learn which queues there are and which of them live workers serve.

        Raises:
            JobfleetError: Redis did not answer.
        """
        seen = await self._reader.look()
        self._know(seen.queues, {queue for worker in seen.workers for queue in _queues_of(worker.account)})
        return seen

    @property
    def places(self) -> Sequence[Place]:
        """Queue and index of every lane."""
        return self._places

    def _know(self, queues: Mapping[str, tuple[int, int]], served: AbstractSet[str]) -> None:
        if queues is not self._queues:
            self._queues = queues
            self._places = [(queue, index) for queue, (_, count) in sorted(queues.items()) for index in range(count)]
        few = len(self._places) <= FEW
        self._served = [place for place in self._places if few or place[0] in served]
        self._others = [] if few else [place for place in self._places if place[0] not in served]
        self._busy = {place: None for place in self._busy if place[0] in queues and place[0] not in served and not few}

    async def occupied(self) -> AsyncIterator[Lane]:
        """Every lane in which something is to be done, and those of a fleet of few lanes."""
        few = len(self._places) <= FEW
        for start in range(0, len(self._places), SLICE):
            part = self._places[start : start + SLICE]
            for place in part if few else await self._occupied(part):
                yield self._keys.lane(*place)

    async def due(self) -> list[Lane]:
        """The lanes to see to in this turn."""
        if self._others:
            self._busy = dict.fromkeys(await self._occupied([*self._busy, *self._some()]))
        return [self._keys.lane(*place) for place in (*self._served, *self._busy)]

    def _some(self) -> list[Place]:
        """The next of the lanes that nobody serves."""
        start = self._next if self._next < len(self._others) else 0
        self._next = start + SLICE
        return [place for place in islice(self._others, start, self._next) if place not in self._busy]

    async def _occupied(self, places: Sequence[Place]) -> list[Place]:
        found: list[Place] = []
        for start in range(0, len(places), SLICE):
            part = places[start : start + SLICE]
            there = await self._store.any_exist([self._keys.signs(*place, self._signs) for place in part])
            found += [place for place, is_there in zip(part, there, strict=True) if is_there]
        return found


def _queues_of(account: bytes) -> Iterable[str]:
    """The queues that a worker says it serves; none of an account that cannot be read."""
    try:
        fields = decode(account) if account else {}
    except EncodingError:
        return ()
    queues = fields.get("queues") if isinstance(fields, dict) else None
    return [queue for queue in queues if isinstance(queue, str)] if isinstance(queues, list) else ()
