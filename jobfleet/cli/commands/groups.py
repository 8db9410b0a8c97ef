"""`jobfleet groups`: groups whose jobs have a strict order."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group, by_option
from jobfleet.cli.output import Cell, Column, count, say
from jobfleet.cli.schema import sequence_data
from jobfleet.clock import local

if TYPE_CHECKING:
    from jobfleet.model.limits import SequenceInfo

COLORS = {"open": "green", "parked": "yellow", "failing": "red"}
name_argument = click.argument("name", metavar="GROUP")
queue_option = click.option(
    "--queue", metavar="QUEUE", help="Its queue, if several queues have a sequence of this name."
)


@click.group(cls=Group)
def groups() -> None:
    """List strict sequences: groups whose jobs run one at a time, in order."""


@groups.command("ls")
@click.argument("queue", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, metavar="N", help="Sequences at most. [1000]")
@click.pass_obj
def ls(invocation: Invocation, queue: str | None, limit: int) -> None:
    """List the sequences of a queue, or of all queues, with their heads."""
    with invocation.fleet() as fleet:
        every = fleet.groups(queue, limit=limit)
    if not every and invocation.form == "table":
        say("No strict sequence has open jobs or is parked.")
        return
    output = invocation.output
    columns: list[Column | str] = [
        "QUEUE", Column("GROUP", is_elastic=True), "STATE", "HEAD", "STATUS", Column("WAITING", True),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = [
        [one.queue, one.group, Cell(one.state, COLORS[one.state]), one.head, _status(one), f"{one.waiting:,}"]
        for one in every
    ]
    data, ids = [sequence_data(one) for one in every], [f"{one.queue}:{one.group}" for one in every]
    output.show(data=data, ids=ids, text=output.table(columns, rows))


@groups.command()
@name_argument
@queue_option
@click.pass_obj
def show(invocation: Invocation, name: str, queue: str | None) -> None:
    """Show a sequence: its head, and the next jobs in order."""
    with invocation.fleet() as fleet:
        info = fleet.groups.show(name, queue=queue)
    invocation.output.show(data=sequence_data(info), ids=[info.head, *info.behind], text="\n".join(_lines(info)))


def _status(info: SequenceInfo) -> str:
    return f"signal {info.signal}" if info.signal else str(info.status or "-")


def _lines(info: SequenceInfo) -> list[str]:
    more = info.waiting - len(info.behind)
    due = f", due at {local(info.due)}" if info.due is not None else ""
    due = f", waits for signal {info.signal} until {local(info.due)}" if info.signal and info.due else due
    lines = [
        f"{info.group} of {info.queue} is {info.state}; {count(info.waiting, 'job')} behind the head.",
        f"head  {info.head}  {info.status or 'forgotten'}{due}{f': {info.error}' if info.error else ''}",
        *(f"{place:>4}  {job_id}" for place, job_id in enumerate(info.behind, 1)),
        *([f"      and {more:,} more"] if more > 0 else []),
    ]
    if info.state == "parked":
        place = f"{quote(info.group)} --queue {info.queue}"
        lines.append(f"'jobfleet groups resume {place}' continues behind the head")
        lines[-1] += "." if info.status is None else f"; 'jobfleet dead replay {info.head}' runs it again."
    return lines


@groups.command()
@name_argument
@queue_option
@by_option
@click.pass_obj
def skip(invocation: Invocation, name: str, queue: str | None, by: str | None) -> int:
    """End the head of a sequence, so that the next job follows.

    A head that waits is cancelled, and one that runs is asked to stop.
    """
    with invocation.fleet() as fleet:
        head = fleet.groups.skip(name, queue=queue, by=by)
    text = f"{name}: skipped {head}." if head else f"{name}: its head ended in this moment; nothing was skipped."
    invocation.output.show(data={"group": name, "queue": queue, "skipped": head}, ids=[head or ""], text=text)
    return fail.DONE if head else fail.FAILED


@groups.command()
@name_argument
@queue_option
@by_option
@click.pass_obj
def resume(invocation: Invocation, name: str, queue: str | None, by: str | None) -> None:
    """Let a parked sequence go on behind its head, which stays a dead letter.

    To run the head again, replay it instead: it takes its old place. A pause ends with 'jobfleet queues resume'.
    """
    with invocation.fleet() as fleet:
        has_changed = fleet.groups.resume(name, queue=queue, by=by)
    text = f"{name} continues." if has_changed else f"{name} was not parked."
    invocation.output.show(data={"group": name, "queue": queue, "changed": has_changed}, ids=[name], text=text)
