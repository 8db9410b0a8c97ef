"""`jobfleet workers`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group
from jobfleet.cli.output import Cell, Column, age, say
from jobfleet.cli.schema import worker_data

if TYPE_CHECKING:
    from jobfleet.client.admin import WorkerInfo

_COLORS = {"running": "green", "quiet": "yellow", "stopping": "yellow", "gone": "red"}


@click.group(cls=Group)
def workers() -> None:
    """Look at workers."""


@workers.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the workers that were heard of lately."""
    with invocation.fleet() as fleet:
        every = fleet.workers()
    if not every and invocation.form == "table":
        say("No workers. Start one: 'jobfleet worker MODULE'.")
        return
    output = invocation.output
    numbers = [Column(title, True) for title in ("PID", "CHILDREN", "RUNNING", "SLOTS", "UP", "HEARD")]
    columns: list[Column | str] = ["WORKER", "STATE", "HOST", *numbers, "VERSION", "QUEUES"]
    now = datetime.now(UTC)
    text = output.table(columns, [_row(worker, now) for worker in every])
    output.show(data=[worker_data(row) for row in every], ids=[row.id for row in every], text=text)


def _row(worker: WorkerInfo, now: datetime) -> list[Cell | str]:
    state = "gone" if worker.is_gone else worker.state or "-"
    return [
        worker.id,
        Cell(state, _COLORS.get(state)),
        worker.host or "-",
        str(worker.pid or "-"),
        str(worker.children),
        Cell(str(worker.running), "cyan" if worker.running else None),
        str(worker.slots),
        _since(worker.started, now),
        _since(worker.beat, now),
        worker.version or "-",
        ",".join(worker.queues) or "-",
    ]


def _since(moment: datetime | None, now: datetime) -> str:
    return age((now - moment).total_seconds()) if moment else "-"
