"""List the workers of a fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobfleet.codec import decode
from jobfleet.errors import EncodingError
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import moment
from jobfleet.store.records import FleetSeen
from jobfleet.store.rows import number_of


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
    return WorkerInfo(
        id=worker,
        host=str(fields.get("host", "")),
        pid=number_of(fields.get("pid", 0)),
        queues=tuple(str(name) for name in queues) if isinstance(queues, list | tuple) else (),
        slots=number_of(fields.get("slots", 0)),
        running=number_of(fields.get("running", 0)),
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
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
