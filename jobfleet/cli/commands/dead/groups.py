"""`jobfleet dead groups`, `resolve`, `ignore` and `reopen`: groups of dead letters with the same error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.cli.output import Cell, Column, Output, say, since
from jobfleet.cli.schema import group_data

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.dead.groups import DeadGroup

COLORS = {"new": "yellow", "regressed": "red"}
fingerprint_argument = click.argument("fingerprint", metavar="GROUP")


@click.command("groups", cls=Command)
@click.option("--queue", metavar="NAME", help="Only dead letters of this queue.")
@click.option("--all", "every", is_flag=True, help="Also groups that have no dead letters now.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, metavar="N", help="Groups at most. [default 100]")
@click.option("--cursor", default="", metavar="TEXT", help="Continue after a page that had this cursor.")
@click.pass_obj
def list_groups(invocation: Invocation, queue: str | None, every: bool, limit: int, cursor: str) -> None:
    """Group dead letters by function and error, the most frequent first.

    Messages that differ only in numbers, ids and addresses count as one error. The groups with the newest letters are
    listed.
    """
    with invocation.fleet() as fleet:
        page = fleet.dead_groups(queue, limit=limit, cursor=cursor)
    rows = sorted((row for row in page if every or row.count), key=lambda row: row.count, reverse=True)
    output = invocation.output
    if not rows and output.form == "table":
        say("No dead letters.")
    else:
        text = _table(output, rows) if output.form == "table" else ""
        output.show(data=[group_data(row) for row in rows], ids=[row.fingerprint for row in rows], text=text)
    if page.cursor:
        say(f"There are more groups: --cursor {page.cursor}")


def _table(output: Output, rows: list[DeadGroup]) -> str:
    now = datetime.now(UTC)
    lines: list[list[Cell | str]] = [
        [
            str(row.count),
            row.fingerprint,
            Cell(row.state, COLORS.get(row.state)),
            row.function,
            since(row.last, now),
            Cell(row.error_text, "red"),
        ]
        for row in rows
    ]
    function = Column("FUNCTION", is_elastic=True)
    return output.table([Column("COUNT", True), "GROUP", "STATE", function, Column("LAST", True), "ERROR"], lines)


def _decision(name: str, state: str, text: str, act_of: Callable[[Fleet], Callable[..., bool]]) -> click.Command:
    """A command that sets the state of a group."""

    @click.command(name, cls=Command, help=text)
    @fingerprint_argument
    @by_option
    @click.pass_obj
    def decide(invocation: Invocation, fingerprint: str, by: str | None) -> int:
        with invocation.fleet() as fleet:
            is_fresh = act_of(fleet)(fingerprint, by=by)
        text = f"{fingerprint} is {state}." if is_fresh else f"{fingerprint} was {state} before."
        data = {"fingerprint": fingerprint, "state": state, "changed": is_fresh}
        invocation.output.show(data=data, ids=[fingerprint], text=text)
        return fail.DONE

    return decide


DECISIONS = (
    _decision(
        "resolve",
        "resolved",
        "Declare the cause of a group removed. A job that fails with the same error after this is reported once.",
        lambda fleet: fleet.resolve,
    ),
    _decision("ignore", "ignored", "Send no more notifications about a group.", lambda fleet: fleet.ignore),
    _decision("reopen", "known", "Undo 'resolve' or 'ignore'.", lambda fleet: fleet.reopen),
)
"""The commands that decide about a group."""
