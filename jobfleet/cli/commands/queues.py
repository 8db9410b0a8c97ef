"""`jobfleet queues`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group, by_option, yes_option
from jobfleet.cli.output import Cell, Column, Output, age, agreed, count, paused_by, say
from jobfleet.cli.view import queue_data
from jobfleet.clock import span
from jobfleet.model.option_checks import similar_function, similar_queue
from jobfleet.model.option_types import LEVELS, Durability
from jobfleet.operations.lanes import no_queue, seen
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.workers import runs_undecorated, workers_of

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.queues import QueueInfo


TITLES = ("QUEUED", "SCHEDULED", "BLOCKED", "RETRYING", "RUNNING", "DEAD", "COMPLETED", "FAILED", "OLDEST")
NARROW_TITLES = ("QUEUED", "SCHED", "BLOCKED", "RETRY", "RUN", "DEAD", "DONE", "FAILED", "OLDEST")
name_argument = click.argument("name", metavar="QUEUE")
group_option = click.option("--group", metavar="NAME", default=None, help="Only this group of the queue.")


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


@queues.command("set")
@name_argument
@click.option(
    "--durability",
    type=click.Choice([*LEVELS, "none"]),
    required=True,
    help="Durability of its jobs that have none of their own; none: that of the fleet.",
)
@by_option
@click.pass_obj
def set_(invocation: Invocation, name: str, durability: Durability | Literal["none"], by: str | None) -> None:
    """Set the durability of the jobs of a queue.

    Producers apply it within five seconds. Jobs that are already in the queue keep their level.
    """
    level = None if durability == "none" else durability
    with invocation.fleet() as fleet:
        lines = new_names(fleet, name)
        has_changed = fleet.set_durability(name, level, by=by)
    _say_all(lines)
    shown = f"{name}: durability {level or 'of the fleet'}"
    data = {"queue": name, "durability": level, "changed": has_changed}
    invocation.output.show(data=data, ids=[name], text=f"{shown}." if has_changed else f"{shown}, as before.")


some_queue = click.argument("name", metavar="[QUEUE]", required=False)
function_option = click.option(
    "--function", metavar="NAME", help="Only jobs of this function; without a queue, in all queues."
)


@queues.command()
@some_queue
@group_option
@function_option
@click.option("--reason", metavar="TEXT", help="The reason, for the record.")
@by_option
@click.pass_obj
def pause(invocation: Invocation, /, by: str | None, reason: str | None, **place: str | None) -> None:
    """Pause a queue, a group of it, or a function: none of its jobs start.

    Running jobs continue. With --function, other functions of the queue are not affected.
    """
    where = _place(**place)
    with invocation.fleet() as fleet:
        lines = new_names(fleet, where.queue, where.function)
        has_changed = fleet.pause(where.queue, group=where.group, function=where.function, by=by, reason=reason)
    _say_all(lines)
    _report(invocation, where, is_paused=True, has_changed=has_changed)


@queues.command()
@some_queue
@group_option
@function_option
@by_option
@click.pass_obj
def resume(invocation: Invocation, /, by: str | None, **place: str | None) -> None:
    """Resume a paused queue, group or function.

    Safe to repeat. If it is interrupted, a worker or a reaper completes it.
    """
    where = _place(**place)
    with invocation.fleet() as fleet:
        lines = new_names(fleet, None, where.function)
        has_changed = fleet.resume(where.queue, group=where.group, function=where.function, by=by)
    _say_all(lines)
    _report(invocation, where, is_paused=False, has_changed=has_changed)


def _say_all(lines: list[str]) -> None:
    for line in lines:
        say(line)


class Where(NamedTuple):
    """The queue, group and function of a command."""

    queue: str | None
    group: str | None
    function: str | None


def _place(*, name: str | None, group: str | None, function: str | None) -> Where:
    if name is None and (function is None or group is not None):
        raise click.UsageError("Give a queue, --function, or both.")
    if group is not None and function is not None:
        raise click.UsageError("Give --group or --function, not both.")
    return Where(name, group, function)


def _report(invocation: Invocation, where: Where, *, is_paused: bool, has_changed: bool) -> None:
    name, group, function = where
    what = f"{group} of {name}" if group else name
    if function is not None:
        what = f"{function} in {name}" if name else function
    word = "paused" if is_paused else "open"
    text = f"{what} is {word}." if has_changed else f"{what} was {word} already."
    data: dict[str, object] = {"queue": name, "paused": is_paused, "changed": has_changed}
    data |= {key: of for key, of in (("group", group), ("function", function)) if of is not None}
    invocation.output.show(data=data, ids=[name or str(function)], text=text)


@queues.command()
@name_argument
@by_option
@yes_option
@click.pass_obj
def purge(invocation: Invocation, name: str, by: str | None, yes: bool) -> int:
    """Cancel every waiting job of a queue.

    Running jobs continue.
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


@queues.command("rm")
@name_argument
@click.option("--purge", is_flag=True, help="Cancel its waiting jobs and delete its dead letters.")
@by_option
@yes_option
@click.pass_obj
def rm(invocation: Invocation, name: str, purge: bool, by: str | None, yes: bool) -> int:
    """Remove a queue that no worker serves, with its counts, limits and pauses.

    A queue with waiting jobs or dead letters is removed only with --purge, one with running jobs never.
    """
    with invocation.fleet() as fleet:
        queue = _named(fleet, name)
        waiting = queue.queued + queue.scheduled + queue.blocked + queue.retrying
        done = queue.totals.get("completed", 0)
        what = f"the counts of {count(done, 'completed job')}"
        if purge:
            what = f"{count(waiting, 'waiting job')}, {count(queue.dead, 'dead letter')} and {what}"
        fleet.remove_queue(name, purge=purge, dry_run=True)  # nobody is asked about a queue that cannot be removed
        if not agreed(f"Remove queue {name} with {what}?", yes=yes):
            return fail.FAILED
        letters = fleet.remove_queue(name, purge=purge, by=by)
    data = {"queue": name, "dead_letters": letters}
    invocation.output.show(data=data, ids=[name], text=f"Removed queue {name}.")
    return fail.DONE


def _named(fleet: Fleet, name: str) -> QueueInfo:
    """Return a queue by its name.

    Raises:
        UnknownQueue: There is no such queue.
    """
    every = {queue.name: queue for queue in fleet.queues()}
    if name not in every:
        raise no_queue(name, every)
    return every[name]


def new_names(fleet: Fleet, queue: str | None, function: str | None = None) -> list[str]:
    """Return one line per name that is new. Ask before the command changes something, and print them afterwards.

    A new queue with the name of another one, but for a few letters, is left out: its creation warns.

    Args:
        fleet: The fleet.
        queue: The queue that the command may create.
        function: The function that it names.
    """
    known, lines = drive_blocking(fleet.store, seen(fleet.context)), []
    if queue is not None and queue not in known.queues and similar_queue(queue, known.queues) is None:
        lines.append(f"Queue {queue!r} is new.")
    is_run = function is None or function in known.functions
    if function is not None and not is_run and not runs_undecorated(workers_of(fleet.context, known), function):
        meant = similar_function(function, known.functions)
        lines.append(f"No worker has published {function!r}{f'; did you mean {meant!r}?' if meant else '.'}")
    return lines
