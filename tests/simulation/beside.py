"""What a fleet uses beside Redis, and what must hold of it: a payload store, a database with an outbox, and readers.

A plan has the store or the database if its settings name one (`STORE`, `OUTBOX`). Both live in this process and in
virtual time. The product's own code reads and writes them; replaced is what opens the store and the database.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count, pairwise
from typing import Any, NamedTuple
from unittest import mock

from jobfleet.payloads import payloads as payloads_module
from jobfleet.payloads.payloads import IDENTITY
from jobfleet.payloads.store import StoredObject
from tests.simulation.ledger import Ledger
from tests.simulation.loop import PROCESS, START_US
from tests.simulation.plan import Run
from tests.support.chaos.trail import Breach

STORE = {"payload_store": "file:///sim/payloads", "payload_threshold": 1024, "payload_grace": 40.0}
OUTBOX = {"outbox_url": "sqlite:////sim/outbox.db", "outbox_poll": 1.0}
"""Settings of plans that have a payload store, or an outbox."""
STREAMS, PAYLOADS, RETENTION, OUTBOXES = 38, 41, 42, 51
NAMES = {OUTBOXES: "a committed row is one job, and one that was rolled back is none"}
"""Invariants that `scripts/chaos` does not have."""
SWEPT_WITHIN = 40.0 + 2 * 60.0 + 40.0 / 4 + 30.0
"""Seconds after which an object without a job is gone: the grace, two turns of its duty, and a pause between passes."""
_KEY = re.compile(rb"sim/[0-9a-f]{2}/[A-Za-z0-9_.:-]+~[ar][0-9a-f]{32}")
_numbers = count()


class Store:
    """The payload store as each machine sees it: mounted, away, or an empty folder in place of the mount.

    Attributes:
        objects: The objects of the store, with the virtual µs of their writing.
        away: How a machine sees it: ``away``, or ``empty``. "" are all machines.
        back_us: When it was last seen to be away, or all faults were over: from then on a reaper deletes what is to go.
        erased: The objects that an operator has deleted, which is what `forget` does.
        can_be_empty: Whether Redis knows which store it is. If not, nobody can tell a new store from an empty folder,
            and the first process founds that one; so the store is away instead.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.away: dict[str, str] = {}
        self.back_us = 0
        self.erased: set[str] = set()
        self.can_be_empty = True
        self._folders: dict[str, dict[str, tuple[bytes, int]]] = {}

    def copy(self) -> Store:
        """What it holds now, which does not change any more."""
        found = Store(self._now_us)
        found.objects, found.back_us, found.erased = dict(self.objects), self.back_us, set(self.erased)
        return found

    def _here(self) -> dict[str, tuple[bytes, int]]:
        process = PROCESS.get()
        machine = "" if process is None else process.machine.name
        how = self.away.get(machine) or self.away.get("")
        if not how:
            return self.objects
        self.back_us = self._now_us()
        if how == "away" or not self.can_be_empty or IDENTITY not in self.objects:
            raise OSError(116, "Stale file handle")
        return self._folders.setdefault(machine, {})

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        self._here()[key] = bytes(data), self._now_us()

    def get(self, key: str, *, most: int) -> bytes:
        """Return an object."""
        found = self._here().get(key)
        if found is None:
            raise FileNotFoundError(key)
        return found[0][: most + 1]

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._here().pop(key, None)
        process = PROCESS.get()
        if process is not None and process.machine.name == "operator":
            self.erased.add(key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List a folder."""
        for key, (_, at_us) in sorted(self._here().items()):
            if key.rpartition("/")[0] == prefix:
                yield StoredObject(key, (START_US + at_us) / 1e6)


class Database:
    """An SQLite database in memory, whose clock is virtual. No transaction lasts longer than a moment.

    Attributes:
        is_away: Whether it cannot be opened.
        committed: The jobs whose rows were committed.
        undone: Those whose rows were not.
    """

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._name = f"file:sim-{next(_numbers)}?mode=memory&cache=shared"
        self.is_away = False
        self.committed: list[str] = []
        self.undone: list[str] = []
        self._kept = self._connect()  # the data lives as long as one connection
        from jobfleet.outbox import create_tables

        create_tables(self.engine())

    def _connect(self) -> sqlite3.Connection:
        if self.is_away:
            raise sqlite3.OperationalError("unable to open database file")
        made = sqlite3.connect(self._name, uri=True, check_same_thread=False, timeout=0)
        made.create_function("julianday", 1, lambda _: 2440587.5 + (START_US + self._now_us()) / 86_400e6)
        return made

    def engine(self, *_: Any) -> Any:
        """In place of `open_engine`."""
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        return create_engine("sqlite://", creator=self._connect, poolclass=NullPool)

    def write(self, jobs: list[Any], fleet: Any, ends: str) -> list[str]:
        """Write rows in a transaction that ends with ``commit``, ``rollback``, or ``die``: with the program."""
        from jobfleet.contrib import outbox

        with self.engine().connect() as connection:
            ids = list(map(str, outbox.enqueue_many(connection, jobs, fleet=fleet)))
            if ends == "commit":
                connection.commit()
        (self.committed if ends == "commit" else self.undone).extend(ids)
        return ids

    def rows(self) -> dict[str, str]:
        """The rows that are left, with their errors; empty for one that waits."""
        found = self._kept.execute("SELECT id, failed_us, error FROM jobfleet_outbox ORDER BY seq").fetchall()
        return {job_id: "" if failed_us is None else str(error) for job_id, failed_us, error in found}

    def close(self) -> None:
        """Forget the data."""
        self._kept.close()


class Reading:
    """What a reader of a stream has seen; it comes back with the position of its last chunk.

    Attributes:
        job_id: The job.
        rows: Per chunk: epoch, number, value, dropped, is_restart.
        is_over: Whether it was notified that the stream has ended.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.rows: list[tuple[int, int, Any, int, bool]] = []
        self.is_over = False


class Found(NamedTuple):
    """What is beside Redis at the end of a run.

    Attributes:
        us: The end, virtual µs.
        store: The payload store; None without one.
        committed: The jobs of committed rows.
        undone: Those of rows that were rolled back.
        rows: The rows that are left, with their errors.
        readings: What was read of streams.
    """

    us: int
    store: Store | None
    committed: list[str]
    undone: list[str]
    rows: dict[str, str]
    readings: list[Reading]


class Beside:
    """All of it for one run.

    Args:
        settings: The settings of the plan.
        now_us: Virtual time.
    """

    def __init__(self, settings: Mapping[str, Any], now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self.store = Store(now_us) if "payload_store" in settings else None
        self.database = Database(now_us) if "outbox_url" in settings else None
        self.readings: list[Reading] = []

    @property
    def is_open(self) -> bool:
        """Whether rows wait, or objects without a job may be there still."""
        if self.database is not None and "" in self.database.rows().values():
            return True
        if self.store is None or len(self.store.objects) < 2:  # its identity
            return False
        last = max(self.store.back_us, *(at for _, at in self.store.objects.values()))
        return self._now_us() < last + SWEPT_WITHIN * 1e6

    def heal(self) -> None:
        """End all faults."""
        if self.store is not None:
            self.store.away.clear()
            self.store.back_us = self._now_us()  # a plan may have no reaper before
        if self.database is not None:
            self.database.is_away = False

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Replace what opens a store or a database within the block."""
        with ExitStack() as stack:
            if self.store is not None:
                stack.enter_context(mock.patch.object(payloads_module, "open_store", return_value=self.store))
            if self.database is not None:
                from jobfleet.contrib import outbox
                from jobfleet.outbox import rows

                stack.enter_context(mock.patch.object(rows, "open_engine", self.database.engine))
                stack.enter_context(mock.patch.object(outbox, "warn_if_unrelayed"))
            yield

    def close(self) -> None:
        """Forget the database."""
        if self.database is not None:
            self.database.close()

    def found(self) -> Found:
        """What is there at the end."""
        base, store = self.database, None if self.store is None else self.store.copy()
        return Found(
            self._now_us(), store, base.committed if base else [], base.undone if base else [],
            base.rows() if base else {}, self.readings,
        )  # fmt: skip


# --- the judgement ---------------------------------------------------------------------------------


def judged(found: Found, runs: list[Run], state: Mapping[str, Any], ledger: Ledger) -> Iterator[Breach]:
    """All violations."""
    has_lost = ledger.lost_at is not None
    yield from (Breach(STREAMS, what) for one in found.readings for what in stream_is_whole(one, runs, ledger))
    yield from (Breach(OUTBOXES, what) for what in rows_are_jobs(found, ledger, has_lost=has_lost))
    yield from (Breach(PAYLOADS, what) for what in arguments_are_whole(runs))
    if found.store is not None:
        kept = b"\n".join(_bytes_of(value) for value in state.values())
        if not has_lost:
            yield from (Breach(PAYLOADS, what) for what in references_hold(found.store, kept))
            yield from (Breach(RETENTION, what) for what in objects_have_jobs(found, kept))


def stream_is_whole(reading: Reading, runs: list[Run], ledger: Ledger) -> Iterator[str]:
    """A reader gets each chunk once, in order, is notified of gaps, and has all when it is notified of the end."""
    name, rows = f"a reader of {reading.job_id}", reading.rows
    for epoch, number, value, dropped, _ in rows:
        if value != [epoch, number]:
            yield f"{name} has got {value} as chunk {number} of run {epoch}"
        if number < 1 or dropped < 0:
            yield f"{name} has got the number {number} after a gap of {dropped}"
    for (epoch, number, _, _, _), (now, next_number, _, dropped, is_restart) in pairwise(rows):
        if (now, next_number) <= (epoch, number):
            yield f"{name} has got {now}-{next_number} after {epoch}-{number}"
        elif is_restart != (now != epoch):
            yield f"{name} was {'' if is_restart else 'not '}notified of another run between {epoch} and {now}"
        elif dropped < next_number - 1 - (number if now == epoch else 0):
            yield f"{name} has got {now}-{next_number} after {epoch}-{number}, and was notified of a gap of {dropped}"
        elif now == epoch and dropped != next_number - 1 - number and ledger.lost_at is None:
            yield f"{name} was notified of a gap of {dropped} between {epoch}-{number} and {now}-{next_number}"
    if rows and (rows[0][3] < rows[0][1] - 1 or rows[0][4]):
        yield f"{name} has begun with {rows[0][0]}-{rows[0][1]}, and was notified of a gap of {rows[0][3]}"
    yield from _has_all(reading, runs, ledger)


def _has_all(reading: Reading, runs: list[Run], ledger: Ledger) -> Iterator[str]:
    name, rows, known = f"a reader of {reading.job_id}", reading.rows, ledger.jobs.get(reading.job_id)
    if not reading.is_over or known is None or known.state != "completed" or ledger.lost_at is not None:
        return
    tokens = [event.token for event in ledger.events if event.event == "ended" and event.id == reading.job_id]
    for run in runs:
        if run.job == reading.job_id and tokens[-1:] == [run.fence]:
            emitted = sum(int(what[8:]) for _, what in run.effects if what.startswith("emitted:"))
            last = rows[-1][1] if rows and rows[-1][0] == run.fence else 0
            if emitted != last:
                yield f"{name} was notified of its end after chunk {last} of {emitted} of run {run.fence}"


def rows_are_jobs(found: Found, ledger: Ledger, *, has_lost: bool) -> Iterator[str]:
    """A committed row becomes a job, and one that was rolled back never does."""
    for job_id in found.undone:
        if job_id in ledger.jobs and job_id not in found.committed:
            yield f"{job_id} is a job, though its row was rolled back"
    for job_id in found.committed:
        if job_id not in ledger.jobs and not found.rows.get(job_id):
            yield f"the row of {job_id} was committed, and it never became a job"
    for job_id, error in found.rows.items():
        if not error:
            yield f"the row of {job_id} still waits"
        elif not has_lost:
            yield f"the row of {job_id} was refused: {error}"


def arguments_are_whole(runs: list[Run]) -> Iterator[str]:
    """The code of a job gets the arguments that were given."""
    for run in runs:
        for _, what in run.effects:
            if what.startswith("garbled"):
                yield f"run {run.fence} of {run.job}: {what}"


def references_hold(store: Store, kept: bytes) -> Iterator[str]:
    """What Redis refers to is in the store, unless an operator has erased the job while its call was on its way."""
    for key in _keys_in(kept):
        if key not in store.objects and key not in store.erased:
            yield f"Redis refers to {key}, which is not in the store"


def objects_have_jobs(found: Found, kept: bytes) -> Iterator[str]:
    """An object to which nothing refers goes after the grace."""
    assert found.store is not None
    referred = set(_keys_in(kept))
    for key, (_, at_us) in sorted(found.store.objects.items()):
        age = (found.us - max(at_us, found.store.back_us)) / 1e6
        if key != IDENTITY and key not in referred and age > SWEPT_WITHIN:
            yield f"{key} is in the store, and nothing has referred to it for long: it is {age:.0f} s old"


def _keys_in(kept: bytes) -> list[str]:
    """The keys of objects in the values of Redis."""
    return [found.decode() for found in _KEY.findall(kept)]


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, Mapping):
        return b"\n".join(_bytes_of(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return b"\n".join(map(_bytes_of, value))
    return b""
