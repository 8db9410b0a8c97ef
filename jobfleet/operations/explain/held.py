"""Find the jobs whose code may block the event loop of a child that hangs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from jobfleet.codec import header_or_empty
from jobfleet.errors import JobfleetError
from jobfleet.functions.manifest import read_run_in
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.workers.info import WorkerInfo
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Lane
from jobfleet.store.records import FleetSeen, InRun, Running

Held = Mapping[str, tuple[str, ...]]
"""By the id of a child that hangs: the ids of its jobs that may block its event loop, the first claimed one first.

A child has none if not all of its jobs were found, because the one that blocks may be among the others.
"""

LANES_READ = 64
"""Most lanes whose running jobs are read."""
ROWS_READ = 500
"""Running jobs that a page has, without their envelopes."""
PAGES_READ = 20
"""Most pages of a lane: 10,000 running jobs."""
HUNG = "hung"


def held_by_hung(context: FleetContext, queue: str, workers: Sequence[WorkerInfo]) -> Operation[Held]:
    """Read which jobs may block the children that hang at the live workers of a queue; nothing is read if none hangs.

    Args:
        context: The context of the fleet.
        queue: The queue. Of the other queues of these workers, as many are read as have 64 lanes together.
        workers: The workers whose heartbeat is remembered.
    """
    serving = [one for one in workers if not one.is_gone and queue in one.queues]
    hung = {child.id: (one, child) for one in serving for child in one.processes if child.state == HUNG}
    if not hung:
        return {}
    known: FleetSeen = value((yield (inspect.fleet(context.keys),)))  # lists the queues, unless there are very many
    names = dict.fromkeys([queue, *(name for one, _ in hung.values() for name in one.queues)])
    lanes = [lane for name in names for lane in context.lanes_of(name, known.queues.get(name, (1, 1))[1])]
    held: dict[str, dict[str, Running]] = {child: {} for child in hung}
    is_whole = (yield from _read(lanes[:LANES_READ], held)) and len(lanes) <= LANES_READ
    found = {child: rows for child, rows in held.items() if is_whole or len(rows) >= hung[child][1].running}
    on_loop = yield from _on_loop(context, [job_id for rows in found.values() for job_id in rows], known.functions)
    return {child: _suspects(found.get(child, {}), on_loop) for child in hung}


def _read(lanes: Sequence[Lane], held: Mapping[str, dict[str, Running]]) -> Operation[bool]:
    """Add the runs of some lanes to those of their children; return whether all were seen.

    Of a lane with several pages this is not certain: a lease that is renewed between two reads moves in the listing.
    """
    left, is_whole = list(lanes), True
    for page in range(PAGES_READ):
        answers = yield tuple(inspect.running(lane, skip=page * ROWS_READ, limit=ROWS_READ, bare=True) for lane in left)
        full = []
        for lane, answer in zip(left, answers, strict=True):
            if isinstance(answer, JobfleetError):  # this Redis user may not read that queue: its jobs are not named
                is_whole = False
                continue
            for row in answer[1]:
                if row.run.child in held and not row.wrong:
                    held[row.run.child][row.id] = row
            if len(answer[1]) == ROWS_READ:
                full.append(lane)
        if not full:
            return is_whole
        left, is_whole = full, False
    return False


def _on_loop(context: FleetContext, ids: Sequence[str], functions: Mapping[str, bytes]) -> Operation[set[str]]:
    """Which running jobs have a function that runs on the event loop, or is not known."""
    by_lane: dict[Lane, list[str]] = {}
    for job_id in ids:
        by_lane.setdefault(context.keys.lane_of(job_id), []).append(job_id)
    parts = [(lane, part) for lane, mine in by_lane.items() for part in batches(mine, inspect.CHUNK)]
    if not parts:
        return set()
    answers = yield tuple(inspect.stored_status(lane, part) for lane, part in parts)
    return {
        job_id
        for (_, part), answer in zip(parts, answers, strict=True)
        if not isinstance(answer, JobfleetError)
        for job_id, state in zip(part, answer[1], strict=True)
        if isinstance(state, InRun) and _runs_on_loop(state, functions)
    }


def _suspects(rows: Mapping[str, Running], on_loop: Container[str]) -> tuple[str, ...]:
    """The jobs that run on the event loop; all of them if no function is known to."""
    ids = sorted(rows, key=lambda job_id: (rows[job_id].run.claimed, job_id))
    return tuple(job_id for job_id in ids if job_id in on_loop) or tuple(ids)


def _runs_on_loop(state: InRun, functions: Mapping[str, bytes]) -> bool:
    record = functions.get(str(header_or_empty(state.envelope).get("function", "")))
    return record is None or read_run_in(record) in {"async", ""}
