"""`jobfleet logs`: the log of a job."""

from __future__ import annotations

import click

from jobfleet.cli.commands.job.jobs import full_id
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import Hours, Output, plain, plain_lines, say, to_json
from jobfleet.clock import iso
from jobfleet.model.result import LogLine

COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Follow the log until the job ends.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines. [default all]")
@click.pass_obj
def logs(invocation: Invocation, id: str, follow: bool, tail: int | None) -> None:
    """Show the log of a job: lines of ctx.log and of the standard library's loggers."""
    output = invocation.output
    hours = Hours(output)
    is_silent = True
    with invocation.fleet() as fleet:
        if follow:
            fleet.store.patience = invocation.config.patience
        job_id = full_id(fleet, id)
        for line in fleet.logs(job_id, tail=tail, follow=follow):
            if output.form == "ids":
                if is_silent:
                    output.line(job_id)
            else:
                output.line(to_json(data_of(line)) if output.form == "json" else text_of(output, hours, line))
            is_silent = False
    if is_silent and output.form == "table":
        say(f"{plain(job_id)} has no log lines.")


def data_of(line: LogLine) -> dict[str, object]:
    """A line as data for JSON."""
    return {"at": iso(line.at), "level": line.level, "text": line.text, "token": line.token}


def text_of(output: Output, hours: Hours, line: LogLine) -> str:
    """A line as text: time, level, message; further lines of the message are indented."""
    head, *rest = plain_lines(line.text).split("\n")
    level = output.styled(f"{plain(line.level):<8}", COLORS.get(line.level))
    first = f"{hours.at(line.at)}  {level}  {head}".rstrip()
    return "\n".join([first, *(f"{'':<20}{each}" for each in rest)])
