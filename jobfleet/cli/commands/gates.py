"""`jobfleet limits named|close|open`, and `jobfleet breakers`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from jobfleet.cli.commands.limits import limits
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Group, by_option
from jobfleet.cli.output import Cell, Column, Output, say, since
from jobfleet.cli.schema import breaker_data, named_limit_data
from jobfleet.clock import span

if TYPE_CHECKING:
    from jobfleet.model.limits import BreakerInfo, NamedLimit

COLORS = {"open": "red", "half-open": "yellow", "closed": "green"}
reason_option = click.option("--reason", metavar="TEXT", help="The reason, for the record.")


class Bounds(click.ParamType[tuple[int, int]]):
    """Two whole numbers: ``2-50``."""

    name = "bounds"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the bounds."""
        low, _, high = value.partition("-")
        if not low.isdecimal() or not high.isdecimal():
            self.fail(f"{value!r} is not two numbers; give bounds such as 2-50.", param, ctx)
        return int(low), int(high)


@limits.command("named")
@click.argument("name", required=False)
@click.option("--rate", metavar="N/TIME", help="Most of the costs of the jobs that start per time: 100/1m, 5/10s.")
@click.option("--concurrency", metavar="N", type=int, help="Most jobs that run at once.")
@click.option("--adaptive", metavar="LOW-HIGH", type=Bounds(), help="Bounds of a concurrency that adapts itself.")
@click.option("--clear", is_flag=True, help="Remove what is not given; otherwise it stays.")
@click.option("--remove", is_flag=True, help="Remove the limit.")
@by_option
@click.pass_obj
def named(
    invocation: Invocation,
    /,
    name: str | None,
    rate: str | None,
    concurrency: int | None,
    adaptive: tuple[int, int] | None,
    clear: bool,
    remove: bool,
    by: str | None,
) -> None:
    """List the named limits that functions of all queues share, or define or remove one."""
    is_defined = any(one is not None for one in (rate, concurrency, adaptive))
    if (
        (clear and not is_defined)
        or (name is None and (is_defined or remove))
        or (remove and is_defined)
        or (name and not (remove or is_defined))
    ):
        raise click.UsageError("Give a NAME with --rate, --concurrency or --adaptive, or with --remove; or nothing.")
    with invocation.fleet() as fleet:
        if name is None:
            _show(invocation.output, fleet.limits.all_named())
            return
        if remove:
            has_changed = fleet.limits.remove(name, by=by)
        else:
            has_changed = fleet.limits.named(
                name, rate=rate, concurrency=concurrency, adaptive=adaptive, replace=clear, by=by
            )
    text = f"Limit {name!r} is {'removed' if remove else 'defined'}." if has_changed else "Nothing has changed."
    invocation.output.show(data={"limit": name, "changed": has_changed}, ids=[name], text=text)


def _show(output: Output, every: list[NamedLimit]) -> None:
    if not every:
        say("No named limits. Define one: 'jobfleet limits named NAME --rate 100/1m', and use it: @job(limits=[NAME]).")
        return
    numbers = ("CONCURRENCY", "RUNNING", "RATE", "LEFT", "NEXT")
    columns: list[Column | str] = [
        Column("LIMIT", is_elastic=True),
        *(Column(title, True) for title in numbers),
        "STATE",
    ]
    text = output.table(columns, [_row(one) for one in every])
    output.show(data=[named_limit_data(one) for one in every], ids=[one.name for one in every], text=text)


def _row(one: NamedLimit) -> list[Cell | str]:
    bounds = f" of {one.adaptive[0]}-{one.adaptive[1]}" if one.adaptive else ""
    is_full = one.most is not None and one.running >= one.most
    return [
        one.name,
        "-" if one.most is None else f"{one.most:,}{bounds}",
        Cell(f"{one.running:,}", "yellow" if is_full else None),
        one.rate or "-",
        "-" if one.left is None else f"{one.left:,}",
        f"in {span(one.next_in)}" if one.next_in else "-",
        _state(one),
    ]


def _state(one: NamedLimit) -> Cell:
    if one.unreadable:
        return Cell("unreadable", "red")
    if not one.closed_for:
        return Cell("open", "green") if one.is_defined else Cell("not defined", "yellow")
    until = "" if one.closed_for == math.inf else f" for {span(one.closed_for)}"
    return Cell(f"closed{until}{f' by {one.by}' if one.by else ''}{f': {one.reason}' if one.reason else ''}", "yellow")


@limits.command("close")
@click.argument("name")
@click.option("--for", "seconds", type=TIME, default=None, help="For how long; by default until somebody opens it.")
@reason_option
@by_option
@click.pass_obj
def close(invocation: Invocation, /, name: str, seconds: float | None, reason: str | None, by: str | None) -> None:
    """Let no further job of a named limit start. Running jobs continue."""
    with invocation.fleet() as fleet:
        has_changed = fleet.limits.close(name, seconds, reason=reason, by=by)
    _done(invocation, "limit", name, "closed", has_changed=has_changed)


@limits.command("open")
@click.argument("name")
@by_option
@click.pass_obj
def open_(invocation: Invocation, /, name: str, by: str | None) -> None:
    """Open a named limit that is closed."""
    with invocation.fleet() as fleet:
        has_changed = fleet.limits.open(name, by=by)
    _done(invocation, "limit", name, "open", has_changed=has_changed)


def _done(invocation: Invocation, kind: str, name: str, state: str, *, has_changed: bool) -> None:
    text = f"{kind.capitalize()} {name!r} is {state}{'' if has_changed else ', as before'}."
    data = {kind: name, "state": state, "changed": has_changed}
    invocation.output.show(data=data, ids=[name], text=text)


@click.group(cls=Group)
def breakers() -> None:
    """List, open and close circuit breakers."""


@breakers.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the circuit breakers that have counted a run."""
    with invocation.fleet() as fleet:
        every = fleet.breakers()
    if not every and invocation.form == "table":
        say("No circuit breakers have counted a run. Declare one: @job(breaker=Breaker(0.5)).")
        return
    output = invocation.output
    columns: list[Column | str] = [
        Column("BREAKER", is_elastic=True), "STATE", Column("OK", True), Column("FAILED", True), "TRIAL", "SINCE",
        "BY", "REASON",
    ]  # fmt: skip
    now = datetime.now(UTC)
    text = output.table(columns, [_breaker_row(one, now) for one in every])
    output.show(data=[breaker_data(one) for one in every], ids=[one.name for one in every], text=text)


def _breaker_row(one: BreakerInfo, now: datetime) -> list[Cell | str]:
    trial = "-" if one.state != "open" else "never" if one.trial_in == math.inf else f"in {span(one.trial_in)}"
    state = Cell("unreadable", "red") if one.unreadable else Cell(one.state, COLORS[one.state])
    return [
        one.name, state, f"{one.succeeded:,}", f"{one.failed:,}", trial, since(one.since, now), one.by or "-",
        one.reason or "-",
    ]  # fmt: skip


@breakers.command("open")
@click.argument("name")
@click.option("--for", "seconds", type=TIME, default=None, help="Until a trial; by default until somebody closes it.")
@reason_option
@by_option
@click.pass_obj
def open_breaker(
    invocation: Invocation, /, name: str, seconds: float | None, reason: str | None, by: str | None
) -> None:
    """Open a circuit breaker, so that no further job starts behind it.

    NAME is function:NAME, group:QUEUE:GROUP or limit:NAME, as 'jobfleet breakers ls' shows it.
    """
    with invocation.fleet() as fleet:
        has_changed = fleet.breakers.open(name, seconds, reason=reason, by=by)
    _done(invocation, "breaker", name, "open", has_changed=has_changed)


@breakers.command("close")
@click.argument("name")
@by_option
@click.pass_obj
def close_breaker(invocation: Invocation, /, name: str, by: str | None) -> None:
    """Close a circuit breaker: its jobs start again."""
    with invocation.fleet() as fleet:
        has_changed = fleet.breakers.close(name, by=by)
    _done(invocation, "breaker", name, "closed", has_changed=has_changed)
