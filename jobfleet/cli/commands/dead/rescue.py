"""`jobfleet dead rescue`, `rescues`, `stop-rescue` and `undo-rescue`: replay a group of dead letters in steps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.dead.groups import fingerprint_argument
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import Cell, Column, Output, clock, count, say, since
from jobfleet.cli.schema import rescue_data

if TYPE_CHECKING:
    from jobfleet.operations.dead.rescue import RescueStatus

COLORS = {"stopped": "red", "running": "yellow"}
rescue_argument = click.argument("rescue", metavar="ID|GROUP")


def _read_canary(_ctx: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    """A flag's value as numbers of jobs."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers; write it as 1,10.") from None


@click.command(cls=Command)
@fingerprint_argument
@click.option("--rate", default="10/s", metavar="RATE", help="Jobs per time after the canary. [default 10/s]")
@click.option(
    "--canary", default="1,10", metavar="N,N", callback=_read_canary,
    help="Jobs to replay first, in steps; empty for none. [default 1,10]",
)  # fmt: skip
@click.option("--stop-after", default=1, metavar="N", help="Stop when N jobs have failed again. [default 1]")
@by_option
@click.pass_obj
def rescue(
    invocation: Invocation, fingerprint: str, rate: str, canary: tuple[int, ...], stop_after: int, by: str | None
) -> None:
    """Replay a group in steps: a canary, then the rest at a rate. It stops by itself when jobs fail again.

    A reaper carries it out. 'jobfleet dead rescues' shows how it goes.
    """
    with invocation.fleet() as fleet:
        begun = fleet.rescue(fingerprint, rate=rate, canary=canary, stop_after=stop_after, by=by)
        status = begun.status()
    text = (
        f"Rescue {begun.id} of {count(status.total, 'dead letter')} runs; 'jobfleet dead rescues {begun.id}' shows it."
    )
    invocation.output.show(data=rescue_data(status), ids=[begun.id], text=text)


@click.command(cls=Command)
@click.argument("rescue", required=False, metavar="[ID|GROUP]")
@click.option("--limit", type=click.IntRange(1, 100), default=20, metavar="N", help="Rows at most. [default 20]")
@click.pass_obj
def rescues(invocation: Invocation, rescue: str | None, limit: int) -> None:
    """List the last rescues, or show one in full."""
    output = invocation.output
    with invocation.fleet() as fleet:
        if rescue is not None:
            status = fleet.rescue_of(rescue).status()
            output.show(data=rescue_data(status), ids=[status.id], text="\n".join(_details(status)))
            return
        rows = fleet.rescues(limit=limit)
    if not rows and output.form == "table":
        say("No rescues. 'jobfleet dead rescue GROUP' begins one.")
        return
    text = _table(output, rows) if output.form == "table" else ""
    output.show(data=[rescue_data(row) for row in rows], ids=[row.id for row in rows], text=text)


def _table(output: Output, rows: list[RescueStatus]) -> str:
    now = datetime.now(UTC)
    lines: list[list[Cell | str]] = [
        [
            row.id,
            Cell(row.state, COLORS.get(row.state)),
            row.stage,
            f"{row.replayed}/{row.total}",
            str(row.in_flight),
            str(row.completed),
            Cell(str(row.failed), "red" if row.failed else None),
            since(row.started_at, now),
        ]
        for row in rows
    ]
    numbers = [Column(head, True) for head in ("REPLAYED", "IN FLIGHT", "COMPLETED", "FAILED", "BEGUN")]
    return output.table(["RESCUE", "STATE", "STAGE", *numbers], lines)


def _details(row: RescueStatus) -> list[str]:
    plan = ", ".join(map(str, row.canary))
    pairs = [
        ("rescue", row.id),
        ("group", row.fingerprint),
        ("state", f"{row.state} ({row.why})" if row.why else row.state),
        ("stage", row.stage),
        ("plan", f"{f'{plan}, then ' if plan else ''}{row.rate:g}/s; stops after {count(row.stop_after, 'failure')}"),
        ("begun", f"{clock(row.started_at)}{f' by {row.by}' if row.by else ''}"),
        ("ended", f"{clock(row.ended_at)}{f' by {row.ended_by}' if row.ended_by else ''}"),
        ("replayed", f"{row.replayed:,} of {row.total:,}"),
        *((name.replace("_", " "), str(getattr(row, name))) for name in
          ("in_flight", "completed", "failed", "ended", "left", "undone", "started")),
    ]  # fmt: skip
    return [f"{name:<10}  {text}" for name, text in pairs if text]


@click.command("stop-rescue", cls=Command)
@rescue_argument
@by_option
@click.pass_obj
def stop_rescue(invocation: Invocation, rescue: str, by: str | None) -> int:
    """Replay no further letters of a rescue. Exit code 1 if it was not running."""
    with invocation.fleet() as fleet:
        found = fleet.rescue_of(rescue)
        is_stopped, status = found.stop(by=by), found.status()
    text = f"{found.id} is stopped." if is_stopped else f"{found.id} was {status.state}."
    invocation.output.show(data=rescue_data(status), ids=[found.id], text=text)
    return fail.DONE if is_stopped else fail.FAILED


@click.command("undo-rescue", cls=Command)
@rescue_argument
@by_option
@click.pass_obj
def undo_rescue(invocation: Invocation, rescue: str, by: str | None) -> int:
    """Stop a rescue, and make dead letters again of its jobs that have not started."""
    with invocation.fleet() as fleet:
        found = fleet.rescue_of(rescue)
        number, status = found.undo(by=by), found.status()
    text = f"{count(number, 'job')} of {found.id} {'is a dead letter' if number == 1 else 'are dead letters'} again."
    invocation.output.show(data=rescue_data(status), ids=[found.id], text=text)
    return fail.DONE
