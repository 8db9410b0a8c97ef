"""List the workers of a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

from jobfleet.codec import decode
from jobfleet.errors import EncodingError
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import moment
from jobfleet.store.records import FleetSeen
from jobfleet.store.rows import number_of

CHILD_FIELDS = 7
"""The fields of a child in a heartbeat. Later versions add some: the next one is how long it hangs, in seconds."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A child of a worker, as the last heartbeat of the worker describes it.

    Attributes:
        id: Its id, which its jobs have as `worker`.
        pid: Its process id.
        state: ``loading``, ``running``, ``draining``, ``hung`` or ``frozen``.
        running: How many jobs it runs.
        slots: How many jobs it runs at once.
        busy: The share of its slots that are in use; None if it has no slots.
        memory: Its resident memory in bytes; None if it is not known. macOS shows only the peak.
        cpu: The processor time that it takes, in seconds per second; None if it is not known yet.
        hung_for: Seconds for which its event loop had not turned at the last heartbeat, if it hangs; 0 if it does not,
            or the worker has an older version.
    """

    id: str
    pid: int
    state: str
    running: int
    slots: int
    busy: float | None
    memory: int | None
    cpu: float | None
    hung_for: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as its last heartbeat describes it.

    Attributes:
        id: The id of the worker.
        host: The name of its machine.
        pid: The process id of its supervisor.
        queues: The queues that it serves.
        slots: How many jobs all its children together run at once.
        running: How many jobs it runs.
        children: How many children claim jobs, or would claim them if the worker was not quiet.
        leaving: How many children only finish their jobs, because their successors have started.
        hung: How many children hang, because their event loop does not turn.
        started: When it started.
        beat: The time of its last heartbeat.
        is_gone: Whether its last heartbeat is older than the setting `gone_after`.
        state: ``running``, ``quiet`` or ``stopping``.
        state_by: Who asked for that state by a remote command; empty when nobody did.
        obeyed: The nonce of the last command that it has executed.
        version: Its version of jobfleet.
        scale_max: The most processes that a remote ``scale`` may ask for; 0 when the worker does not report it.
        undecorated: The modules whose public functions it runs although they are not registered.
        cpus: How many processors it may use, by affinity and cgroup; 0 for a worker of an older version.
        ahead: Seconds by which the clock of its machine was ahead of Redis's when the last heartbeat arrived, less the
            time of its way; negative if it was behind. 0 for a worker of an older version.
        kinds: The kinds of its children; children of one kind know the same functions and serve the same queues.
            Empty for a worker of an older version.
        payloads: The identity of the payload store that it reads; ``empty`` if nothing was written to it, ``away: …``
            if it cannot be read, ``pending`` before the first look, and empty for no store.
        busy: The share of its slots that are in use; None if it has no slots.
        memory: The resident memory of its supervisor and children in bytes; None for a worker of an older version.
            macOS shows only the peak. Processes of isolated jobs do not count.
        cpu: The processor time that they take, in seconds per second; None if it is not known yet.
        processes: Its children; empty for a worker of an older version.
        chaos: The share of its jobs that lose their process on purpose (``--chaos``); 0 for a worker that injects no
            faults.
    """

    id: str
    host: str = ""
    pid: int = 0
    queues: Sequence[str] = ()
    slots: int = 0
    running: int = 0
    children: int = 0
    leaving: int = 0
    hung: int = 0
    started: datetime | None = None
    beat: datetime | None = None
    is_gone: bool = False
    state: str = ""
    state_by: str = ""
    obeyed: str = ""
    version: str = ""
    scale_max: int = 0
    undecorated: Sequence[str] = ()
    cpus: int = 0
    ahead: float = 0.0
    kinds: Sequence[str] = ()
    payloads: str = ""
    busy: float | None = None
    memory: int | None = None
    cpu: float | None = None
    processes: Sequence[ChildInfo] = ()
    chaos: float = 0.0


def workers(context: FleetContext) -> Operation[list[WorkerInfo]]:
    """List the workers whose heartbeat is remembered."""
    return workers_of(context, value((yield (context.fleet_call(),))))


def workers_of(context: FleetContext, fleet: FleetSeen) -> list[WorkerInfo]:
    """Convert the workers of a read of the fleet."""
    gone_us = round(context.config.gone_after * 1_000_000)
    return [_worker_info(row.id, row.beat, row.account, fleet.now, gone_us) for row in fleet.workers]


def runs_undecorated(workers: Iterable[WorkerInfo], function: str) -> bool:
    """Whether a live worker runs the public functions of the module of a function, although they are not registered."""
    module = function.rpartition(".")[0]
    return any(module in worker.undecorated for worker in workers if not worker.is_gone)


def _worker_info(worker: str, beat: int, account: bytes, now: int, gone_us: int) -> WorkerInfo:
    try:
        record = decode(account) if account else {}
    except EncodingError:
        record = {}
    fields = record if isinstance(record, dict) else {}
    queues = fields.get("queues", ())
    running, slots = number_of(fields.get("running", 0)), number_of(fields.get("slots", 0))
    return WorkerInfo(
        id=worker,
        host=str(fields.get("host", "")),
        pid=number_of(fields.get("pid", 0)),
        queues=tuple(str(name) for name in queues) if isinstance(queues, list | tuple) else (),
        slots=slots,
        running=running,
        children=number_of(fields.get("children", 0)),
        leaving=number_of(fields.get("leaving", 0)),
        hung=number_of(fields.get("hung", 0)),
        started=moment(number_of(fields.get("started", 0))),
        beat=moment(beat),
        is_gone=now - beat > gone_us,
        state=str(fields.get("state", "")),
        state_by=str(fields.get("state_by", "")),
        obeyed=str(fields.get("obeyed", "")),
        version=str(fields.get("version", "")),
        scale_max=number_of(fields.get("scale_max", 0)),
        undecorated=_texts(fields.get("undecorated")),
        cpus=number_of(fields.get("cpus", 0)),
        ahead=(clock - beat) / 1e6 if (clock := number_of(fields.get("clock", 0))) else 0.0,
        kinds=_texts(fields.get("kinds")),
        payloads=str(fields.get("payloads", "")),
        busy=_share(running, slots),
        memory=_memory(fields.get("memory")),
        cpu=_seconds(fields.get("cpu")),
        processes=tuple(_children(fields.get("processes"))),
        chaos=_seconds(fields.get("chaos")) or 0.0,
    )


def _children(rows: object) -> Iterator[ChildInfo]:
    """Read the rows of the children; one that cannot be read is left out."""
    for row in rows if isinstance(rows, list | tuple) else ():
        if isinstance(row, list | tuple) and len(row) >= CHILD_FIELDS:
            child, pid, state, running, slots, memory, cpu = row[:CHILD_FIELDS]
            jobs, places = number_of(running), number_of(slots)
            share = _share(jobs, places)
            still = _seconds(row[CHILD_FIELDS]) if len(row) > CHILD_FIELDS else None
            load = share, _memory(memory), _seconds(cpu)
            yield ChildInfo(str(child), number_of(pid), str(state), jobs, places, *load, hung_for=still or 0.0)


def _share(running: int, slots: int) -> float | None:
    return round(running / slots, 3) if slots > 0 else None


def _memory(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < inf else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
