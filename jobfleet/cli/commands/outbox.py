"""`jobfleet outbox`: create the table; list, retry and drop rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group, by_option, settings, yes_option
from jobfleet.cli.output import Cell, Column, age, agreed, count, say
from jobfleet.client._sync.audit import audited
from jobfleet.client.outbox_relays import outbox_relays
from jobfleet.config import mask_url
from jobfleet.config.table import needs_sql
from jobfleet.errors import ConfigError, InvalidJob, JobfleetError
from jobfleet.operations.audit import Action
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.outbox import function_of
from jobfleet.outbox import create_tables
from jobfleet.outbox.statements import Listed, is_relayed, name_of_url

if TYPE_CHECKING:
    from jobfleet.outbox.rows import OutboxRows


NAMED = 3
"""Rows that a question names."""
COLUMNS: tuple[Column | str, ...] = (
    "ID",
    Column("FUNCTION", is_elastic=True),
    Column("AGE", True),
    "STATE",
    Column("TRIES", True),
    Column("ERROR", is_elastic=True),
)


@click.group(cls=Group)
def outbox() -> None:
    """Create the outbox in your database, and list, retry or drop its rows."""


def _url(invocation: Invocation) -> str:
    url = invocation.config.outbox_url
    if url is None:
        raise ConfigError("There is no outbox: set --outbox-url / JOBFLEET_OUTBOX_URL.")
    return url


@contextmanager
def _rows(invocation: Invocation) -> Iterator[OutboxRows]:
    url = _url(invocation)
    with needs_sql("outbox"):
        from jobfleet.outbox.rows import OutboxRows
    with closing(OutboxRows(url, invocation.config.namespace)) as rows:
        yield rows


@outbox.command()
@settings("outbox_url")
@click.pass_obj
def init(invocation: Invocation) -> None:
    """Create the table, unless it exists."""
    url = _url(invocation)
    create_tables(url)
    data = {"url": mask_url(url)}
    invocation.output.show(data=data, ids=[], text=f"The outbox at {mask_url(url)} has its table.")


@outbox.command()
@settings("outbox_url")
@click.pass_obj
def status(invocation: Invocation) -> None:
    """Show the number of waiting and refused rows, and how old they are."""
    with _rows(invocation) as rows:
        counts = rows.counts()
    relays, unknown = _relays(invocation)
    shown = {
        "outbox": mask_url(_url(invocation)),
        "waiting rows": f"{counts.waiting:,}",
        "oldest": f"{age(counts.lag)} old" if counts.waiting else "",
        "refused rows": f"{counts.refused:,}",
        "first refused": f"{age(counts.refused_for)} ago" if counts.refused else "",
        "its error": counts.error,
        "relayed by": unknown or _relayed(relays),
    }
    invocation.output.show(
        data={**counts._asdict(), "relays": relays}, ids=[], text=invocation.output.details(shown.items())
    )


def _relays(invocation: Invocation) -> tuple[int | None, str]:
    """The number of live reapers that relay the outbox; None, and why, if it is unknown."""
    try:
        with invocation.fleet() as fleet:
            found = outbox_relays(fleet)
    except JobfleetError as error:
        return None, f"unknown: {error}"
    name = name_of_url(_url(invocation))
    if found is None:
        return None, "unknown, because Redis does not reply"
    return sum(is_relayed(name, (one,)) for one in found), ""


def _relayed(relays: int | None) -> str:
    return count(relays, "reaper") if relays else "nobody: start a reaper with outbox_url"


@outbox.command()
@click.option("--refused", "only", flag_value="refused", default=None, help="Only rows that were refused.")
@click.option("--waiting", "only", flag_value="waiting", default=None, help="Only rows that wait.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="Rows at most. [default 50]")
@settings("outbox_url")
@click.pass_obj
def ls(invocation: Invocation, only: str | None, limit: int) -> None:
    """List the rows, oldest first. Rows that were refused have an error and stay until you retry or drop them."""
    with _rows(invocation) as rows:
        found = rows.listed(refused=None if only is None else only == "refused", limit=limit)
    if not found and invocation.form == "table":
        say("No such rows.")
        return
    functions = [function_of(row.job) or "-" for row in found]
    data = [
        {
            "id": row.id, "function": function, "age": row.age, "tries": row.tries,
            "state": _state(is_refused=row.is_refused), "error": row.error,
        }
        for row, function in zip(found, functions, strict=True)
    ]  # fmt: skip
    lines: list[list[Cell | str]] = [
        [
            row.id,
            function,
            age(row.age),
            Cell(_state(is_refused=row.is_refused), "red" if row.is_refused else None),
            f"{row.tries:,}",
            row.error or "-",
        ]
        for row, function in zip(found, functions, strict=True)
    ]
    invocation.output.show(data=data, ids=[row.id for row in found], text=invocation.output.table(COLUMNS, lines))


def _state(*, is_refused: bool) -> str:
    return "refused" if is_refused else "waiting"


@outbox.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All rows that have an error.")
@by_option
@settings("outbox_url")
@click.pass_obj
def retry(invocation: Invocation, ids: Sequence[str], every: bool, by: str | None) -> int:
    """Let rows with an error be relayed again at once, after their cause was mended. A part of an ID is enough."""
    chosen = _chosen(ids, every=every)
    with _rows(invocation) as rows:
        chosen = None if chosen is None else rows.full_ids(chosen)
        action = retry_rows(chosen, rows.listed(has_error=True, ids=chosen, limit=SHOWN))
        number = _recorded(invocation, action, lambda: rows.retry(chosen), by)
    return _report(invocation, "retried", number, f"{count(number, 'row')} will be tried again.", every=every)


@outbox.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All rows that were refused.")
@by_option
@yes_option
@settings("outbox_url")
@click.pass_obj
def drop(invocation: Invocation, ids: Sequence[str], every: bool, by: str | None, yes: bool) -> int:
    """Delete rows, so that their jobs are never enqueued. An ID, or a part of it, may be that of a waiting row, too."""
    chosen = _chosen(ids, every=every)
    with _rows(invocation) as rows:
        chosen = None if chosen is None else rows.full_ids(chosen)
        found = rows.listed(refused=True if every else None, ids=chosen, limit=SHOWN)
        if found and not agreed(f"Delete {_meant(rows, chosen, found)} of the outbox? Their jobs are lost.", yes=yes):
            return fail.FAILED
        action = drop_rows(chosen, found)
        number = _recorded(invocation, action, lambda: rows.drop(chosen), by)
    return _report(invocation, "dropped", number, f"Deleted {count(number, 'row')}.", every=every)


def _meant(rows: OutboxRows, chosen: Sequence[str] | None, found: Sequence[Listed]) -> str:
    """The rows that somebody is about to delete, in words."""
    if chosen is None:
        return f"all refused rows ({rows.counts().refused:,})"
    if len(chosen) > SHOWN:
        return count(len(chosen), "row")
    named = [f"{row.id} {function_of(row.job)}".rstrip() for row in found[:NAMED]]
    return f"{count(len(found), 'row')} ({', '.join(named)}{', …' if len(found) > NAMED else ''})"


def _chosen(ids: Sequence[str], *, every: bool) -> list[str] | None:
    """The ids, without repetitions; None for all rows."""
    if bool(ids) == every:
        raise InvalidJob("Give the ids of rows, as 'jobfleet outbox ls' shows them, or --all.", field="ids")
    return None if every else list(dict.fromkeys(ids))


def _recorded(invocation: Invocation, action: Action, act: Callable[[], int], by: str | None) -> int:
    """Do an action and record it in the audit, which is in Redis; return the number of rows."""
    with invocation.fleet() as fleet:
        return audited(fleet.context, partial(drive_blocking, fleet.store), action, act, by=by)


def _report(invocation: Invocation, verb: str, number: int, text: str, *, every: bool) -> int:
    """Print the result; without a hit, a named row does not exist."""
    if not number and not every and invocation.form == "table":
        say("No such rows." if verb == "dropped" else "No such rows with an error.")
        return fail.NOT_FOUND
    invocation.output.show(data={verb: number}, ids=[], text=text)
    return fail.DONE if number or every else fail.NOT_FOUND


SHOWN = 50
"""Rows whose values a record has; its count is that of all rows."""


def retry_rows(ids: Sequence[str] | None, found: Sequence[Listed]) -> Action:
    """Another try of rows with an error.

    Args:
        ids: The ids that were named; None for all rows with an error.
        found: The first of the rows, before the action.
    """
    after = {row.id: _words("waiting", row) for row in found}
    return Action(
        "outbox.retry", _target(ids, "all rows with an error"), after, before=_before(found), is_elsewhere=True
    )


def drop_rows(ids: Sequence[str] | None, found: Sequence[Listed]) -> Action:
    """Audit record for deleting outbox rows.

    Args:
        ids: The ids that were named; None for all refused rows.
        found: The first of the rows, before the action.
    """
    after = {row.id: "deleted" for row in found}
    return Action("outbox.drop", _target(ids, "all refused rows"), after, before=_before(found), is_elsewhere=True)


def _target(ids: Sequence[str] | None, every: str) -> str:
    return every if ids is None else ", ".join(ids)


def _before(found: Sequence[Listed]) -> dict[str, str]:
    """The state of each row; its error is left out, because it may have values of arguments."""
    return {
        row.id: _words("refused" if row.is_refused else "postponed" if row.tries else "waiting", row) for row in found
    }


def _words(state: str, row: Listed) -> str:
    return f"{state} {function_of(row.job)}".rstrip()
