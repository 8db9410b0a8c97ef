"""`jobfleet watch`: progress bars on a terminal, otherwise one line per change."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, Self

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.jobs import ids_argument, look_up
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import Output, plain, to_json
from jobfleet.cli.schema import job_data
from jobfleet.cli.view import COLORS, note_of, percent
from jobfleet.clock import span
from jobfleet.errors import ConfigError
from jobfleet.model import JobResult, JobStatus

EVERY_S = 0.1


class View(AbstractContextManager["View"], Protocol):
    """Shows jobs while they change."""

    def show(self, job: JobResult[Any]) -> None:
        """Show the current state of a job."""


class Lines(AbstractContextManager["Lines"]):
    """One line per change: text, JSON, or the ids of ended jobs."""

    def __init__(self, output: Output) -> None:
        self._output = output
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
            status = self._output.styled(f"{job.status.value:<9}", COLORS.get(job.status))
            note = f"{percent(job):>5}  {plain(note_of(job))}".rstrip()
            self._output.line(f"{datetime.now().astimezone():%H:%M:%S}  {plain(job.id)}  {status}  {note}")

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""


class Bars(AbstractContextManager["Bars"]):
    """Live bars, drawn by rich.

    Raises:
        ConfigError: rich is not installed.
    """

    def __init__(self, *, has_color: bool) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column
        except ImportError:
            raise ConfigError("The bars need rich: pip install 'jobfleet[cli]', or pipe the output.") from None
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._progress = Progress(
            TextColumn("{task.fields[label]}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[percent]:>5}", markup=False),
            TextColumn("[{task.fields[color]}]{task.fields[status]:<9}"),
            TextColumn("{task.fields[took]:>8}", markup=False),
            TextColumn("{task.fields[note]}", markup=False, table_column=rest),
            console=Console(no_color=not has_color, highlight=False),
            expand=True,
        )
        self._tasks: dict[str, Any] = {}

    def show(self, job: JobResult[Any]) -> None:
        """Draw the bar of a job in its current state."""
        is_pulsing = job.status is JobStatus.RUNNING and not job.progress
        fields: dict[str, Any] = {
            "label": f"{plain(job.name)} {job.id[-6:]}",
            "percent": "" if is_pulsing else percent(job),
            "color": COLORS.get(job.status, "default"),
            "status": job.status.value,
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


@click.command(cls=Command)
@ids_argument
@click.pass_obj
def watch(invocation: Invocation, ids: tuple[str, ...]) -> int:
    """Watch jobs until all have ended.

    On a terminal, each job has a progress bar. Otherwise each change is printed as one line.

    Exit code 1 unless all completed.
    """
    output = invocation.output
    is_drawing = output.is_terminal and output.form == "table"
    view: View = Bars(has_color=output.has_color) if is_drawing else Lines(output)
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        fleet.store.patience = invocation.config.patience
        last = {job.id: job for job in jobs}
        with view:
            for job in jobs:
                view.show(job)
            while left := [job.id for job in last.values() if not job.status.is_final]:
                time.sleep(EVERY_S)
                for job_id, seen in zip(left, fleet.poll_many(left), strict=True):
                    if seen is None:  # it ended, and its result is not kept
                        del last[job_id]
                        continue
                    last[job_id] = seen
                    view.show(seen)
    if not is_complete:
        return fail.NOT_FOUND
    return fail.DONE if all(job.status is JobStatus.COMPLETED for job in last.values()) else fail.FAILED
