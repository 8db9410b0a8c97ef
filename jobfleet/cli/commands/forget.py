"""`jobfleet forget`: erase one ended job."""

from __future__ import annotations

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.jobs import full_id
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option, settings, yes_option
from jobfleet.cli.output import agreed, say
from jobfleet.errors import InvalidJob, JobNotFound


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@by_option
@yes_option
@settings("archive_url")
@click.pass_obj
def forget(invocation: Invocation, id: str, by: str | None, yes: bool) -> int:
    """Erase an ended job: its result, call, log, dead letter, indexes and archived rows.

    Asks first. The journal keeps the id, the time and the author. Exit code 1 if the job has not ended, or if other
    jobs wait for it; 3 if nothing is known about it; 4 if Redis or the archive does not answer: then repeat the
    command.
    """
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)
        if not agreed(f"Erase {job_id} permanently?", yes=yes):
            return fail.FAILED
        try:
            was_known = fleet.forget(job_id, by=by)
        except InvalidJob as error:
            say(str(error))
            return fail.FAILED
    if not was_known:
        say(str(JobNotFound(job_id)))
    done = [job_id] if was_known else []
    invocation.output.show(data={"forgotten": done}, ids=done, text=f"Erased {job_id}." if was_known else "")
    return fail.DONE if was_known else fail.NOT_FOUND
