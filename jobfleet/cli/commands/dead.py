"""`jobfleet dead`: list, show, edit, replay, purge and rescue dead letters, and decide about their groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.dead_triage import triage
from jobfleet.cli.commands.edit import edit
from jobfleet.cli.commands.jobs import full_id, letter_of, say_stopped
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, Group, by_option, yes_option
from jobfleet.cli.output import Cell, Column, Output, agreed, clock, count, plain_lines, say, since
from jobfleet.cli.verbs import command_of, each, options_of, parameters_of
from jobfleet.cli.view import (
    arguments_text,
    group_data,
    history_of,
    job_data,
    job_details,
    letter_data,
    rescue_data,
    shown_id,
)
from jobfleet.client._sync.audit import audited
from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult
from jobfleet.operations import dead_letters
from jobfleet.operations.audit import Action, outcome_of
from jobfleet.operations.dead_groups import ignore, reopen, resolve
from jobfleet.operations.dead_letters import replay_many
from jobfleet.operations.lanes import no_queue
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.rescues import start

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.dead_groups import DeadGroup
    from jobfleet.operations.dead_letters import DeadFilters
    from jobfleet.operations.jobs.listing import Letter
    from jobfleet.operations.rescues import RescueStatus


GROUP_COLORS = {"new": "yellow", "regressed": "red"}


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
        text = _group_table(output, rows) if output.form == "table" else ""
        output.show(data=[group_data(row) for row in rows], ids=[row.fingerprint for row in rows], text=text)
    if page.cursor:
        say(f"There are more groups: --cursor {page.cursor}")


def _group_table(output: Output, rows: list[DeadGroup]) -> str:
    now = datetime.now(UTC)
    lines: list[list[Cell | str]] = [
        [
            str(row.count),
            row.fingerprint,
            Cell(row.state, GROUP_COLORS.get(row.state)),
            row.function,
            since(row.last, now),
            Cell(row.error_text, "red"),
        ]
        for row in rows
    ]
    function = Column("FUNCTION", is_elastic=True)
    return output.table([Column("COUNT", True), "GROUP", "STATE", function, Column("LAST", True), "ERROR"], lines)


RESCUE_COLORS = {"stopped": "red", "running": "yellow"}
rescue_argument = click.argument("rescue", metavar="ID|GROUP")


@click.command(cls=Command)
@options_of(start)
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
    text = _rescue_table(output, rows) if output.form == "table" else ""
    output.show(data=[rescue_data(row) for row in rows], ids=[row.id for row in rows], text=text)


def _rescue_table(output: Output, rows: list[RescueStatus]) -> str:
    now = datetime.now(UTC)
    lines: list[list[Cell | str]] = [
        [
            row.id,
            Cell(row.state, RESCUE_COLORS.get(row.state)),
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


BATCH = 200
Act = Callable[[str], bool]

FILTERS = tuple(one for one in replay_many.parameters if one.name != "fresh")
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "every", is_flag=True, help="All dead letters.")


@click.group(cls=Group)
def dead() -> None:
    """List, group, edit, replay and delete dead letters."""


decisions = [command_of(verb) for verb in (resolve, ignore, reopen)]
for command in (edit, list_groups, triage, *decisions, rescue, rescues, stop_rescue, undo_rescue):
    dead.add_command(command)


@dead.command("ls")
@parameters_of(FILTERS)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="Rows at most. [default 50]")
@click.option("--cursor", default="", metavar="TEXT", help="Continue after a page that had this cursor.")
@click.pass_obj
def ls(invocation: Invocation, queue: str | None, limit: int, cursor: str, **filters: Unpack[DeadFilters]) -> None:
    """List the newest dead letters."""
    with invocation.fleet() as fleet:
        letters = fleet.dead(queue, limit=limit, cursor=cursor, **filters)
    if not letters and invocation.form == "table":
        say("No dead letters." if not letters.cursor else "No such dead letters so far.")
    output = invocation.output
    if letters or output.form != "table":
        text = _letter_table(output, letters) if output.form == "table" else ""
        output.show(data=[job_data(row) for row in letters], ids=[row.id for row in letters], text=text)
    if letters.cursor:
        say(f"There are more: --cursor {letters.cursor}")


def _letter_table(output: Output, letters: list[JobResult[Any]]) -> str:
    now = datetime.now(UTC)
    rows: list[list[Cell | str]] = [
        [
            shown_id(output, letter.id),
            letter.function,
            str(letter.runs),
            since(letter.completed_at, now),
            Cell(letter.error_text, "red"),
        ]
        for letter in letters
    ]
    return output.table(
        ["ID", Column("FUNCTION", is_elastic=True), Column("RUNS", True), Column("DEAD", True), "ERROR"], rows
    )


@dead.command()
@click.argument("id", metavar="ID")
@click.pass_obj
def show(invocation: Invocation, id: str) -> None:
    """Show a dead letter with its traceback."""
    with invocation.fleet() as fleet:
        letter = letter_of(fleet, full_id(fleet, id))
    text = "\n\n".join(_parts(invocation.output, letter))
    invocation.output.show(data=letter_data(letter), ids=[letter.job.id], text=text)


def _parts(output: Output, letter: Letter) -> Iterator[str]:
    yield job_details(output, letter.job, with_traceback=True)
    if letter.args is not None and letter.kwargs is not None:
        yield f"arguments: {plain_lines(arguments_text(letter.args, letter.kwargs))}"
    if letter.history:
        yield "\n".join(["history:", *(f"  {line}" for line in history_of(letter.history))])


@dead.command()
@ids_argument
@all_option
@options_of(replay_many)
@yes_option
@click.pass_obj
def replay(
    invocation: Invocation,
    ids: tuple[str, ...],
    every: bool,
    queue: str | None,
    fresh: bool,
    by: str | None,
    yes: bool,
    **filters: Unpack[DeadFilters],
) -> int:
    """Put dead letters back into their queues, with their history and their completed steps.

    Asks before it replays all, or all that match. Exit code 3 if there is none.
    """
    with invocation.fleet() as fleet:
        several = _check_choice(ids, every, queue, filters)
        if several and not (number := _number(fleet, queue, filters)):
            return _nothing(invocation, "replayed")
        if several and not agreed(f"Replay {count(number, 'dead letter')}{_of(queue)}?", yes=yes):
            return fail.FAILED
        otherwise = "the job is open, or did not fail"
        if not several:
            named = list(dict.fromkeys(fleet.full_ids(ids)))
            code = _act(invocation, iter(named), "replayed", otherwise, partial(fleet.replay, by=by, fresh=fresh))
            say_stopped(fleet, named)
            return code

        def again(job_id: str) -> bool:
            return drive_blocking(fleet.store, dead_letters.replay(fleet.context, job_id, fresh=fresh, by=by))

        action, chosen = replay_many.action(fleet.context, queue, fresh=fresh, **filters), _each(fleet, queue, filters)
        return _as_one(fleet, action, by, again, lambda act: _act(invocation, chosen, "replayed", otherwise, act))


@dead.command()
@ids_argument
@all_option
@parameters_of(FILTERS)
@by_option
@yes_option
@click.pass_obj
def purge(
    invocation: Invocation,
    ids: tuple[str, ...],
    every: bool,
    queue: str | None,
    by: str | None,
    yes: bool,
    **filters: Unpack[DeadFilters],
) -> int:
    """Delete dead letters permanently.

    Asks before it deletes. Exit code 3 if there is none.
    """
    with invocation.fleet() as fleet:
        several = _check_choice(ids, every, queue, filters)
        named = [] if several else list(dict.fromkeys(fleet.full_ids(ids)))
        number = _number(fleet, queue, filters) if several else sum(_is_letter(fleet, job_id) for job_id in named)
        if several and not number:
            return _nothing(invocation, "purged")
        if number and not agreed(f"Delete {count(number, 'dead letter')}{_of(queue)} permanently?", yes=yes):
            return fail.FAILED
        if not several:
            return _act(
                invocation, iter(named), "purged", "", lambda job_id: _purged(job_id, fleet.purge(job_id, by=by))
            )

        def away(job_id: str) -> bool:
            return _purged(job_id, drive_blocking(fleet.store, dead_letters.purge(fleet.context, job_id)))

        action = replace(replay_many.action(fleet.context, queue, **filters), name="dead.purge")
        chosen = _each(fleet, queue, filters)
        return _as_one(fleet, action, by, away, lambda act: _act(invocation, chosen, "purged", "", act))


def _as_one(fleet: Fleet, action: Action, by: str | None, act: Act, run: Callable[[Act], int]) -> int:
    """Act on all letters, or on all that match, which the audit records as one action; return the exit code."""
    number = 0

    def counted(job_id: str) -> bool:
        nonlocal number
        was = act(job_id)
        number += was
        return was

    action = replace(action, end=lambda _: outcome_of(number))
    return audited(fleet.context, partial(drive_blocking, fleet.store), action, lambda: run(counted), by=by)


def _is_letter(fleet: Fleet, job_id: str) -> bool:
    try:
        fleet.letter(job_id)
    except JobNotFound:
        return False
    return True


def _purged(job_id: str, was: bool) -> bool:
    if not was:
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    return True


def _check_choice(ids: tuple[str, ...], every: bool, queue: str | None, filters: DeadFilters) -> bool:
    """Whether all letters are meant, or all that match."""
    is_filtered = any(value is not None for value in filters.values())
    if ids and is_filtered:
        raise click.UsageError("Give ids or filters, not both.")
    if bool(ids) == (every or is_filtered):
        raise click.UsageError("Give ids, or --all." if not ids else "Give ids or --all, not both.")
    if ids and queue:
        raise click.UsageError("--queue requires --all.")
    return not ids


def _number(fleet: Fleet, queue: str | None, filters: DeadFilters) -> int:
    if any(value is not None for value in filters.values()):
        return fleet.count_dead(queue, **filters)
    every = {row.name: row.dead for row in fleet.queues()}
    if queue is not None and queue not in every:
        raise no_queue(queue, every)
    return sum(every.values()) if queue is None else every[queue]


def _of(queue: str | None) -> str:
    return f" of {queue}" if queue else ""


def _each(fleet: Fleet, queue: str | None, filters: DeadFilters) -> Iterator[str]:
    """The ids of all matching dead letters, in bounded batches. Letters that come meanwhile are left out."""
    cursor = ""
    while True:
        page = fleet.dead(queue, limit=BATCH, cursor=cursor, **filters)
        yield from (row.id for row in page)
        cursor = page.cursor
        if not cursor:
            return


def _nothing(invocation: Invocation, verb: str) -> int:
    if invocation.form == "table":
        say("No dead letters.")
    else:
        invocation.output.show(data={verb: [], "left": []}, ids=(), text="")
    return fail.NOT_FOUND


def _act(invocation: Invocation, chosen: Iterator[str], verb: str, otherwise: str, act: Callable[[str], bool]) -> int:
    """Apply an act to each letter."""
    found, left, code = each(chosen, act, lambda job_id: f"{job_id}: {otherwise}.")
    done = list(found)
    text = f"{verb.capitalize()} {count(len(done), 'dead letter')}."
    invocation.output.show(data={verb: done, "left": left}, ids=done, text=text)
    return code
