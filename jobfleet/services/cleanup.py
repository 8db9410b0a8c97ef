"""`jobfleet.maintenance.cleanup`: a job that every worker knows, and runs for recurring jobs alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from jobfleet.codec import open_envelope
from jobfleet.config import JobConfig, load
from jobfleet.errors import InvalidJob
from jobfleet.functions.context import JobContext
from jobfleet.functions.default_fleet import default_fleet, has_default_fleet, offered_settings
from jobfleet.functions.naming import CLEANUP
from jobfleet.functions.registry import JobFunction
from jobfleet.model import JobStatus
from jobfleet.operations import audit
from jobfleet.operations.cron.entries import entry_of
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive_blocking
from jobfleet.store.calls.control import trim
from jobfleet.store.calls.cron import entries
from jobfleet.store.fleet import read_whole
from jobfleet.store.server.target import target_of
from jobfleet.store.sync import Store

log = logging.getLogger("jobfleet.worker")
DAY_S = 86_400.0
LONGEST = 36_500
"""Days of the greatest age that a job gives."""
PARAMETERS = ("days", "failed_days")
_FINAL = frozenset(status for status in JobStatus if status.is_final)


def cleanup(days: float | None = None, failed_days: float | None = None) -> dict[str, int]:
    """Delete dead letters and archived jobs that ended long ago, and return how many.

    Results in Redis expire by themselves, and the reaper deletes the rest by the settings. Call this from a program of
    an operator for other ages; the rights of its Redis user decide.

    Args:
        days: The maximal age of ended jobs in days; the default is the setting `archive_ttl`.
        failed_days: The maximal age of failed jobs and dead letters in days; the default is `days`, and without it the
            settings `archive_failed_ttl` and `dead_ttl`.
    """
    with _connected() as (context, store):
        return _recorded(context, store, days, days if failed_days is None else failed_days, by=None)


def scheduled_cleanup(ctx: JobContext, days: float | None = None, failed_days: float | None = None) -> dict[str, int]:
    """Do the same for a recurring job, with ages that are at least those of the settings.

    Anybody who may enqueue can name this function, with any arguments. So it runs only if a recurring job has the same
    call: a producer may not write those (docs/adr/0066).

    Args:
        ctx: The context of the job.
        days: The maximal age of ended jobs in days.
        failed_days: The maximal age of failed jobs and dead letters in days.

    Raises:
        InvalidJob: No recurring job has this call, or an age is not a number of days.
    """
    with _connected() as (context, store):
        config, by = context.config, _entry_of(context, store, ctx)
        failed = days if failed_days is None else failed_days
        floors = (config.archive_ttl, max(config.dead_ttl, config.archive_failed_ttl or config.archive_ttl or 0.0))
        ages = (_raised(name, age, floor) for name, age, floor in zip(PARAMETERS, (days, failed), floors, strict=True))
        return _recorded(context, store, *ages, by=f"cron {by}")


def _entry_of(context: FleetContext, store: Store, ctx: JobContext) -> str:
    """The name of the recurring job whose call a job has."""
    for row in store.run(entries(context.keys))[1]:
        try:
            entry = entry_of(row.record)
            call = open_envelope(entry.envelope, limits=context.limits)
        except InvalidJob:  # a later version wrote it
            continue
        if entry.function == CLEANUP and (call.args, call.kwargs) == ([*ctx.job.args], dict(ctx.job.kwargs)):
            return entry.name
    raise InvalidJob(
        f"{ctx.job_id} has the call of no recurring job, so nobody with the right to has asked for this: "
        f"'jobfleet cron add NAME SCHEDULE {CLEANUP}' adds one.",
        field="function",
    )


def _raised(name: str, days: float | None, floor: float | None) -> float | None:
    """An age in days that is at least the one of the settings, in seconds."""
    if days is None:
        return None
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days <= LONGEST:
        raise InvalidJob(f"{name} is {days!r:.100}; give a number of days, from 0 to {LONGEST:,}.", field=name)
    if floor is None or days * DAY_S >= floor:
        return days
    log.warning("cleanup.raised %s from %g to %g, because the settings keep for so long", name, days, floor / DAY_S)
    return floor / DAY_S


def _recorded(
    context: FleetContext, store: Store, days: float | None, failed_days: float | None, *, by: str | None
) -> dict[str, int]:
    """Delete, and record it in the audit."""
    action = audit.Action(
        "fleet.clean", "dead letters, archive", dict(zip(PARAMETERS, (days, failed_days), strict=True))
    )
    is_audited = audit.is_audited(context, action, by)
    begun = drive_blocking(store, audit.begin(context, action, by)) if is_audited else None
    gone: dict[str, int] = {}
    try:
        gone["dead_letters"] = _dead_letters(context, store, failed_days)
        gone["archived"] = _archived(context.config, days, failed_days)
    finally:
        if begun is not None:
            is_done = "archived" in gone
            outcome = audit.outcome_of(sum(gone.values())) if is_done else audit.Outcome("error")
            drive_blocking(store, audit.end(context, begun, outcome))
    return gone


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


class _Cleanup(JobFunction[..., Any, Any]):
    """The job function. A call of it, without a job, is a call of a program."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> dict[str, int]:
        """Call `cleanup`."""
        return cleanup(*args, **kwargs)


@cache
def built_in() -> JobFunction[..., Any, Any]:
    """`cleanup` as a job function."""
    return _Cleanup(scheduled_cleanup, name=CLEANUP, options={})
