"""Options that select jobs, for every command that lists or changes jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from jobfleet.cli.options import Decorated, read_past
from jobfleet.cli.view import PARKED
from jobfleet.model import JobStatus

FILTERS = ("tags", "queue", "function", "user", "session", "status", "group", "since", "until")


def filters(states: Iterable[JobStatus], *, also: Sequence[str] = ()) -> Callable[[Decorated], Decorated]:
    """Add the options that select jobs to a command.

    Args:
        states: The values of ``--status``.
        also: Further values of it, which the command itself understands.
    """
    words = [*(str(status) for status in JobStatus if status in set(states)), *also]
    options = (
        click.option(
            "--tag", "tags", multiple=True, metavar="TAG",
            help="Only jobs with this tag; repeated: with all these tags.",
        ),
        click.option("--user", metavar="WHO", help="Only jobs of this user."),
        click.option("--session", metavar="TEXT", help="Only jobs of this session."),
        click.option("--function", metavar="NAME", help="Only jobs of this function."),
        click.option("--queue", metavar="NAME", help="Only jobs of this queue."),
        click.option("--group", metavar="TEXT", help="Only jobs of this group."),
        click.option("--status", type=click.Choice(words), help="Only jobs with this status."),
        click.option(
            "--since", metavar="TIME", callback=read_past,
            help="Only jobs enqueued at this time or later: '24h' ago, or 2026-11-25T08:00+01:00.",
        ),
        click.option("--until", metavar="TIME", callback=read_past, help="Only jobs enqueued before this time."),
    )  # fmt: skip

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that are given, as a client's methods take them."""
    found = {name: options[name] for name in FILTERS if options[name] not in (None, ())}
    if "status" in found:
        found["status"] = JobStatus.RETRYING if found["status"] == PARKED else JobStatus(found["status"])
    return found


def chosen(ids: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The given filters of a command that takes ids or filters; empty if ids are given.

    Raises:
        click.UsageError: Neither ids nor filters are given, or both.
    """
    found = given(options)
    if bool(found) == bool(ids):
        raise click.UsageError("Give ids, or options that select jobs.")
    return found
