"""Follow jobs until they have ended: progress bars on a terminal, otherwise one line per change."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from jobfleet.cli.output import Hours, Output, clip, plain, say, to_json
from jobfleet.cli.view import job_data, note_of, percent, status_cell
from jobfleet.client.base import EXPLAIN_FROM, WARN_AFTER
from jobfleet.clock import monotonic, span
from jobfleet.errors import ConfigError, JobfleetError, StoreUnavailable, WaitTimeout
from jobfleet.model import JobResult, JobStatus
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


ID_DIGITS = 6
"""How many of the last digits of an id are shown beside a bar."""
LABEL = (12, 32)
BAR = (8, 28)
"""The least and the largest width of a label and of a bar, in columns: a quarter and a sixth of the terminal."""


class View(AbstractContextManager["View"], Protocol):
    """Shows jobs while they change."""

    def show(self, job: JobResult[Any]) -> None:
        """Show the current state of a job."""


class Lines(AbstractContextManager["Lines"]):
    """One line per change: text, JSON, or the ids of ended jobs."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._hours = Hours(output)
        self._seen: dict[str, tuple[object, ...]] = {}

    def show(self, job: JobResult[Any]) -> None:
        """Print a job if it has changed."""
        state = (job.status, job.attempt, job.progress, job.progress_message, job.cancel_requested_by)
        if self._seen.get(job.id) == state:
            return
        self._seen[job.id] = state
        if self._output.form == "json":
            self._output.line(to_json(job_data(job)))
        elif self._output.form == "ids":
            if job.status.is_final:
                self._output.line(job.id)
        else:
            cell = status_cell(job)
            status = self._output.styled(f"{cell.text:<9}", cell.color)
            note = f"{percent(job):>5}  {plain(note_of(job))}".rstrip()
            self._output.line(f"{self._hours.at(datetime.now(UTC))}  {plain(job.id)}  {status}  {note}")

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""


class Bars(AbstractContextManager["Bars"]):
    """Live bars, drawn by rich. Each has one line, whatever the width of the terminal.

    Args:
        has_color: Whether there are colours.
        on_stderr: Draw on stderr and remove the bars at the end, for a command that prints its result to stdout.

    Raises:
        ConfigError: rich is not installed.
    """

    def __init__(self, *, has_color: bool, on_stderr: bool = False) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column
        except ImportError:
            raise ConfigError("The bars need rich: pip install 'jobfleet[cli]', or pipe the output.") from None
        console = Console(no_color=not has_color, highlight=False, stderr=on_stderr)
        self._room = _share(console.width, 4, LABEL)
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._progress = Progress(
            TextColumn("{task.fields[label]}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=_share(console.width, 6, BAR)),
            TextColumn("{task.fields[percent]:>5}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("[{task.fields[color]}]{task.fields[status]:<9}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[took]:>8}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=rest),
            console=console,
            expand=True,
            transient=on_stderr,
        )
        self._tasks: dict[str, Any] = {}

    def show(self, job: JobResult[Any]) -> None:
        """Draw the bar of a job in its current state."""
        is_pulsing = job.status is JobStatus.RUNNING and not job.progress
        cell = status_cell(job)
        name = clip(plain(job.name), self._room - ID_DIGITS - 1)
        fields: dict[str, Any] = {
            "label": f"{name} {job.id[-ID_DIGITS:]}",
            "percent": "" if is_pulsing else percent(job),
            "color": cell.color or "default",
            "status": cell.text,
            "took": span(job.duration.total_seconds()) if job.duration is not None else "",
            "note": plain(note_of(job)),
        }
        if job.id not in self._tasks:
            self._tasks[job.id] = self._progress.add_task("", total=1.0, **fields)
        self._progress.update(
            self._tasks[job.id],
            total=None if is_pulsing else 1.0,
            completed=min(1.0, job.progress),
            **fields,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _share(columns: int, part: int, bounds: tuple[int, int]) -> int:
    least, most = bounds
    return max(least, min(most, columns // part))


def while_waiting(output: Output) -> View | None:
    """The bars of a command that waits and then prints a result; None if no person watches, or rich is missing."""
    is_watched = output.form == "table" and sys.stderr.isatty() and os.environ.get("TERM") not in (None, "dumb")
    if not is_watched:
        return None
    try:
        return Bars(has_color=output.has_color, on_stderr=True)
    except ConfigError:  # the command waits without bars
        return None
