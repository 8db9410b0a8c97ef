"""The results of a run's parents, as its context shows them. Isolated processes import only this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.codec import Limits
from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.rebuilt import Functions, rebuilt
from jobfleet.operations.results import result_of
from jobfleet.store.calls.inspect import final_of
from jobfleet.worker.run.run import ParentEnd


def results_of(rows: Sequence[ParentEnd], limits: Limits, functions: Functions) -> dict[str, JobResult[Any]]:
    """The results of the parents by id.

    Args:
        rows: The parents, as the look-up has found them.
        limits: The limits of a result.
        functions: The functions that this process knows, which say what their results become.
    """
    return {parent: rebuilt(functions, _result(parent, status, value, limits)) for parent, status, value in rows}


def _result(parent: str, status: str, value: bytes, limits: Limits) -> JobResult[Any]:
    if value:
        try:
            return result_of(parent, final_of(value), 0, limits=limits, is_checked=True)
        except JobNotFound:
            pass
    known = JobStatus(status) if status in JobStatus.__members__.values() else JobStatus.CANCELLED
    return JobResult(id=parent, status=known, error="Its result was deleted.")
