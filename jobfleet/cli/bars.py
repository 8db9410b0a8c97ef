"""Views of jobs while they change: progress bars on a terminal, otherwise one line per change."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from jobfleet.cli.output import Hours, Output, clip, plain, to_json
from jobfleet.cli.schema import job_data
from jobfleet.cli.view import note_of, percent, status_cell
from jobfleet.clock import span
from jobfleet.errors import ConfigError
from jobfleet.model import JobResult, JobStatus

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
