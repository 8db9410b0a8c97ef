"""`jobfleet signal`."""

from __future__ import annotations

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.job.enqueue import read_argument
from jobfleet.cli.commands.job.jobs import full_id
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import Cell, plain, say


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.argument("name", metavar="NAME")
@click.argument("value", metavar="[JSON]", required=False)
@by_option
@click.pass_obj
def signal(invocation: Invocation, id: str, name: str, value: str | None, by: str | None) -> int:
    """Send a signal to a job that waits for it, or will: ctx.wait_for(NAME) returns the value.

    A value that is not JSON is a text; without a value it is null. The first signal of a name wins. Exit code 1 if
    the job has ended or another such signal came first, 3 if there is no such job.
    """
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)
        was_sent = fleet.signal(job_id, name, None if value is None else read_argument(value), by=by)
    if not was_sent:
        say(f"{job_id} has ended, or another signal {plain(name)!r} came first.")
    invocation.output.show(
        data={"id": job_id, "signal": name, "sent": was_sent},
        ids=[job_id] if was_sent else [],
        text=f"{job_id}  {invocation.output.styled(*Cell('signalled', 'green'))}  {plain(name)}" if was_sent else "",
    )
    return fail.DONE if was_sent else fail.FAILED
