"""`jobfleet cron`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as with_fields
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import click

from jobfleet.cli.commands.enqueue import (
    PRIORITIES,
    UNIQUE_FOR_HELP,
    EnqueueCommand,
    ScopeType,
    json_object,
    read_argument,
    read_moment,
)
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Group, by_option
from jobfleet.cli.output import Cell, Column, Output, clock, from_now, paused_by, say
from jobfleet.cli.verbs import add_verbs
from jobfleet.cli.view import COLORS, cron_data, fire_data
from jobfleet.clock import iso, span
from jobfleet.model import Job, JobStatus, Priority
from jobfleet.model.option_types import UniqueFor
from jobfleet.operations import backfill
from jobfleet.operations import cron as operations
from jobfleet.operations.fires import CronFire, seconds_of

if TYPE_CHECKING:
    from jobfleet.cron import Cron, Fire
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.cron import CronInfo

_COLORS = {"late": "yellow", "skipped": "yellow", "overlapped": "yellow", "missed": "red"}
name_argument = click.argument("name", metavar="NAME")
tz_option = click.option("--tz", metavar="ZONE", default="UTC", show_default=True, help="Time zone of the expression.")


@click.group(cls=Group)
def cron() -> None:
    """List, add, pause and remove recurring jobs."""


@cron.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the recurring jobs."""
    with invocation.fleet() as fleet:
        every = fleet.cron()
        has_more = invocation.form == "table" and _say_pending(fleet)
    if not every and invocation.form == "table":
        if not has_more:
            say("No recurring jobs. Add one: 'jobfleet cron add NAME \"0 2 * * *\" FUNCTION', or @job(cron=…).")
        return
    output = invocation.output
    text = _table(output, every) if output.form == "table" else ""
    output.show(data=[cron_data(info) for info in every], ids=[info.name for info in every], text=text)
    if invocation.form == "table":
        for info in every:
            if info.warning:
                say(f"{info.warning} {info.remedy}")
        say(_fired_by(every[0].fired_by))


def _say_pending(fleet: Fleet) -> bool:
    """Print which schedules a worker has published and no reaper has stored yet; return whether there are any."""
    from jobfleet.operations.cron import SOON, pending
    from jobfleet.operations.operation import drive_blocking

    names = drive_blocking(fleet.store, pending(fleet.context))
    for name in names:
        say(f"{name} is {SOON}")
    return bool(names)


def _fired_by(names: Sequence[str]) -> str:
    from jobfleet.operations.cron import fired_by

    if names:
        return f"Fired by {fired_by(names)}."
    remedy = "Start one: 'jobfleet reaper', or 'jobfleet worker MODULE'."
    return f"Nothing fires them: no reaper and no worker has announced itself. {remedy}"


def _table(output: Output, every: Sequence[CronInfo]) -> str:
    now = datetime.now(UTC)
    when = partial(from_now, now) if output.is_narrow else clock
    cut = [Column(title, is_elastic=True) for title in ("NAME", "WHEN", "ZONE", "FUNCTION")]
    queue = Column("QUEUE", is_spare=True)
    spare = [Column(title, is_spare=True) for title in ("TOOK", "SUCCEEDED")]
    return output.table([*cut, queue, "LAST", *spare, "NEXT", "STATE"], [_row(info, when) for info in every])


def _row(info: CronInfo, when: Callable[[datetime], str]) -> list[Cell | str]:
    last = f"{when(info.last.at)} {info.last.word}" if info.last else "-"
    last += f" ({info.failures} in a row)" if info.failures > 1 else ""
    if info.paused is not None:
        state = Cell(paused_by(info.paused, info.paused_reason), "yellow")
    else:
        state = Cell("orphaned", "red") if info.is_orphaned else Cell("on", "green")
    return [
        info.name,
        info.cron.expression,
        info.cron.tz,
        info.function,
        info.queue,
        Cell(last, _color(info.last) if info.last else None),
        Cell(_took(info), "yellow" if info.is_longer else None),
        when(info.last_success) if info.last_success else "-",
        _next(info, when),
        state,
    ]


def _color(fire: CronFire) -> str | None:
    """The colour of what came of a fire: that of its job, if it made one."""
    return _COLORS.get(fire.outcome) if fire.status is None else COLORS.get(cast("JobStatus", fire.status))


def _took(info: CronInfo) -> str:
    """How long the last job ran, against the interval."""
    took = seconds_of(info.last) if info.last else ""
    if not took or info.interval is None:
        return took or "-"
    return f"{took} of {span(info.interval.total_seconds())}"


def _next(info: CronInfo, when: Callable[[datetime], str]) -> str:
    if info.cron.is_startup and info.paused is None:
        return "at a start"
    return when(info.next.at) if info.next else "-"


@cron.command()
@click.argument("which", metavar="NAME|EXPRESSION")
@tz_option
@click.option(
    "-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N", help="How many fires."
)
@click.option("--after", metavar="ISO", callback=read_moment, help="Show fires after this time; default now.")
@click.pass_obj
def preview(invocation: Invocation, which: str, tz: str, count: int, after: datetime | None) -> None:
    """Show the next fires of a recurring job, or of an expression.

    An expression is minute, hour, day, month and weekday, and optionally seconds as the sixth field; or '@every 90s'.
    A note marks each fire that a change of the clocks affects.
    """
    from jobfleet.cron import Cron

    is_expression = " " in which or which.startswith("@")
    planned = Cron(which, tz) if is_expression else _kept(invocation, which)
    if planned.doubt:
        say(planned.doubt)
    if planned.is_startup and invocation.form == "table":
        say("@startup has no planned times: it fires when workers start that know its function.")
        return
    fires: list[Fire] = []
    at = (after or datetime.now(UTC)).astimezone(UTC)
    while len(fires) < count and (fire := planned.next(at)) is not None:
        fires.append(fire)
        at = fire.at
    output = invocation.output
    rows = [[clock(fire.at), f"{fire.nominal:%a %Y-%m-%d %H:%M:%S %Z}", fire.note] for fire in fires]
    data = [{"at": iso(fire.at), "nominal": iso(fire.nominal), "note": fire.note} for fire in fires]
    text = output.table(["FIRES", planned.tz, "NOTE"], rows)
    output.show(data=data, ids=[str(iso(fire.at)) for fire in fires], text=text)


def _kept(invocation: Invocation, name: str) -> Cron:
    """The schedule of the recurring job of this name.

    Raises:
        JobNotFound: There is no such recurring job.
    """
    with invocation.fleet() as fleet:
        return fleet.cron.get(name).cron


@cron.command(cls=EnqueueCommand)
@name_argument
@click.argument("expression", metavar="EXPRESSION")
@click.argument("function", metavar="FUNCTION")
@click.argument("args", nargs=-1, metavar="[ARG]...")
@tz_option
@click.option("--kwargs", metavar="JSON", callback=json_object, help="Keyword arguments, as a JSON object.")
@click.option("--queue", metavar="NAME", help="The queue of its jobs.")
@click.option("--priority", type=click.Choice(PRIORITIES, case_sensitive=False), help="The priority of its jobs.")
@click.option(
    "--misfire", type=click.Choice(("once", "skip", "all")), default="once", show_default=True,
    help="How to treat fires that were missed: fire once, skip them, or fire all.",
)  # fmt: skip
@click.option("--misfire-window", type=TIME, default=3600.0, help="How late a missed fire may still run. [default 1h]")
@click.option(
    "--overlap", type=click.Choice(("allow", "skip", "queue")), default="allow", show_default=True,
    help="What a fire does while the job of the last fire is open: enqueue another job, skip itself, or wait.",
)  # fmt: skip
@click.option("--jitter", type=TIME, default=0.0, help="Spread the jobs over this time.")
@click.option("--start", metavar="ISO", callback=read_moment, help="No fire before this time.")
@click.option("--end", metavar="ISO", callback=read_moment, help="No fire after this time.")
@click.option("--unique", metavar="KEY", help="A key that one job holds at a time; {0} is its first ARG.")
@click.option("--unique-for", type=ScopeType(), metavar="SCOPE", help=UNIQUE_FOR_HELP)
@click.option("--replace", is_flag=True, help="Replace a recurring job of the same name.")
@by_option
@click.pass_obj
def add(
    invocation: Invocation,
    /,
    name: str,
    expression: str,
    function: str,
    args: tuple[str, ...],
    kwargs: Mapping[str, object] | None,
    queue: str | None,
    priority: str | None,
    unique: str | None,
    unique_for: UniqueFor | None,
    replace: bool,
    by: str | None,
    **when: Any,
) -> None:
    """Add a recurring job.

    EXPRESSION is minute, hour, day, month and weekday, and optionally seconds as the sixth field. Or it is an interval,
    '@every 90s' or '@every 1h30m'; or '@startup', for a fire when workers start. Each ARG is read as JSON, else as a
    text.
    """
    from jobfleet.cron import Cron

    planned = Cron(expression.lstrip("\0"), **when)
    job = Job(
        name,
        function,
        [read_argument(arg) for arg in args],
        kwargs or {},
        queue=queue,
        priority=Priority[priority.upper()] if priority else None,
        unique=unique,
        unique_for=unique_for,
    )
    with invocation.fleet() as fleet:
        word = fleet.cron.add(name, planned, job, by=by, replace=replace)
    _outlook(invocation, name, word, planned)


def _outlook(invocation: Invocation, name: str, word: str, planned: Cron) -> None:
    """Report a new schedule with its next fire."""
    following = planned.next(datetime.now(UTC))
    never = "it fires when workers start" if planned.is_startup else "it never fires again"
    outlook = f"next at {clock(following.at)}" if following else never
    data = {"name": name, "change": word, "next": iso(following.at) if following else None}
    invocation.output.show(data=data, ids=[name], text=f"{name} {word}: {outlook}.")


@cron.command()
@name_argument
@click.argument("expression", metavar="EXPRESSION")
@click.option("--tz", metavar="ZONE", help="Time zone of the expression; default the present one.")
@by_option
@click.pass_obj
def edit(invocation: Invocation, name: str, expression: str, tz: str | None, by: str | None) -> None:
    """Give a recurring job another schedule.

    Its job and its policies for late fires stay.
    """
    with invocation.fleet() as fleet:
        present = fleet.cron.get(name).cron
        planned = with_fields(present, expression=expression, tz=tz or present.tz)
        word = fleet.cron.edit(name, planned, by=by)
    _outlook(invocation, name, word, planned)


@cron.command()
@name_argument
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N", help="How many fires."
)
@click.pass_obj
def history(invocation: Invocation, name: str, limit: int) -> None:
    """Show a recurring job's past fires, and what came of their jobs.

    FIRE is what the scheduler did, STATUS what came of the job: its state, or 'gone' when its result has expired.
    """
    with invocation.fleet() as fleet:
        fires = fleet.cron.history(name, limit=limit)
    if not fires and invocation.form == "table":
        say(f"{name} has not fired yet; 'jobfleet cron ls' shows which process fires it.")
        return
    output = invocation.output
    rows: list[list[Cell | str]] = [
        [
            clock(fire.at),
            Cell(fire.outcome, _COLORS.get(fire.outcome)),
            Cell(fire.status or "-", _color(fire)),
            seconds_of(fire) or "-",
            fire.job_id or "-",
            " · ".join(filter(None, (fire.error, fire.note))),
        ]
        for fire in fires
    ]
    text = output.table(["PLANNED", "FIRE", "STATUS", "TOOK", "JOB", "NOTE"], rows)
    output.show(data=[fire_data(fire) for fire in fires], ids=[fire.job_id or "-" for fire in fires], text=text)


add_verbs(operations, cron)
add_verbs(backfill, cron)
