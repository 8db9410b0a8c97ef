"""`jobfleet.maintenance.cleanup`: a job that every worker knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from jobfleet.config import JobConfig, load
from jobfleet.functions.default_fleet import default_fleet, has_default_fleet, offered_settings
from jobfleet.functions.naming import CLEANUP
from jobfleet.functions.registry import JobFunction
from jobfleet.model import JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.store.calls.control import trim
from jobfleet.store.fleet import read_whole
from jobfleet.store.server.target import target_of
from jobfleet.store.sync import Store

DAY_S = 86_400.0
_FINAL = frozenset(status for status in JobStatus if status.is_final)


def cleanup(days: float | None = None, failed_days: float | None = None) -> dict[str, int]:
    """Delete dead letters and archived jobs that ended long ago, and return how many.

    Results in Redis expire by themselves. The reaper deletes the rest by the settings. Use this job for other ages, or
    to delete at a certain time of the day.

    Args:
        days: The maximal age of ended jobs in days; the default is the setting `archive_ttl`.
        failed_days: The maximal age of failed jobs and dead letters in days; the default is `days`, and without it the
            settings `archive_failed_ttl` and `dead_ttl`.
    """
    failed_days = days if failed_days is None else failed_days
    with _connected() as (context, store):
        return {
            "dead_letters": _dead_letters(context, store, failed_days),
            "archived": _archived(context.config, days, failed_days),
        }


@contextmanager
def _connected() -> Iterator[tuple[FleetContext, Store]]:
    """The default fleet, or the fleet that the worker serves if there is no default fleet."""
    if has_default_fleet():
        fleet = default_fleet()
        yield fleet.context, fleet.store
        return
    config = offered_settings() or load().config
    with closing(target_of(config)) as at:
        store = Store(
            at,
            patience=config.patience,
            connect_timeout=config.connect_timeout,
            socket_timeout=config.socket_timeout,
        )
        with closing(store):
            yield FleetContext(config), store


def _dead_letters(context: FleetContext, store: Store, days: float | None) -> int:
    config = context.config
    kept = config.dead_ttl if days is None else days * DAY_S
    seen = read_whole(store, context.keys)
    done_before, dead_before = (round(seen.now / 1000 - age * 1000) for age in (config.result_ttl, kept))
    gone = 0
    for queue, (_, lanes) in seen.queues.items():
        for lane in context.lanes_of(queue, lanes):
            call = trim(lane, done_before_ms=done_before, dead_before_ms=dead_before, dead_max=config.dead_max)
            more = True
            while more:
                _, letters, more = store.run(call)
                gone += letters
    return gone


def _archived(config: JobConfig, days: float | None, failed_days: float | None) -> int:
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
    """`cleanup` as a job function."""
    return JobFunction(cleanup, name=CLEANUP, options={})
