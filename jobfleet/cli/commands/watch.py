"""`jobfleet watch`: progress bars on a terminal, otherwise one line per change."""

from __future__ import annotations

import click

from jobfleet.cli import fail
from jobfleet.cli.bars import Bars, Lines, View
from jobfleet.cli.commands.jobs import ids_argument, look_up
from jobfleet.cli.following import follow
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.model import JobStatus


@click.command(cls=Command)
@ids_argument
@click.pass_obj
def watch(invocation: Invocation, ids: tuple[str, ...]) -> int:
    """Watch jobs until all have ended.

    On a terminal, each job has a progress bar, and the errors of failed jobs are printed at the end. Otherwise each
    change is printed as one line.

    Exit code 1 unless all completed.
    """
    output = invocation.output
    is_drawing = output.is_terminal and output.form == "table"
    view: View = Bars(has_color=output.has_color) if is_drawing else Lines(output)
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        fleet.store.patience = invocation.config.patience
        ended = follow(fleet, jobs, view)
    for job in ended if is_drawing else ():
        if job.status is JobStatus.FAILED:
            output.line(f"{job.id} failed: {' '.join(job.error_text.split())}")
    if not is_complete:
        return fail.NOT_FOUND
    return fail.DONE if all(job.status is JobStatus.COMPLETED for job in ended) else fail.FAILED
