"""Poll jobs until they have ended, and show them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobfleet.cli.bars import View
from jobfleet.cli.output import say
from jobfleet.client.base import EXPLAIN_FROM, WARN_AFTER
from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, StoreUnavailable, WaitTimeout
from jobfleet.model import JobResult
from jobfleet.operations.explain.hindrances import hindrances
from jobfleet.operations.operation import drive_blocking

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet

EVERY_S = 0.1


def follow(
    fleet: Fleet, jobs: Sequence[JobResult[Any]], view: View, *, timeout: float | None = None
) -> list[JobResult[Any]]:
    """Show jobs until all have ended.

    Args:
        fleet: The fleet.
        jobs: The jobs.
        view: Shows them.
        timeout: Time limit in seconds for all of them; None for no limit.

    Returns:
        The jobs as they ended, without those whose results are not kept.

    Raises:
        WaitTimeout: A job had not ended in time.
    """
    began = monotonic()
    is_checked = False
    last = {job.id: job for job in jobs}
    with view:
        for job in jobs:
            view.show(job)
        while left := [job_id for job_id, job in last.items() if not job.status.is_final]:
            waited_for = monotonic() - began
            if waited_for >= WARN_AFTER and not is_checked:
                _report_hindrances(fleet, left)
                is_checked = True
            if timeout is not None and waited_for >= timeout:
                why = _why(fleet, left[0]) if timeout >= EXPLAIN_FROM else ""
                raise WaitTimeout(left[0], timeout, job_ids=left, why=why)
            time.sleep(EVERY_S)  # progress has no message that wakes: a view is drawn ten times per second
            for job_id, seen in zip(left, fleet.poll_many(left), strict=True):
                if seen is None:  # it ended, and its result is not kept
                    del last[job_id]
                    continue
                last[job_id] = seen
                view.show(seen)
    return list(last.values())


def waited(
    fleet: Fleet, ids: Sequence[str], view: View | None, *, timeout: float | None = None
) -> list[JobResult[Any]]:
    """Wait until all jobs have ended.

    Args:
        fleet: The fleet.
        ids: The ids of the jobs.
        view: Shows them meanwhile; None to show nothing.
        timeout: Time limit in seconds for all of them; None for no limit.

    Raises:
        JobNotFound: A job is unknown, or its result is not kept.
        WaitTimeout: A job had not ended in time.
        KeyboardInterrupt: As raised; a line says that the jobs continue.
        StoreUnavailable: Redis was away for `patience` seconds; a line says that the jobs continue.
    """
    try:
        return _ended(fleet, ids, view, timeout=timeout)
    except KeyboardInterrupt:
        say(_continues(ids))
        raise
    except StoreUnavailable:
        command = f"jobfleet wait {ids[0] if len(ids) == 1 else 'ID…'}"
        say(f"{_continues(ids)} The outage has ended only this wait, before its timeout; wait again: {command}")
        raise


def _continues(ids: Sequence[str]) -> str:
    return f"{ids[0]} continues." if len(ids) == 1 else "Jobs that have not ended continue."


def _ended(fleet: Fleet, ids: Sequence[str], view: View | None, *, timeout: float | None) -> list[JobResult[Any]]:
    if view is None:
        unseen = {job.id: job for job in fleet.as_completed(ids, timeout=timeout)}
        return [unseen[job_id] for job_id in ids]
    jobs = [fleet.poll(job_id) for job_id in ids]
    if all(job.status.is_final for job in jobs):
        return jobs
    ended = {job.id: job for job in follow(fleet, jobs, view, timeout=timeout)}
    return [ended[job_id] if job_id in ended else fleet.poll(job_id) for job_id in ids]


def _report_hindrances(fleet: Fleet, ids: Sequence[str]) -> None:
    with suppress(JobfleetError):  # a wait does not end because its warnings cannot be read
        for text in drive_blocking(fleet.store, hindrances(fleet.context, ids)):
            say(text)


def _why(fleet: Fleet, job_id: str) -> str:
    try:
        reasons = fleet.explain(job_id).reasons
    except JobfleetError:  # the time is over, whether or not this can be read
        return ""
    return reasons[0].text if reasons else ""
