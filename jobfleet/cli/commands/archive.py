"""`jobfleet archive`: the jobs in the SQL archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from jobfleet.archive import database_errors, init_job_tables
from jobfleet.cli import fail
from jobfleet.cli.commands.jobs import FILTERS, show_jobs
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Group, by_option, settings, yes_option
from jobfleet.cli.output import agreed, clock, count, say
from jobfleet.cli.verbs import parameters_of
from jobfleet.client._sync.audit import audited
from jobfleet.clock import iso
from jobfleet.config import mask_url
from jobfleet.config.table import needs_sql
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.model import STORED, JobStatus
from jobfleet.operations.audit import Action
from jobfleet.operations.operation import drive_blocking
from jobfleet.services.duties.archive import GROUP
from jobfleet.store.calls.journal import dismiss, unregister
from jobfleet.store.fleet import read_whole

if TYPE_CHECKING:
    from jobfleet.archive import JobRepository
    from jobfleet.fleet.sync import Fleet

EVERY = [word.value for word in STORED]
ENDED = [word.value for word in STORED if word.is_final]


@click.group(cls=Group)
def archive() -> None:
    """Create and search the archive, and delete old jobs from it."""


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """Turn the error of a database that does not answer into one line."""
    try:
        yield
    except database_errors() as error:
        reason = str(error.orig).strip().split("\n", 1)[0]
        raise StoreUnavailable(f"No archive at {mask_url(url)} ({reason}).") from None


@contextmanager
def _repository(invocation: Invocation) -> Iterator[JobRepository]:
    url = _url(invocation)
    with needs_sql("archive"):
        from jobfleet.archive import schema
        from jobfleet.archive.repository import JobRepository
    with _answering(url), JobRepository(url, namespace=invocation.config.namespace) as repository:
        current, needed = schema.revisions(repository.engine)
        if current is None:
            raise ConfigError(f"The archive at {mask_url(url)} has no tables: run 'jobfleet archive init'.")
        if current != needed:
            raise ConfigError(f"The archive's tables are at {current}, not {needed}: run 'jobfleet archive upgrade'.")
        yield repository


def _url(invocation: Invocation) -> str:
    url = invocation.config.archive_url
    if url is None:
        raise ConfigError("There is no archive: set --archive-url / JOBFLEET_ARCHIVE_URL.")
    return url


@archive.command()
@settings("archive_url")
@click.pass_obj
def init(invocation: Invocation) -> None:
    """Create the tables, or migrate existing ones to this version."""
    _make(invocation)


@archive.command()
@settings("archive_url")
@click.pass_obj
def upgrade(invocation: Invocation) -> None:
    """Migrate the tables to this version, or create them if there are none."""
    _make(invocation)


def _make(invocation: Invocation) -> None:
    url = _url(invocation)
    with _answering(url):
        revision = init_job_tables(url)
    text = f"The archive at {mask_url(url)} is at revision {revision}."
    invocation.output.show(data={"url": mask_url(url), "revision": revision}, ids=[], text=text)


@archive.command()
@settings("archive_url")
@click.pass_obj
def status(invocation: Invocation) -> None:
    """Show the number of jobs in the archive, and how far it is behind."""
    with _repository(invocation) as repository:
        counts = repository.statistics()
        newest = repository.latest()
    with invocation.fleet() as fleet:
        queues = fleet.queues()
    behind, dropped = sum(queue.unread for queue in queues), sum(queue.dropped for queue in queues)
    rate, average = counts["success_rate"], counts["average_duration"]
    shown = {
        "archive": mask_url(_url(invocation)),
        "jobs": f"{counts['total']:,}",
        **{name: f"{counts[name]:,}" for name in EVERY if counts[name]},
        "success rate": "" if rate is None else f"{rate:.1%}",
        "average duration": "" if average is None else f"{average:.3g} s",
        "latest event": clock(newest),
        "events not archived yet": f"{behind:,}",
        "events dropped at the journal's limit": f"{dropped:,}" if dropped else "",
    }
    data = {**counts, "latest": iso(newest), "behind": behind, "dropped": dropped}
    invocation.output.show(data=data, ids=[], text=invocation.output.details(shown.items()))


@archive.command()
@parameters_of([one for one in FILTERS if one.name != "tags"], status=EVERY)
@click.option("--tag", metavar="TAG", help="Only jobs with this tag.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="Rows at most. [default 50]")
@click.option("--offset", type=click.IntRange(0), default=0, metavar="N", help="Rows to skip. [default 0]")
@settings("archive_url")
@click.pass_obj
def search(invocation: Invocation, /, status: str | None, **chosen: Any) -> None:
    """Find jobs, newest first."""
    with _repository(invocation) as repository:
        jobs = repository.search(status=None if status is None else JobStatus(status), **chosen)
    if not jobs and invocation.form == "table":
        say("No such jobs.")
    show_jobs(invocation, jobs)


@archive.command()
@by_option
@yes_option
@click.pass_obj
def detach(invocation: Invocation, by: str | None, yes: bool) -> int:
    """Stop keeping events for the archive, when no reaper writes it any more.

    Events that are not archived yet are lost. A reaper with an archive attaches it again.
    """
    if not agreed("Stop keeping events for the archive?", yes=yes):
        return fail.FAILED
    with invocation.fleet() as fleet:
        action = Action("archive.detach", "all queues")
        was = audited(fleet.context, partial(drive_blocking, fleet.store), action, lambda: _detach(fleet), by=by)
    invocation.output.show(data={"detached": was}, ids=[], text="Detached." if was else "It was not attached.")
    return fail.DONE


def _detach(fleet: Fleet) -> bool:
    keys = fleet.context.keys
    was = fleet.store.run(dismiss(keys, GROUP))
    for queue, (_, lanes) in read_whole(fleet.store, keys).queues.items():
        for lane in fleet.context.lanes_of(queue, lanes):
            was |= fleet.store.run(unregister(lane, GROUP))
    return was


@archive.command()
@click.option(
    "--older-than", type=TIME, required=True, metavar="TIME", help="Least time since the job ended, such as '90d'."
)
@click.option(
    "--status", "statuses", type=click.Choice(ENDED), multiple=True, help="Only this status; may be repeated."
)
@yes_option
@settings("archive_url")
@click.pass_obj
def prune(invocation: Invocation, older_than: float, statuses: tuple[str, ...], yes: bool) -> int:
    """Delete jobs that ended long ago, with results, attempts and tags.

    Open jobs are never deleted.
    """
    chosen = [JobStatus(word) for word in statuses or ENDED]
    with _repository(invocation) as repository:
        number = repository.count_ended(older_than, status=chosen)
        if number and not agreed(f"Delete {count(number, 'job')} from the archive?", yes=yes):
            return fail.FAILED
        gone = repository.prune(older_than, status=chosen) if number else 0
    invocation.output.show(data={"pruned": gone}, ids=[], text=f"Deleted {count(gone, 'job')}.")
    return fail.DONE
