"""The lanes that a duty handles in a turn, and the pauses of functions that newer lanes have to learn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from jobfleet.codec import decode
from jobfleet.errors import EncodingError
from jobfleet.operations.operation import batches, drive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import pause_function, paused, read_functions, resume_function
from jobfleet.store.fleet import FleetReader
from jobfleet.store.keys import WORK, Keyspace, Lane
from jobfleet.store.records import FleetSeen

FEW = 200
"""Up to this number of lanes, each turn handles all of them, empty or not."""
SLICE = 500
"""Number of other lanes per turn that are checked for any content."""
Place = tuple[str, int]


class Lanes:
    """The lanes of a fleet that a duty handles in a turn: all lanes of a small one, otherwise those that have work.

    Up to `FEW` lanes, each turn handles all of them. In a larger fleet, a turn handles the lanes that live workers
    serve, and the lanes that have work. The remaining lanes are checked in turns for any content, which costs a
    fraction of a script.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        signs: Names of a lane's keys; at least one of them exists while the lane has work for the duty.
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
        """Read the fleet, to learn its queues and which of them live workers serve.

        Raises:
            JobfleetError: Redis did not reply.
        """
        seen = await self._reader.look()
        self._know(seen.queues, {queue for worker in seen.workers for queue in _queues_of(worker.account)})
        return seen

    @property
    def places(self) -> Sequence[Place]:
        """The queue and index of every lane."""
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
        """Yield every lane that has work; in a small fleet every lane."""
        few = len(self._places) <= FEW
        for start in range(0, len(self._places), SLICE):
            part = self._places[start : start + SLICE]
            for place in part if few else await self._occupied(part):
                yield self._keys.lane(*place)

    async def due(self) -> list[Lane]:
        """Return the lanes to handle in this turn."""
        if self._others:
            self._busy = dict.fromkeys(await self._occupied([*self._busy, *self._some()]))
        return [self._keys.lane(*place) for place in (*self._served, *self._busy)]

    def _some(self) -> list[Place]:
        """Return the next slice of the lanes that no worker serves."""
        start = self._next if self._next < len(self._others) else 0
        self._next = start + SLICE
        return [place for place in islice(self._others, start, self._next) if place not in self._busy]

    async def _occupied(self, places: Sequence[Place]) -> list[Place]:
        found: list[Place] = []
        for part in batches(places, SLICE):
            there = await self._store.any_exist([self._keys.signs(*place, self._signs) for place in part])
            found += [place for place, is_there in zip(part, there, strict=True) if is_there]
        return found


def _queues_of(account: bytes) -> Iterable[str]:
    """Return the queues that a worker serves by its account; none if the account cannot be decoded."""
    try:
        fields = decode(account) if account else {}
    except EncodingError:
        return ()
    queues = fields.get("queues") if isinstance(fields, dict) else None
    return [queue for queue in queues if isinstance(queue, str)] if isinstance(queues, list) else ()


# Applies the paused functions of all queues to lanes that were created later.


async def catch_up(store: AsyncStore, keys: Keyspace, lanes: Iterable[Lane]) -> None:
    """Pause in some lanes the functions that are paused everywhere; a concurrent resume takes effect here too."""
    functions = read_functions(await store.run(paused(keys)))
    fresh = [
        (lane, name)
        for lane in (lanes if functions else ())
        for name, pause in functions.items()
        if await store.run(pause_function(lane, name, by=pause.by, reason=pause.reason))
    ]
    if not fresh:
        return
    from jobfleet.operations.pause import finish  # for fleets with paused functions

    still = read_functions(await store.run(paused(keys)))
    for lane, name in fresh:
        if name not in still:
            await store.run(resume_function(lane, name))
            await drive(store, finish(lane, (name,)))
