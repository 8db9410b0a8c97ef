"""Repair contradictions while the fleet runs: each repair is atomic, and checks first that its cause is still there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jobfleet.operations.doctor.snapshot import Checkup, LaneSeen, take
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.store.calls import doctor
from jobfleet.store.calls.doctor import FOR_EVER, Broken
from jobfleet.store.keys import Lane


@dataclass(frozen=True, slots=True)
class Repair:
    """A contradiction in the data, and its repair.

    Attributes:
        check: The check that finds it.
        job_id: The job.
        what: What is wrong, and what the repair does; one line.
        is_done: Whether it was repaired. False if it was only looked for, or was gone when it was to be repaired.
    """

    check: str
    job_id: str
    what: str
    is_done: bool = False

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def repair(context: FleetContext, *, dry_run: bool) -> Operation[list[Repair]]:
    """Look for contradictions that can be repaired; repair them unless it is a dry run."""
    seen = yield from take(context)
    done: list[Repair] = []
    for one in seen.lanes:
        found = list(_broken(one))
        if dry_run:
            done += [_repair(broken) for broken in found]
        else:
            done += yield from _repaired(one.lane, found, seen)
    return done


def _repaired(lane: Lane, found: list[Broken], seen: Checkup) -> Operation[list[Repair]]:
    done: list[Repair] = []
    for part in batches(found, doctor.CHUNK):
        letters = value((yield [doctor.repair(lane, part, ttl_ms=round(seen.config.result_ttl * 1000))]))
        done += [replace(_repair(one), is_done=letter == "r") for one, letter in zip(part, letters, strict=True)]
    return done


def _broken(seen: LaneSeen) -> Iterator[Broken]:
    for row in seen.rows:
        if not row.wrong and row.run is None:
            yield Broken("lease", row.id)
        elif not row.wrong and not row.deadline:
            yield Broken("run", row.id)
    for key, job_id in seen.locks.left.items():
        yield Broken("key", job_id, key)
    for kept in seen.endings.kept:
        if kept.kept.left == FOR_EVER:
            yield Broken("ttl", kept.job_id)


def _repair(one: Broken) -> Repair:
    match one.kind:
        case "lease":
            what = (
                f"{one.job_id} has a lease and no run: a reaper recovers it, or the lease is deleted if it has ended."
            )
            return Repair("runs", one.job_id, what)
        case "run":
            return Repair("runs", one.job_id, f"{one.job_id} has a run and no lease: a reaper recovers it.")
        case "key":
            what = f"{one.key} is held by {one.job_id}, which is not open: the unique key is released."
            return Repair("locks", one.job_id, what)
    return Repair("lifetimes", one.job_id, f"The result of {one.job_id} has no TTL: it gets result_ttl.")
