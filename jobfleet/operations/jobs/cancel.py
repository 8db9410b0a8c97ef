"""Cancel jobs by id."""

from __future__ import annotations

from collections.abc import Iterable

from jobfleet.errors import JobNotFound
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import TOMBSTONE_MS, Lane
from jobfleet.store.records import has_id


def cancel(context: FleetContext, job_id: str, by: str | None) -> Operation[bool]:
    """Cancel a waiting job, or ask a running job to stop; False when the job has ended.

    Raises:
        JobNotFound: No job with this id is known.
    """
    lane = context.keys.lane_of(job_id)
    letter = value((yield (control.cancel(context.keys, lane, (job_id,), by=by, ttl_ms=TOMBSTONE_MS),)))
    if letter == "u":
        raise JobNotFound(job_id)
    return bool(letter != "f")


def cancel_ids(context: FleetContext, ids: Iterable[str], by: str | None) -> Operation[int]:
    """Cancel jobs by id in bounded batches; return how many were cancelled or asked to stop."""
    by_lane: dict[Lane, list[str]] = {}
    for job_id in ids:
        by_lane.setdefault(context.keys.lane_of(job_id), []).append(job_id)
    count = 0
    for lane, members in by_lane.items():
        for part in batches(members, control.CHUNK):
            letters = value((yield (control.cancel(context.keys, lane, part, by=by, ttl_ms=TOMBSTONE_MS),)))
            count += sum(letter in "cr" for letter in letters)
    return count


def purge_queue(context: FleetContext, queue: str, by: str | None) -> Operation[int]:
    """Cancel every waiting job of a queue in bounded batches; return how many there were.

    Raises:
        ConfigError: The queue does not exist.
    """
    every = yield from lanes(context, queue)
    count = 0
    for lane in every:
        for section in reversed(inspect.SECTIONS):  # a head of a sequence last: its end frees only the next job
            skip = 0
            while True:
                _, rows = value((yield (inspect.waiting(lane, section, skip=skip),)))
                if not rows:
                    break
                ids = [row.id for row in rows if row.id.startswith(lane.id_prefix) and has_id(row)]
                letters = ""
                if ids:
                    letters = value((yield (control.cancel(context.keys, lane, ids, by=by, ttl_ms=TOMBSTONE_MS),)))
                cancelled = letters.count("c")
                count += cancelled
                skip += len(rows) - cancelled  # pass by a row that stays, such as one that is not a job
    return count
