"""`jobfleet dead ls`, `show`, `replay` and `purge`: the dead letters, that is, jobs that failed permanently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.dead.groups import DECISIONS, list_groups
from jobfleet.cli.commands.dead.rescue import rescue, rescues, stop_rescue, undo_rescue
from jobfleet.cli.commands.dead.triage import triage
from jobfleet.cli.commands.job.edit import edit, fresh_option
from jobfleet.cli.commands.job.jobs import full_id, letter_of
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group, by_option, read_past, yes_option
from jobfleet.cli.output import Cell, Column, Output, agreed, count, plain_lines, say, since
from jobfleet.cli.schema import job_data, letter_data
from jobfleet.cli.view import arguments_text, history_of, job_details, shown_id
from jobfleet.client._sync.audit import audited
from jobfleet.errors import DuplicateJob, JobNotFound
from jobfleet.model import JobResult
from jobfleet.operations.actions.dead import of_many
from jobfleet.operations.audit import outcome_of
from jobfleet.operations.dead import replay as dead_replay
from jobfleet.operations.dead.filters import DeadFilter
from jobfleet.operations.lanes import no_queue
from jobfleet.operations.operation import drive_blocking

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.dead.filters import DeadFilters
    from jobfleet.operations.jobs.matching.listing import Letter

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
BATCH = 200

ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "every", is_flag=True, help="All dead letters.")
queue_option = click.option("--queue", metavar="NAME", help="Only dead letters of this queue.")


@click.group(cls=Group)
def dead() -> None:
    """List, group, edit, replay and delete dead letters."""


for command in (edit, list_groups, triage, *DECISIONS, rescue, rescues, stop_rescue, undo_rescue):
    dead.add_command(command)


def filter_options(command: Decorated) -> Decorated:
    """Add the filters of dead letters to a command."""
    for option in (
        click.option("--until", metavar="TIME", callback=read_past, help="Only letters from before this time."),
        click.option(
            "--since", metavar="TIME", callback=read_past,
            help="Only letters from this time on: '24h' ago, or 2026-11-25T08:00+01:00.",
        ),
        click.option("--user", metavar="NAME", help="Only letters of this user."),
        click.option("--tag", metavar="TAG", help="Only letters with this tag."),
        click.option("--fingerprint", metavar="GROUP", help="Only letters of this group; see 'dead groups'."),
        click.option("--function", metavar="NAME", help="Only letters of this function."),
    ):  # fmt: skip
        command = option(command)
    return command


@dead.command("ls")
@queue_option
@filter_options
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
        text = _table(output, letters) if output.form == "table" else ""
        output.show(data=[job_data(row) for row in letters], ids=[row.id for row in letters], text=text)
    if letters.cursor:
        say(f"There are more: --cursor {letters.cursor}")


def _table(output: Output, letters: list[JobResult[Any]]) -> str:
    now = datetime.now(UTC)
    rows: list[list[Cell | str]] = [
        [
            shown_id(output, letter.id),
            letter.function,
            str(letter.attempt),
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
@queue_option
@filter_options
@fresh_option
@by_option
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
            named = iter(dict.fromkeys(fleet.full_ids(ids)))
            return _act(invocation, named, "replayed", otherwise, partial(fleet.replay, by=by, fresh=fresh))

        def again(job_id: str) -> bool:
            return drive_blocking(fleet.store, dead_replay.replay(fleet.context, job_id, by, fresh=fresh))

        many = _Many(fleet, "replay", queue, filters, by)
        return many.act(lambda chosen, act: _act(invocation, chosen, "replayed", otherwise, act), again)


@dead.command()
@ids_argument
@all_option
@queue_option
@filter_options
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
            return _purged(job_id, drive_blocking(fleet.store, dead_replay.purge(fleet.context, job_id)))

        many = _Many(fleet, "purge", queue, filters, by)
        return many.act(lambda chosen, act: _act(invocation, chosen, "purged", "", act), away)


class _Many:
    """An action on all letters, or on all that match, which the audit records as one."""

    def __init__(self, fleet: Fleet, verb: str, queue: str | None, filters: DeadFilters, by: str | None) -> None:
        self._fleet = fleet
        self._chosen = _each(fleet, queue, filters)
        self._action = replace(of_many(verb, DeadFilter(queue=queue, **filters)), end=lambda _: outcome_of(self._count))
        self._by = by
        self._count = 0

    def act(self, run: Callable[[Iterator[str], Callable[[str], bool]], int], act: Callable[[str], bool]) -> int:
        """Act on each letter; return the exit code."""

        def counted(job_id: str) -> bool:
            was = act(job_id)
            self._count += was
            return was

        do = partial(drive_blocking, self._fleet.store)
        return audited(self._fleet.context, do, self._action, lambda: run(self._chosen, counted), by=self._by)


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
    """Apply an act to each letter. A failure is printed, and the next letter follows."""
    done: list[str] = []
    left: list[str] = []
    code = fail.DONE
    for job_id in chosen:
        try:
            if act(job_id):
                done.append(job_id)
                continue
            say(f"{job_id}: {otherwise}.")
            code = max(code, fail.FAILED)
        except (JobNotFound, DuplicateJob) as error:
            say(f"{job_id}: {error}" if isinstance(error, DuplicateJob) else str(error))
            code = max(code, fail.code_of(error))
        left.append(job_id)
    text = f"{verb.capitalize()} {count(len(done), 'dead letter')}."
    invocation.output.show(data={verb: done, "left": left}, ids=done, text=text)
    return code
