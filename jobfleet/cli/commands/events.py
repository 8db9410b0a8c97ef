"""`jobfleet events tail`."""

from __future__ import annotations

import itertools

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, Group
from jobfleet.cli.output import Hours, Output, plain, to_json
from jobfleet.clock import iso
from jobfleet.events import Event

NAMES = (
    "enqueued", "claimed", "progressed", "completed", "retried", "failed", "released", "parked", "withheld", "expired",
    "cancelled", "rescheduled", "edited", "debounced", "replayed", "unblocked", "stopping", "forgotten",
)  # fmt: skip
COLORS = {"completed": "green", "failed": "red", "retried": "yellow", "parked": "yellow", "cancelled": "yellow"}


@click.group(cls=Group)
def events() -> None:
    """Follow the events of jobs."""


@events.command(cls=Command)
@click.option("--queue", metavar="NAME", help="Only events of this queue.")
@click.option("--event", "names", type=click.Choice(NAMES), multiple=True, help="Only this event; may be repeated.")
@click.option("--count", "-n", type=click.IntRange(1), metavar="N", help="Stop after N events.")
@click.pass_obj
def tail(invocation: Invocation, queue: str | None, names: tuple[str, ...], count: int | None) -> None:
    """Show the events of jobs from now on, one per line, until Ctrl-C.

    Events can be lost, and progress is shown at most ten times per second. For a complete record of all jobs, use the
    archive.
    """
    from jobfleet.client._sync.events import tail as tailed

    output = invocation.output
    hours = Hours(output)
    with invocation.fleet() as fleet:
        fleet.store.patience = invocation.config.patience
        found = (event for event in tailed(fleet, queue) if not names or event.event in names)
        for event in itertools.islice(found, count):
            output.line(_shown(output, hours, event))


def _shown(output: Output, hours: Hours, event: Event) -> str:
    if output.form == "ids":
        return event.id
    if output.form == "json":
        stage = {"stage": event.stage} if event.stage else {}
        return to_json({"at": iso(event.at), "event": event.event, "id": event.id, **stage})
    name = output.styled(f"{event.event:<11}", COLORS.get(event.event))
    return f"{hours.at(event.at)}  {name}  {plain(event.id)}  {event.stage}".rstrip()
