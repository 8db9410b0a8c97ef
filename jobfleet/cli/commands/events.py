"""What happened in a fleet: `jobfleet events tail`, and `jobfleet audit`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, Group, read_past
from jobfleet.cli.output import Cell, Column, Hours, Output, clock, plain, say, to_json
from jobfleet.cli.view import audit_data
from jobfleet.clock import iso, monotonic
from jobfleet.events import NAMES, Event
from jobfleet.model.audit import AuditEntry, AuditFilter

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet

LOOK_EVERY = 0.5
"""Seconds between reads while the audit is followed."""
CONTINUES_AFTER = 2.0
"""Seconds after which an action that has not ended is shown. Most end sooner, and are shown once."""
OUTCOMES = {"done": "green", "unchanged": "dim", "error": "red", "unknown": "yellow"}
COLORS = {"completed": "green", "failed": "red", "retried": "yellow", "parked": "yellow", "cancelled": "yellow"}


@click.group(cls=Group)
def events() -> None:
    """Follow the events of jobs."""


@events.command(cls=Command)
@click.option("--queue", metavar="NAME", help="Only events of this queue.")
@click.option("--event", "names", type=click.Choice(NAMES), multiple=True, help="Only this event; may be repeated.")
@click.option("--count", "-n", "most", type=click.IntRange(1), metavar="N", help="Stop after N events.")
@click.pass_obj
def tail(invocation: Invocation, queue: str | None, names: tuple[str, ...], most: int | None) -> None:
    """Show the events of jobs from now on, one per line, until Ctrl-C.

    Events can be lost, and progress is shown at most ten times per second. For a complete record of all jobs, use the
    archive.
    """
    from jobfleet.client._sync.events import tail as tailed

    output = invocation.output
    hours = Hours(output)
    with invocation.fleet() as fleet:
        fleet.store.patience = invocation.config.patience
        found = (event for event in tailed(fleet, queue) if not names or event.event in names)
        for event in itertools.islice(found, most):
            output.line(_shown(output, hours, event))


def _shown(output: Output, hours: Hours, event: Event) -> str:
    if output.form == "ids":
        return event.id
    if output.form == "json":
        stage = {"stage": event.stage} if event.stage else {}
        return to_json({"at": iso(event.at), "event": event.event, "id": event.id, **stage})
    name = output.styled(f"{event.event:<11}", COLORS.get(event.event))
    return f"{hours.at(event.at)}  {name}  {plain(event.id)}  {event.stage}".rstrip()


@click.command(cls=Command)
@click.option("--since", metavar="TIME", callback=read_past, help="Only entries since: '24h' ago, or 2026-11-25T08:00.")
@click.option("--until", metavar="TIME", callback=read_past, help="Only entries before this time.")
@click.option("--by", metavar="WHO", help="Only actions of this person or program.")
@click.option("--action", metavar="NAME", help="Only this action, such as queue.pause, or this kind, such as queue.")
@click.option("--target", metavar="TEXT", help="Only actions on a target that contains this text.")
@click.option("--follow", "-f", is_flag=True, help="Show new entries as they come, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="Rows per page. [default 50]")
@click.option("--cursor", default="", metavar="TEXT", help="The start of the page, as printed with the page before.")
@click.option("--count", "-n", "most", type=click.IntRange(1), metavar="N", help="With --follow: stop after N entries.")
@click.pass_obj
def audit(invocation: Invocation, /, follow: bool, limit: int, cursor: str, most: int | None, **options: Any) -> None:
    """Show what operators have done, the newest first: who, when, what, and how it ended.

    It has all actions on queues, limits, workers, recurring jobs and many jobs, and those on a single job that came
    from the command line, from the web, or with 'by'. With an archive it goes back beyond what Redis keeps.
    """
    output = invocation.output
    if most is not None and not follow:
        raise click.UsageError("--count belongs to --follow.")
    with invocation.fleet() as fleet:
        if follow:
            fleet.store.patience = invocation.config.patience
            hours = Hours(output)
            for entry in itertools.islice(_followed(fleet, AuditFilter(**options)), most):
                output.line(_audit_line(output, hours, entry))
            return
        page = fleet.audit(**options, limit=limit, cursor=cursor)
    text = _audit_table(output, page.entries) if page.entries and output.form == "table" else ""
    output.show(
        data={"entries": [audit_data(entry) for entry in page.entries], "cursor": page.cursor},
        ids=[entry.id for entry in page.entries],
        text=text,
    )
    if output.form == "table" and not page.entries:
        say("No such actions.")
    if page.cursor and output.form != "json":
        say(f"{len(page.entries):,} rows; there may be more: --cursor {page.cursor}")


def _followed(fleet: Fleet, chosen: AuditFilter) -> Iterator[AuditEntry]:
    from jobfleet.operations.audit import entries_after, opened, start
    from jobfleet.operations.operation import drive_blocking

    after = drive_blocking(fleet.store, start(fleet.context.keys, chosen.since))
    met: dict[str, float] = {}
    while True:
        found = drive_blocking(fleet.store, entries_after(fleet.context.keys, after))
        for record, entry in opened(found.records):
            if entry.ended_at is None and monotonic() - met.setdefault(entry.id, monotonic()) < CONTINUES_AFTER:
                break
            met.pop(entry.id, None)
            after = str(record.position)
            if chosen.fits(entry):
                yield entry
        else:
            after = found.after
            if not found.is_last:
                continue
        time.sleep(LOOK_EVERY)


def _audit_table(output: Output, entries: Sequence[AuditEntry]) -> str:
    rows: list[list[Cell | str]] = [
        [clock(_recorded(entry)), entry.by, entry.source, entry.action, entry.target, _outcome(entry), changed(entry)]
        for entry in entries
    ]
    heads: list[Column | str] = ["TIME", Column("BY", is_elastic=True), Column("VIA", is_spare=True), "ACTION"]
    return output.table([*heads, Column("TARGET", is_elastic=True), "OUTCOME", "CHANGE"], rows)


def _audit_line(output: Output, hours: Hours, entry: AuditEntry) -> str:
    if output.form == "ids":
        return entry.id
    if output.form == "json":
        return to_json(audit_data(entry))
    what = f"{plain(entry.by)}  {entry.action}  {plain(entry.target)}  {output.styled(*_outcome(entry))}"
    return f"{hours.at(_recorded(entry))}  {what}  {plain(changed(entry))}".rstrip()


def _recorded(entry: AuditEntry) -> datetime:
    return entry.ended_at or entry.at


def _outcome(entry: AuditEntry) -> Cell:
    text = entry.error or entry.outcome
    return Cell(f"{text} {entry.count:,}" if entry.count is not None else text, OUTCOMES.get(entry.outcome))


def changed(entry: AuditEntry) -> str:
    """The values before and after an action in words."""
    if entry.unread:
        return entry.unread
    parts = []
    for name in {**entry.before, **entry.after}:
        before, after = entry.before.get(name), entry.after.get(name, entry.before.get(name))
        if name not in entry.before or before == after:
            parts.append(f"{name} {_value(after)}")
        else:
            parts.append(f"{name} {_value(before)} → {_value(after)}")
    return ", ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
