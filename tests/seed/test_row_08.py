"""Row 8: errors are transient or permanent, by the type of the exception."""

from __future__ import annotations

import pytest

from jobfleet import ErrorType, Fleet, Job, JobStatus, enqueue, wait
from tests.support.fleet import LONG, Programs


@pytest.mark.parametrize(
    ("name", "kind", "runs"),
    [
        ("ValueError", ErrorType.PERMANENT, 1),
        ("ConnectionError", ErrorType.TRANSIENT, 3),
        ("TimeoutError", ErrorType.TRANSIENT, 3),
    ],
)
def test_transient_errors_are_retried_and_permanent_ones_are_not(
    fleet: Fleet, programs: Programs, name: str, kind: ErrorType, runs: int
) -> None:
    programs.ready("seeds")

    result = wait(enqueue(Job(name="Raise", function="seed.raise", args=(name,), max_retries=2)), timeout=LONG)

    assert (result.status, result.error_type, result.error_class, result.attempt) == (
        JobStatus.FAILED, kind, name, runs,
    )  # fmt: skip


def test_a_function_may_say_otherwise(fleet: Fleet, programs: Programs) -> None:
    programs.ready("seeds")
    busy, refused = (enqueue(Job(name=name, function="seed.charge", args=(name,))) for name in ("Busy", "Refused"))

    again, over = wait(busy, timeout=LONG), wait(refused, timeout=LONG)

    assert (again.status, again.result) == (JobStatus.COMPLETED, 2)
    assert (over.status, over.error_type, over.attempt) == (JobStatus.FAILED, ErrorType.PERMANENT, 1)
