"""`jobfleet.maintenance.cleanup`: a job that every worker knows."""

from __future__ import annotations

from functools import cache
from typing import Any

from jobfleet.client.default import default_fleet
from jobfleet.client.sync import Fleet
from jobfleet.functions.naming import CLEANUP
from jobfleet.functions.registry import JobFunction
from jobfleet.model import JobStatus
from jobfleet.store.calls.control import trim
from jobfleet.store.fleet import read_whole

DAY_S = 86_400.0
_FINAL = frozenset(status for status in JobStatus if status.is_final)


def cleanup(days: float | None = None, failed_days: float | None = None) -> dict[str, int]:
    """Let go of dead letters and archived jobs that ended long ago; answer how many.

    Results in Redis go by themselves. The reaper does the same by the settings; this is for other ages, or another
    time of the day.

    Args:
        days: For how many days what has ended is kept; by default as the settings say.
        failed_days: For how many days what has failed is kept; by default as `days`, else as the settings say.
    """
    fleet = default_fleet()
    failed_days = days if failed_days is None else failed_days
    return {"dead_letters": _dead_letters(fleet, failed_days), "archived": _archived(fleet, days, failed_days)}


def _dead_letters(fleet: Fleet, days: float | None) -> int:
    config = fleet.config
    kept = config.dead_ttl if days is None else days * DAY_S
    seen = read_whole(fleet.store, fleet.context.keys)
    done_before, dead_before = (round(seen.now / 1000 - age * 1000) for age in (config.result_ttl, kept))
    gone = 0
    for queue, (_, lanes) in seen.queues.items():
        for lane in fleet.context.lanes_of(queue, lanes):
            call = trim(lane, done_before_ms=done_before, dead_before_ms=dead_before, dead_max=config.dead_max)
            more = True
            while more:
                _, letters, more = fleet.store.run(call)
                gone += letters
    return gone


def _archived(fleet: Fleet, days: float | None, failed_days: float | None) -> int:
    config = fleet.config
    if config.archive_url is None:
        return 0
    kept = config.archive_ttl if days is None else days * DAY_S
    failed = failed_days * DAY_S if failed_days is not None else config.archive_failed_ttl
    failed = kept if failed is None else failed
    gone = 0
    from jobfleet.archive import JobRepository

    with JobRepository(config.archive_url, namespace=config.namespace) as repository:
        if kept is not None:
            gone += repository.prune(kept, status=_FINAL - {JobStatus.FAILED})
        if failed is not None:
            gone += repository.prune(failed, status={JobStatus.FAILED})
    return gone


@cache
def built_in() -> JobFunction[..., Any, Any]:
    """`cleanup`, as workers find it."""
    return JobFunction(cleanup, name=CLEANUP, options={})
