"""`jobfleet limits`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.new_names import new_names
from jobfleet.cli.options import TIME, Group, by_option
from jobfleet.cli.output import Cell, Column, paused_by, say
from jobfleet.cli.schema import limit_data
from jobfleet.clock import span
from jobfleet.model.limits import declared_text

if TYPE_CHECKING:
    from jobfleet.model.limits import LimitInfo

NONE = "none"


class OrNone(click.ParamType[Any]):
    """A value of another type, or ``none``."""

    name = "number"

    def __init__(self, inner: click.ParamType[Any]) -> None:
        self._inner = inner

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value; ``none`` becomes infinity."""
        return math.inf if value == NONE else self._inner.convert(value, param, ctx)


@click.group(cls=Group)
def limits() -> None:
    """List and set the limits of queues and groups."""


@limits.command("ls")
@click.argument("queue", required=False)
@click.pass_obj
def ls(invocation: Invocation, queue: str | None) -> None:
    """List the limits of a queue, or of all queues, and how much of them is used."""
    with invocation.fleet() as fleet:
        every = fleet.limits(queue)
    if not every and invocation.form == "table":
        say("No limits. Set one: 'jobfleet limits set QUEUE --concurrency 10', or with --group for a group.")
        return
    output = invocation.output
    declares = any(info.declared_by for info in every)
    numbers = ("CONCURRENCY", "RUNNING", "RATE", "BURST", "NEXT", "WEIGHT", "AGING")
    columns: list[Column | str] = [
        "QUEUE",
        Column("GROUP", is_elastic=True),
        *(Column(title, True) for title in numbers),
        "STATE",
        *(["DECLARED"] if declares else []),
    ]
    rows = [[*_row(info), *([_declared(info) or "-"] if declares else [])] for info in every]
    text = output.table(columns, rows)
    output.show(data=[limit_data(info) for info in every], ids=[_id(info) for info in every], text=text)


def _id(info: LimitInfo) -> str:
    return info.queue if info.group is None else f"{info.queue}:{info.group}"


def _row(info: LimitInfo) -> list[Cell | str]:
    most = info.concurrency
    is_full = most is not None and info.running >= most
    return [
        info.queue,
        "(the queue)" if info.group is None else info.group,
        "-" if most is None else NONE if most == math.inf else f"{most:,}",
        "-" if info.group == "*" else Cell(f"{info.running:,}", "yellow" if is_full else None),
        info.rate or "-",
        "-" if info.burst is None else f"{info.burst:,}",
        Cell(f"in {span(info.next_token)}", "yellow") if info.next_token else "-",
        "-" if info.weight is None else f"{info.weight:g}",
        "-" if info.aging is None else span(info.aging),
        Cell("on", "green") if info.paused is None else Cell(paused_by(info.paused, info.paused_reason), "yellow"),
    ]


def _declared(info: LimitInfo) -> str:
    """The limit that functions declare in code, and these functions; empty if none does."""
    text = declared_text(info.declared_concurrency, info.declared_rate)
    return f"{text} by {', '.join(info.declared_by)}" if info.declared_by else ""


@limits.command("set")
@click.argument("queue")
@click.option(
    "--group", metavar="NAME", default=None, help="A group of the queue; '*' for all groups without their own setting."
)
@click.option("--concurrency", metavar="N|none", type=OrNone(click.INT), help="Most jobs that run at once.")
@click.option(
    "--rate",
    metavar="N/TIME|none",
    type=OrNone(click.STRING),
    help="Most jobs that start in a time: 100/s, 10/min, 5/h.",
)
@click.option("--burst", metavar="N", type=int, default=None, help="Most jobs that start at once under the rate.")
@click.option("--weight", metavar="N", type=float, default=None, help="A group's share relative to others; default 1.")
@click.option(
    "--aging", type=TIME, default=None, help="Time after which a waiting job rises to the next priority; 0 means never."
)
@click.option("--clear", is_flag=True, help="Remove all limits that are not given.")
@click.option(
    "--declared", is_flag=True, help="With --clear alone: also remove the limit that functions declare in code."
)
@by_option
@click.pass_obj
def set_(
    invocation: Invocation,
    /,
    queue: str,
    group: str | None,
    clear: bool,
    declared: bool,
    by: str | None,
    **wanted: Any,
) -> None:
    """Set the limits of a queue or of a group, for all workers together.

    Limits that are not given stay as they are. They apply from the next claim on; running jobs continue.
    """
    is_cleared = clear and all(value is None for value in wanted.values())
    if declared and not is_cleared:
        raise click.UsageError("--declared needs --clear, without limits to set.")
    with invocation.fleet() as fleet:
        if is_cleared:
            lines = []
            has_changed = fleet.limits.clear(queue, group=group, declared=declared, by=by)
        else:
            lines = new_names(fleet, queue)
            has_changed = fleet.limits.set(queue, group=group, **wanted, replace=clear, by=by)
        row = next((info for info in fleet.limits(queue) if info.group == group), None)
    for line in lines:
        say(line)
    name = queue if group is None else f"{group} of {queue}"
    data = {"queue": queue, "group": group, "changed": has_changed, "limit": limit_data(row) if row else None}
    summary = f"{name}: {_summary(row)}"
    text = f"{summary}." if has_changed else f"{summary}, as before."
    invocation.output.show(data=data, ids=[queue if group is None else f"{queue}:{group}"], text=text)


def _summary(info: LimitInfo | None) -> str:
    """The limits in words."""
    if info is None:
        return "no limits"
    parts = []
    if info.concurrency is not None:
        parts.append("any number at once" if info.concurrency == math.inf else f"{info.concurrency:,} at once")
    if info.rate is not None:
        parts.append("any rate" if info.rate == NONE else f"{info.rate}, {info.burst:,} in a burst")
    if info.weight is not None:
        parts.append(f"weight {info.weight:g}")
    if info.aging is not None:
        parts.append(f"aging {span(info.aging)}")
    text = ", ".join(parts) or "no limits"
    return f"{text} (declared: {_declared(info)})" if info.declared_by else text
