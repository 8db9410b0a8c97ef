"""A worker runs what is registered; another callable of its modules runs only when a setting says so, or never."""

from __future__ import annotations

import re
import sys
import warnings

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.functions.registry import Registry
from tests.support.fleet import APPS, LONG, Programs

WARNING = (
    "No live worker runs 'undecorated.helper', which is not registered: decorate it with @job or call "
    "register_job_function('undecorated.helper', …); a worker inside this program runs it as it is, as do workers "
    "with allow_undecorated = true."
)
REACHED = ["undecorated._private", "undecorated.Thing", "undecorated.Thing.make", "undecorated.Thing.make.__self__"]


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
@pytest.mark.parametrize("allows", [False, True])
def test_no_worker_runs_private_helpers_classes_and_methods(programs: Programs, fleet: Fleet, allows: bool) -> None:
    programs.ready("undecorated", unknown_grace=1, allow_undecorated=allows)

    helped = fleet.enqueue(Job("helper", "undecorated.helper", ("there",)))
    ids = [fleet.enqueue(Job("reach", name)) for name in REACHED]
    known = fleet.enqueue(Job("known", "undecorated.known"))

    assert fleet.wait(known, timeout=LONG).result == "known"
    ended = [fleet.wait(job_id, timeout=LONG) for job_id in ids]
    assert {(one.status, one.error_class) for one in ended} == {(JobStatus.FAILED, "unknown-function")}
    result = fleet.wait(helped, timeout=LONG)
    assert (result.status, result.result) == (
        (JobStatus.COMPLETED, "there") if allows else (JobStatus.FAILED, None)
    )  # fmt: skip


def test_the_worker_says_what_to_do_about_an_undecorated_function(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("undecorated", unknown_grace=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job_id = fleet.enqueue(Job("helper", "undecorated.helper"))

    worker.await_line(
        f"Parked {job_id}: 'undecorated.helper' is a function of this worker's modules, but it is not registered: "
        "decorate it with @job or call register_job_function('undecorated.helper', …); "
        "allow_undecorated = true runs it as it is. Goes to the dead letters in 1 s."
    )


def test_a_producer_is_warned_where_no_worker_would_run_its_function(
    programs: Programs, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(APPS))
    import undecorated  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "undecorated", raising=False)
    with Fleet(redis_url, registry=Registry()) as alone, warnings.catch_warnings():
        warnings.simplefilter("error")
        alone.enqueue(Job("helper", undecorated.helper))  # a worker inside this program may follow
    worker = programs.ready("undecorated")

    with Fleet(redis_url, registry=Registry()) as producer:
        with pytest.warns(UserWarning, match=f"^{re.escape(WARNING)}$"):
            producer.enqueue(Job("helper", undecorated.helper))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            producer.enqueue(Job("helper", undecorated.helper))  # once is enough

    worker.close()
    programs.ready("undecorated", allow_undecorated=True)
    with Fleet(redis_url, registry=Registry()) as producer, warnings.catch_warnings():
        warnings.simplefilter("error")
        job_id = producer.enqueue(Job("helper", undecorated.helper))
        assert producer.wait(job_id, timeout=LONG).result == "helped"
