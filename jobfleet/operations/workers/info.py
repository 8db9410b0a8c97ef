"""What is known of the workers."""

from __future__ import annotations

from collections.abc import Sequence
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
    """A worker, as it said of itself at its last beat.

    Attributes:
        id: Its id.
        host: The machine.
        pid: Its process.
        queues: What it serves.
        slots: How many jobs it runs at once, all children together.
        running: How many it runs.
        children: How many children claim, or would if it was not quiet.
        leaving: How many only finish what they run, their successors being there.
        hung: How many hang: their event loop does not turn.
        started: Since when.
        beat: When it was last heard of.
        is_gone: Whether that is too long ago.
        state: ``running``, ``quiet`` or ``stopping``.
        state_by: Who asked for that state from afar; empty when nobody did.
        obeyed: The nonce of the last command it has obeyed.
        version: Its version of jobfleet.
        scale_max: Most processes that it takes when it is scaled from afar; 0 where it does not say.
        undecorated: The modules whose public functions it runs without their being registered.
        cpus: How many processors it may use, by affinity and cgroup; 0 where a worker of an older version does not say.
        kinds: The kinds of its children, by what they know and serve; none of a worker of an earlier version.
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
    kinds: Sequence[str] = ()


def workers(context: FleetContext) -> Operation[list[WorkerInfo]]:
    """The workers that were heard of lately."""
    return workers_of(context, value((yield (context.fleet_call(),))))


def workers_of(context: FleetContext, fleet: FleetSeen) -> list[WorkerInfo]:
    """The workers among what was read of the fleet."""
    gone_us = round(context.config.gone_after * 1_000_000)
    return [_worker_info(row.id, row.beat, row.account, fleet.now, gone_us) for row in fleet.workers]


def _worker_info(worker: str, beat: int, account: bytes, now: int, gone_us: int) -> WorkerInfo:
    try:
        said = decode(account) if account else {}
    except EncodingError:
        said = {}
    fields = said if isinstance(said, dict) else {}
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
        scale_max=int(fields.get("scale_max", 0)),
        undecorated=_texts(fields.get("undecorated")),
        cpus=int(fields.get("cpus", 0)),
        kinds=_texts(fields.get("kinds")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
