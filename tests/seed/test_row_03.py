"""Row 3: functions registered by a name that survives a restart, lambdas too."""

from __future__ import annotations

import signal

import pytest

from jobfleet import Fleet, InvalidJob, Job, enqueue, poll, register_job_function, wait
from jobfleet.functions.registry import REGISTRY
from tests.support.fleet import LONG, Programs


def test_a_registered_lambda_is_found_by_the_next_worker(fleet: Fleet, programs: Programs) -> None:
    first = programs.ready("seeds")
    assert wait(enqueue(Job(name="Double", function="seed.double", args=(4,))), timeout=LONG).result == 8
    later = enqueue(Job(name="Double", function="seed.double", args=(21,), delay=0.5))
    first.send_all(signal.SIGKILL)
    first.exit_code()

    programs.ready("seeds")

    assert wait(later, timeout=LONG).result == 42
    assert poll(later).function == "seed.double"


def test_a_function_goes_by_its_name_and_a_bare_lambda_is_refused(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REGISTRY, "functions", {})
    made = register_job_function("row.three", lambda: 3)

    assert poll(enqueue(Job(name="Three", function=made))).function == "row.three"
    assert poll(enqueue(Job(name="Three", function="row.three"))).function == "row.three"
    with pytest.raises(InvalidJob, match=r"^Job 'Bare' has a lambda; workers find functions by name\."):
        enqueue(Job(name="Bare", function=lambda: 3))
