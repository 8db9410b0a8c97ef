"""`jobfleet queues`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group, by_option, yes_option
from jobfleet.cli.output import Cell, Column, Output, agreed, count, say
from jobfleet.cli.schema import queue_data
from jobfleet.clock import span
from jobfleet.errors import ConfigError

if TYPE_CHECKING:
    from jobfleet.client.admin import QueueInfo
    from jobfleet.client.sync import Fleet

name_argument = click.argument("name", metavar="QUEUE")
group_option = click.option("--group", metavar="NAME", default=None, help="Only this group of it.")


@click.group(cls=Group)
def queues() -> None:
    """Look at queues, pause them, empty them."""


@queues.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the queues."""
    with invocation.fleet() as fleet:
        every = fleet.queues()
    if not every and invocation.form == "table":
        say("No queues yet; the first job or worker makes one.")
        return
    output = invocation.output
    output.show(data=[queue_data(row) for row in every], ids=[row.name for row in every], text=_table(output, every))


def _table(output: Output, every: list[QueueInfo]) -> str:
    numbers = ("QUEUED", "SCHEDULED", "BLOCKED", "RETRYING", "RUNNING", "DEAD", "COMPLETED", "FAILED", "OLDEST")
    columns: list[Column | str] = ["QUEUE", *(Column(title, True) for title in numbers), "STATE"]
    return output.table(columns, [_row(queue) for queue in every])


def _row(queue: QueueInfo) -> list[Cell | str]:
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
        span(latency) if latency else "-",
        Cell("open", "green") if queue.paused is None else Cell(_paused(queue.paused), "yellow"),
    ]


def _paused(by: str) -> str:
    return f"paused by {by}" if by and by != "-" else "paused"


@queues.command()
@name_argument
@group_option
@click.option("--why", metavar="TEXT", default="", help="The reason, for those who look; with --group.")
@by_option
@click.pass_obj
def pause(invocation: Invocation, name: str, group: str | None, why: str, by: str | None) -> None:
    """Let no job of a queue, or of a group of it, start.

    Running ones go on.
    """
    with invocation.fleet() as fleet:
        has_changed = fleet.pause(name, group=group, by=by, why=why)
    _told(invocation, name, group, is_paused=True, has_changed=has_changed)


@queues.command()
@name_argument
@group_option
@click.pass_obj
def resume(invocation: Invocation, name: str, group: str | None) -> None:
    """Let the jobs of a paused queue, or of a group of it, start again."""
    with invocation.fleet() as fleet:
        has_changed = fleet.resume(name, group=group)
    _told(invocation, name, group, is_paused=False, has_changed=has_changed)


def _told(invocation: Invocation, name: str, group: str | None, *, is_paused: bool, has_changed: bool) -> None:
    word = "paused" if is_paused else "open"
    what = name if group is None else f"{group} of {name}"
    text = f"{what} is {word}." if has_changed else f"{what} was {word} already."
    data = {"queue": name, "paused": is_paused, "changed": has_changed}
    invocation.output.show(data=data if group is None else {**data, "group": group}, ids=[name], text=text)


@queues.command()
@name_argument
@by_option
@yes_option
@click.pass_obj
def purge(invocation: Invocation, name: str, by: str | None, yes: bool) -> int:
    """Cancel every waiting job of a queue.

    Running ones go on.
    """
    with invocation.fleet() as fleet:
        queue = _named(fleet, name)
        waiting = queue.queued + queue.scheduled + queue.blocked + queue.retrying
        if waiting and not agreed(f"Cancel {count(waiting, 'waiting job')} of {name}?", yes=yes):
            return fail.FAILED
        cancelled = fleet.purge_queue(name, by=by) if waiting else 0
    text = f"Cancelled {count(cancelled, 'job')} of {name}."
    invocation.output.show(data={"queue": name, "cancelled": cancelled}, ids=[name], text=text)
    return fail.DONE


def _named(fleet: Fleet, name: str) -> QueueInfo:
    """A queue by its name.

    Raises:
        ConfigError: There is no such queue.
    """
    every = {queue.name: queue for queue in fleet.queues()}
    if name not in every:
        raise ConfigError(f"No queue {name!r}; there are: {', '.join(sorted(every)) or 'none yet'}.")
    return every[name]
