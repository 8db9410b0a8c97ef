"""`jobfleet limits`, `breakers` and `groups`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.queues import new_names
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Group, by_option
from jobfleet.cli.output import Cell, Column, Output, count, paused_by, say, since
from jobfleet.cli.view import breaker_data, limit_data, named_limit_data, sequence_data
from jobfleet.clock import local, span
from jobfleet.model.limits import declared_text

if TYPE_CHECKING:
    from jobfleet.model.limits import BreakerInfo, LimitInfo, NamedLimit, SequenceInfo


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


BREAKER_COLORS = {"open": "red", "half-open": "yellow", "closed": "green"}
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
