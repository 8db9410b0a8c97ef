"""`jobfleet queues`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group
from jobfleet.cli.output import Cell, Column, Output, age, paused_by, say
from jobfleet.cli.verbs import add_verbs
from jobfleet.cli.view import queue_data
from jobfleet.clock import span
from jobfleet.operations import pause as pausing
from jobfleet.operations import queues as operations
from jobfleet.operations.jobs import listing

if TYPE_CHECKING:
    from jobfleet.operations.queues import QueueInfo


TITLES = ("QUEUED", "SCHEDULED", "BLOCKED", "RETRYING", "RUNNING", "DEAD", "COMPLETED", "FAILED", "OLDEST")
NARROW_TITLES = ("QUEUED", "SCHED", "BLOCKED", "RETRY", "RUN", "DEAD", "DONE", "FAILED", "OLDEST")


@click.group(cls=Group)
def queues() -> None:
    """List, pause, set, purge and remove queues."""


@queues.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the queues."""
    with invocation.fleet() as fleet:
        every = fleet.queues()
    if not every and invocation.form == "table":
        say("No queues yet; the first job or worker creates one.")
        return
    output = invocation.output
    output.show(data=[queue_data(row) for row in every], ids=[row.name for row in every], text=_table(output, every))


@queues.command()
@click.argument("name", metavar="[QUEUE]", required=False)
@click.pass_obj
def spread(invocation: Invocation, name: str | None) -> None:
    """List the lanes of a queue, or of all, with the cluster node of each.

    A lane is hot if it has at least 100 due jobs, and more than four times as many as the other lanes of its queue.
    """
    with invocation.fleet() as fleet:
        rows = fleet.spread(name)
    columns: list[Column | str] = ["QUEUE", Column("LANE", True), "NODE", Column("QUEUED", True), Column("LATER", True)]
    cells = [
        [
            row.queue,
            str(row.lane),
            row.node or "-",
            "-" if row.is_away else f"{row.queued:,}",
            "-" if row.is_away else f"{row.later:,}",
            Cell("-" if row.is_away else f"{row.running:,}", "cyan" if row.running else None),
            Cell("away" if row.is_away else "hot", "red") if row.is_away or row.is_hot else "",
        ]
        for row in rows
    ]
    text = invocation.output.table([*columns, Column("RUNNING", True), "NOTE"], cells)
    ids = [f"{row.queue}.{row.lane}" for row in rows]
    invocation.output.show(data=[asdict(row) for row in rows], ids=ids, text=text)


def _table(output: Output, every: list[QueueInfo]) -> str:
    titles = NARROW_TITLES if output.is_narrow else TITLES
    columns: list[Column | str] = ["QUEUE", *(Column(title, True) for title in titles), "STATE"]
    duration = age if output.is_narrow else span
    return output.table(columns, [_row(queue, duration) for queue in every])


def _row(queue: QueueInfo, duration: Callable[[float], str]) -> list[Cell | str]:
    latency = queue.latency.total_seconds()
    return [
        queue.name,
        f"{queue.queued:,}",
        f"{queue.scheduled:,}",
        f"{queue.blocked:,}",
        f"{queue.retrying:,}",
        Cell(f"{queue.running:,}", "cyan" if queue.running else None),
        Cell(f"{queue.dead:,}", "red" if queue.dead else None),
        f"{queue.totals.get('completed', 0):,}",
        f"{queue.totals.get('failed', 0):,}",
        duration(latency) if latency else "-",
        _state(queue),
    ]


def _state(queue: QueueInfo) -> Cell:
    """The lanes that are away, or the pauses of the queue, with author and reason."""
    if queue.away:
        lanes = ", ".join(map(str, queue.away))
        return Cell(f"away: lane{'s' if len(queue.away) > 1 else ''} {lanes} of {queue.lanes}", "red")
    if queue.paused is not None:
        return Cell(paused_by(queue.paused, queue.paused_reason), "yellow")
    if not queue.paused_functions:
        return Cell(f"open, {queue.durability}" if queue.durability else "open", "green")
    every = (f"{one.function} {paused_by(one.by, one.reason)}" for one in queue.paused_functions)
    return Cell("; ".join(every), "yellow")


add_verbs(pausing, queues)
add_verbs(operations, queues)
add_verbs(listing, queues)
