"""Writes down what came of the fires of recurring jobs, a part of the cron duty.

No script of the hot path knows recurring jobs. The process that fires them reads, every 10 s, the ends of the jobs
that entries have fired since they were last looked at; an entry without a new fire and without an open or failed job
costs nothing. The numbers outlive the results, so that an entry that fires once a month has a streak, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from jobfleet.clock import monotonic
from jobfleet.codec import encode
from jobfleet.cron.outcomes import OPEN_MOST, FireOutcomes
from jobfleet.errors import JobfleetError
from jobfleet.operations.fires import FIRST_READ, fires_of, read_outcomes, states_of, with_notes, with_states
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import batches, drive
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import cron as calls

log = logging.getLogger("jobfleet.reaper")
EVERY = 10.0
"""Seconds between two looks."""
PER_TURN = 1000
"""Entries that are looked at in one turn of the duty, so that fires do not wait; the next turns look at the rest."""
NOTHING = FireOutcomes()
LOOK_AGAIN = 60.0
"""Seconds after which the records of all entries are read again, because others may have written or removed them."""


class FireFollower:
    """Follows the jobs that recurring entries have fired until they end.

    It never raises for Redis: a fleet whose users may not yet do this still fires.

    Args:
        store: The connection to Redis.
        context: The context of the fleet.
    """

    def __init__(self, store: AsyncStore, context: FleetContext) -> None:
        self._store = store
        self._context = context
        self._fault = RepeatedFault(log, "cron.outcomes")
        self._looked = self._read = float("-inf")
        self._records: dict[str, bytes] = {}
        self._known: dict[str, FireOutcomes] = {}
        self._marks: dict[str, datetime] = {}
        self._left: list[str] = []

    async def turn(self, marks: Mapping[str, datetime]) -> None:
        """Look at the entries that have fired, or have open jobs, if it is time.

        Args:
            marks: The last handled fire of each entry, whose note is in its ledger.
        """
        now = monotonic()
        try:
            if not self._left:
                if now - self._looked < EVERY:
                    return
                self._looked = now
                if now - self._read >= LOOK_AGAIN:
                    self._read = now
                    await self._read_all(marks)
                self._left = [name for name, mark in marks.items() if self._is_due(name, mark)]
                self._marks = dict(marks)
            some, self._left = self._left[:PER_TURN], self._left[PER_TURN:]
            for names in batches(some, calls.CHUNK):
                await self._follow(names)
            self._fault.succeeded()
        except JobfleetError as error:
            self._read, self._left, self._marks = float("-inf"), [], {}
            self._fault.failed(str(error))

    async def _read_all(self, marks: Mapping[str, datetime]) -> None:
        """Read the records; an empty write forgets entries that a process of an older version has removed."""
        self._records = await self._store.run(calls.fire_outcomes(self._context.keys))
        self._known = {name: read_outcomes(name, record) for name, record in self._records.items()}
        if self._records.keys() - marks.keys():
            await self._store.run(calls.note_outcomes(self._context.keys, []))

    def _is_due(self, name: str, mark: datetime) -> bool:
        return self._marks.get(name) != mark or bool(self._of(name).watched)

    def _of(self, name: str) -> FireOutcomes:
        return self._known.get(name, NOTHING)

    async def _follow(self, names: list[str]) -> None:
        ledgers = await self._ledgers(names)
        counted = {name: with_notes(self._of(name), notes) for name, notes in ledgers.items()}
        ids = [one.id for known in counted.values() for one in known.watched]
        states = await drive(self._store, states_of(self._context, ids)) if ids else {}
        fresh: list[tuple[str, bytes, bytes]] = []
        for name, known in counted.items():
            after = with_states(known, states)
            if after != self._of(name):
                fresh.append((name, self._records.get(name, b""), encode(after.dump())))
                self._known[name] = after
        if not fresh:
            return
        written = await self._store.run(calls.note_outcomes(self._context.keys, fresh))
        self._records |= {name: record for name, _, record in fresh}
        if written < len(fresh):  # another process has counted some of them: look again at what it has not counted
            self._read, self._marks = float("-inf"), {}

    async def _ledgers(self, names: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
        """The notes of entries since they were last looked at, newest first."""
        keys = self._context.keys
        wanted = list(names)
        found: dict[str, list[tuple[int, str]]] = {}
        for limit in (FIRST_READ, OPEN_MOST):
            answers = await self._store.run_many([calls.history(keys, name, limit=limit) for name in wanted])
            for name, answer in zip(wanted, answers, strict=True):
                if isinstance(answer, JobfleetError):
                    raise answer
                found[name] = answer
            wanted = [name for name in wanted if self._has_more(name, found[name])]
            if not wanted:
                break
        return found

    def _has_more(self, name: str, notes: list[tuple[int, str]]) -> bool:
        until = self._of(name).until
        return len(notes) == FIRST_READ and all(fire.at.timestamp() * 1e6 > until for fire in fires_of(notes))
