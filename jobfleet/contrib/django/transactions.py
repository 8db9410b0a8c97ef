"""Enqueue when the database transaction commits."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.model import Job


def enqueue_on_commit(job: Job[Any], *, using: str | None = None, fleet: Fleet | None = None) -> None:
    """Enqueue a job when the current transaction commits, or at once outside of one; never after a rollback.

    The job begins after the commit, so it sees the rows that the transaction has written. If Redis does not reply then,
    `StoreUnavailable` is raised behind the commit, and the job is lost: the rows are there without it.

    Args:
        job: The job, such as ``send.job("ann@example.org")``.
        using: The alias of the database; default that of Django.
        fleet: The fleet; default the default fleet.
    """
    transaction.on_commit(lambda: (fleet or default_fleet()).enqueue(job), using=using)
