"""`jobfleet.maintenance.cleanup`: a job that every worker knows, and runs for recurring jobs alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from jobfleet.codec import decode, open_envelope
from jobfleet.config import JobConfig, load
from jobfleet.cron.entry import CronEntry
from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import CLEANUP
from jobfleet.functions.context import JobContext
from jobfleet.functions.default_fleet import default_fleet, has_default_fleet, offered_settings
from jobfleet.functions.registry import JobFunction
from jobfleet.model import JobStatus
from jobfleet.operations import audit
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive_blocking
from jobfleet.store.calls.control import trim
from jobfleet.store.calls.cron import entries
from jobfleet.store.fleet import read_whole
from jobfleet.store.sync import Store
from jobfleet.store.target import target_of

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
    failed_days = days if failed_days is None else failed_days
    for name, age in zip(PARAMETERS, (days, failed_days), strict=True):
        if age is not None and (isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age <= LONGEST):
            raise InvalidJob(f"{name} is {age!r:.100}; give a number of days, from 0 to {LONGEST:,}.", field=name)
    with _connected() as (context, store):
        by = f"cron {_entry_of(context, store, ctx)}"
        return _recorded(context, store, days, failed_days, by=by)


def _entry_of(context: FleetContext, store: Store, ctx: JobContext) -> str:
    """The name of the recurring job whose call a job has."""
    for row in store.run(entries(context.keys))[1]:
        try:
            entry = CronEntry.load(decode(row.record))
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


def _recorded(
    context: FleetContext, store: Store, days: float | None, failed_days: float | None, *, by: str | None
) -> dict[str, int]:
    """Delete, and record it in the audit; `by` is the recurring job, whose ages are at least those of the settings."""
    action = audit.Action(
        "fleet.clean", "dead letters, archive", dict(zip(PARAMETERS, (days, failed_days), strict=True))
    )
    is_audited = audit.is_audited(context, action, by)
    begun = drive_blocking(store, audit.begin(context, action, by)) if is_audited else None
    gone: dict[str, int] = {}
    try:
        gone["dead_letters"] = _dead_letters(context, store, failed_days, is_bounded=by is not None)
        gone["archived"] = _archived(context.config, days, failed_days, is_bounded=by is not None)
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


def _kept(setting: float | None, days: float | None, *, is_bounded: bool) -> float | None:
    """Seconds for which to keep: the age that is asked for, but at least the setting; None to keep for ever."""
    if days is None:
        return setting
    return days * DAY_S if setting is None or not is_bounded else max(days * DAY_S, setting)


def _dead_letters(context: FleetContext, store: Store, days: float | None, *, is_bounded: bool) -> int:
    config = context.config
    kept = _kept(config.dead_ttl, days, is_bounded=is_bounded) or 0.0
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


def _archived(config: JobConfig, days: float | None, failed_days: float | None, *, is_bounded: bool) -> int:
    if config.archive_url is None:
        return 0
    kept = _kept(config.archive_ttl, days, is_bounded=is_bounded)
    least = config.archive_ttl if config.archive_failed_ttl is None else config.archive_failed_ttl
    failed = _kept(least, failed_days, is_bounded=is_bounded)
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

    is_for_producers = False

    def __call__(self, /, *args: Any, **kwargs: Any) -> dict[str, int]:
        """Call `cleanup`."""
        return cleanup(*args, **kwargs)


@cache
def built_in() -> JobFunction[..., Any, Any]:
    """`cleanup` as a job function."""
    return _Cleanup(scheduled_cleanup, name=CLEANUP, options={})
