"""`jobfleet stream`: the output stream of a job."""

from __future__ import annotations

import click

from jobfleet.cli.commands.job.jobs import full_id
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import Output, count, harmless, plain, say, to_json
from jobfleet.cli.schema import chunk_data, jsonable
from jobfleet.model.result import Chunk


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Follow the stream until the job ends.")
@click.option("--tail", type=click.IntRange(1), metavar="N", help="Begin with the last N chunks. [default all]")
@click.option("--after", metavar="POSITION", help="Begin after this position of a chunk; -o json shows positions.")
@click.pass_obj
def stream(invocation: Invocation, id: str, follow: bool, tail: int | None, after: str | None) -> None:
    """Print what a job emits with ctx.emit: text and bytes as they are, other data as a line of JSON each.

    A terminal gets control characters as escapes.
    """
    output, last = invocation.output, None
    with invocation.fleet() as fleet:
        if follow:
            fleet.store.patience = invocation.config.patience
        job_id = full_id(fleet, id)
        for chunk in fleet.stream(job_id, after, tail=tail, follow=follow):
            if output.form == "json":
                output.line(to_json(chunk_data(chunk)))
            elif output.form == "ids":
                if last is None:
                    output.line(job_id)
            else:
                _write(output, chunk)
            last = chunk
    if output.form != "table":
        return
    if last is None:
        say(f"{plain(job_id)} has no output.")
    elif output.is_terminal and isinstance(last.value, str | bytes):
        click.echo()


def _write(output: Output, chunk: Chunk) -> None:
    if chunk.dropped:
        say(f"… {count(chunk.dropped, 'chunk')} dropped")
    if chunk.is_restart:
        say("The job runs again; what follows is the output of another run.")
    value = chunk.value
    if not isinstance(value, str | bytes):
        output.line(to_json(jsonable(value)))
    elif not output.is_terminal:
        click.echo(value, nl=False)
    else:
        click.echo(harmless(value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")), nl=False)
