"""`jobfleet limits`, `breakers` and `groups`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group
from jobfleet.cli.output import Cell, Column, Output, count, paused_by, say, since
from jobfleet.cli.verbs import add_verbs, new_names, options_of, run_verb
from jobfleet.cli.view import breaker_data, limit_data, named_limit_data, sequence_data
from jobfleet.clock import local, span
from jobfleet.model.limits import declared_text
from jobfleet.operations import gates
from jobfleet.operations import limits as operations

if TYPE_CHECKING:
    from jobfleet import Fleet
    from jobfleet.model.limits import BreakerInfo, LimitInfo, NamedLimit, SequenceInfo


NONE = "none"


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


@limits.command("set", help=operations.set_limit.text)
@options_of(operations.set_limit)
@click.option("--clear", is_flag=True, help="The older spelling of --replace, and alone of 'limits clear'.")
@click.option("--declared", is_flag=True, help="With --clear alone: as in 'limits clear'.")
@click.pass_obj
def set_(invocation: Invocation, /, by: str | None, clear: bool, declared: bool, **values: Any) -> None:
    """Set the limits of a queue or of a group, or with --clear alone delete them."""
    place = {"queue": values["queue"], "group": values["group"]}
    is_cleared = clear and not any(one for name, one in values.items() if name not in place)
    if declared and not is_cleared:
        raise click.UsageError("--declared needs --clear, without limits to set.")
    if is_cleared:
        with invocation.fleet() as fleet:
            _changed(invocation, fleet, place, [], fleet.limits.clear(**place, declared=declared, by=by))
        return
    with invocation.fleet() as fleet:
        lines = new_names(fleet, values["queue"])
        values["replace"] = values["replace"] or clear
        _changed(invocation, fleet, place, lines, fleet.limits.set(**values, by=by))


def _changed(
    invocation: Invocation, fleet: Fleet, place: dict[str, str | None], lines: list[str], has_changed: bool
) -> None:
    """Say how the limits are now."""
    queue, group = place["queue"], place["group"]
    row = next((info for info in fleet.limits(queue) if info.group == group), None)
    for line in lines:
        say(line)
    data = {**place, "changed": has_changed, "limit": limit_data(row) if row else None}
    text = f"{queue if group is None else f'{group} of {queue}'}: {_summary(row)}"
    text = f"{text}." if has_changed else f"{text}, as before."
    invocation.output.show(data=data, ids=[operations.set_limit.target_of(place)], text=text)


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


BREAKER_COLORS = {"open": "red", "half-open": "yellow", "closed": "green"}


@limits.command("named")
@options_of(gates.define, is_optional=True)
@click.option("--clear", is_flag=True, help="The older spelling of --replace.")
@click.option("--remove", is_flag=True, help="The older spelling of 'limits remove'.")
@click.pass_obj
def named(
    invocation: Invocation, /, by: str | None, name: str | None, clear: bool, remove: bool, replace: bool, **given: Any
) -> None:
    """List the named limits that functions of all queues share; with a NAME, the older spelling of 'limits define'."""
    is_defined = any(one is not None for one in given.values())
    is_replaced = clear or replace
    if (
        (is_replaced and not is_defined)
        or (name is None and (is_defined or remove))
        or (remove and is_defined)
        or (name and not (remove or is_defined))
    ):
        raise click.UsageError("Give a NAME with --rate, --concurrency or --adaptive, or with --remove; or nothing.")
    if name is None:
        with invocation.fleet() as fleet:
            _show(invocation.output, fleet.limits.all_named())
    elif remove:
        run_verb(invocation, gates.remove, {"name": name}, by)
    else:
        run_verb(invocation, gates.define, {"name": name, "replace": is_replaced, **given}, by)


def _show(output: Output, every: list[NamedLimit]) -> None:
    if not every:
        say("No named limits. Define one: 'jobfleet limits define NAME --rate 5/s', and use it: @job(limits=[NAME]).")
        return
    numbers = ("CONCURRENCY", "RUNNING", "RATE", "LEFT", "NEXT")
    columns: list[Column | str] = [
        Column("LIMIT", is_elastic=True),
        *(Column(title, True) for title in numbers),
        "STATE",
    ]
    text = output.table(columns, [_named_row(one) for one in every])
    output.show(data=[named_limit_data(one) for one in every], ids=[one.name for one in every], text=text)


def _named_row(one: NamedLimit) -> list[Cell | str]:
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


@click.group(cls=Group)
def breakers() -> None:
    """List, open and close circuit breakers."""


@breakers.command("ls")
@click.pass_obj
def breakers_ls(invocation: Invocation) -> None:
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
    state = Cell("unreadable", "red") if one.unreadable else Cell(one.state, BREAKER_COLORS[one.state])
    return [
        one.name, state, f"{one.succeeded:,}", f"{one.failed:,}", trial, since(one.since, now), one.by or "-",
        one.reason or "-",
    ]  # fmt: skip


SEQUENCE_COLORS = {"open": "green", "parked": "yellow", "failing": "red"}
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
def groups_ls(invocation: Invocation, queue: str | None, limit: int) -> None:
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
        [one.queue, one.group, Cell(one.state, SEQUENCE_COLORS[one.state]), one.head, _status(one), f"{one.waiting:,}"]
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


add_verbs(gates, limits, breakers)
add_verbs(operations, limits, groups)
