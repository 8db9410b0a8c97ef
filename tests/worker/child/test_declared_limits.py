"""A worker stores the limits that its functions declare, before it claims, and an operator overrides them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import redis

from jobfleet import ConfigError, Fleet, Job, JobStatus
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model.limits import LimitInfo
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

DECLARED = LimitInfo(
    "mail", "*", concurrency=2, declared_concurrency=2, declared_by=("app.send",)
)  # what the function below declares


class Gate:
    """Jobs wait here; it knows how many of each customer run, and have run at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.running: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def passing(self, customer: str) -> Iterator[None]:
        with self._lock:
            self.running[customer] += 1
            self.peaks[customer] = max(self.peaks[customer], self.running[customer])
        self.opened.wait(60)
        yield
        with self._lock:
            self.running[customer] -= 1


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def send(fleet: Fleet, registry: Registry, gate: Gate) -> JobFunction[..., None, None]:
    def send(customer: str) -> None:
        with gate.passing(customer):
            pass

    return registry.register(send, name="app.send", queue="mail", group="{customer}", concurrency=2, fleet=fleet)


def without(registry: Registry, name: str = "app.send", **changes: object) -> None:
    """The next revision of the function."""
    function = registry.functions.pop(name)
    registry.register(function.function, name=name, **{"queue": "mail", **changes})  # type: ignore[arg-type]


def test_each_customer_has_the_limit_and_others_go_on(
    fleet: Fleet, send: JobFunction[..., None, None], working: Working, gate: Gate
) -> None:
    ids = [fleet.enqueue(send.job(customer)) for customer in ["acme"] * 5 + ["zeta"]]

    with working(slots=10):
        wait_until(lambda: gate.running == {"acme": 2, "zeta": 1}, timeout=30, why="three run")
        reason = wait_until(
            lambda: [one for one in fleet.explain(ids[4]).reasons if one.code == "group-full"],
            timeout=30,
            why="the group is full",
        )[0]
        assert reason.text.endswith(". app.send declares this limit.")
        assert reason.facts["declared_by"] == ("app.send",)
        gate.opened.set()
        for job_id in ids:
            assert fleet.wait(job_id, timeout=30).status is JobStatus.COMPLETED

    assert gate.peaks == {"acme": 2, "zeta": 1}
    assert fleet.limits("mail") == [DECLARED]


def test_what_an_operator_sets_wins_and_its_end_frees_the_declared_limit(
    fleet: Fleet, send: JobFunction[..., None, None], working: Working, gate: Gate
) -> None:
    fleet.limits.set("mail", group="*", concurrency=3)
    ids = [fleet.enqueue(send.job("acme")) for _ in range(6)]

    with working(slots=10):
        wait_until(lambda: gate.running["acme"] == 3, timeout=30, why="three run")
        assert fleet.limits("mail") == [replace(DECLARED, concurrency=3)]
        assert not any("declares" in one.text for one in fleet.explain(ids[5]).reasons)
        assert fleet.limits.set("mail", group="acme", concurrency=4)
        wait_until(lambda: gate.running["acme"] == 4, timeout=30, why="four run")
        assert fleet.limits.clear("mail", group="acme")
        assert fleet.limits.clear("mail", group="*")
        assert fleet.limits.clear("mail", group="*") is False
        assert fleet.limits("mail") == [DECLARED]
        gate.opened.set()
        for job_id in ids:
            fleet.wait(job_id, timeout=30)


def test_a_worker_removes_what_its_functions_do_not_declare_any_more(
    fleet: Fleet, registry: Registry, send: JobFunction[..., None, None], working: Working, gate: Gate
) -> None:
    gate.opened.set()
    with working():
        wait_until(lambda: fleet.limits() == [DECLARED], timeout=30, why="it is stored")

    without(registry, group="bulk", concurrency=4)
    with working():
        wait_until(lambda: [row.group for row in fleet.limits()] == ["bulk"], timeout=30, why="it has moved")

    without(registry)
    with working():
        wait_until(lambda: not fleet.limits(), timeout=30, why="it is removed")


def test_a_limit_that_is_removed_wakes_the_groups_that_rested(
    fleet: Fleet, registry: Registry, send: JobFunction[..., None, None], working: Working, gate: Gate
) -> None:
    for _ in range(5):
        fleet.enqueue(send.job("acme"))
    with working(slots=10):
        wait_until(lambda: gate.running["acme"] == 2, timeout=30, why="two run")
        with Fleet(fleet.config.url, registry=Registry(), patience=30) as next_revision:
            next_revision.context.registry.register(send.function, name="app.send", queue="mail", group="{customer}")
            with working(of=next_revision, slots=1):
                wait_until(lambda: gate.running["acme"] == 5, timeout=30, why="all run")
                gate.opened.set()


def test_functions_of_one_process_that_contradict_each_other_are_refused(
    fleet: Fleet, registry: Registry, send: JobFunction[..., None, None]
) -> None:
    registry.register(len, name="app.len", queue="mail", group="{0}", concurrency=3)

    with pytest.raises(ConfigError, match=r"^app.send declares 2 at once for each group of the queue 'mail', and app"):
        fleet.run_worker(stop=threading.Event())


def test_the_last_of_two_processes_decides_and_warns(
    fleet: Fleet, send: JobFunction[..., None, None], working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    with working():
        wait_until(lambda: fleet.limits() == [DECLARED], timeout=30, why="it is stored")
        with Fleet(fleet.config.url, registry=Registry(), patience=30) as other:
            other.context.registry.register(len, name="app.len", queue="mail", group="{0}", concurrency=3)
            with working(of=other):
                text = (
                    "limit.replaced queue=mail function=app.len declares 3 at once for each group of the queue 'mail'; "
                    "app.send declared another limit there"
                )
                wait_until(lambda: text in caplog.messages, timeout=30, why="it warns")
                wait_until(
                    lambda: [one.level for one in fleet.doctor().findings if one.check == "limits"] == ["warning"],
                    timeout=30,
                    why="both are published",
                )
                assert fleet.limits("mail")[0].declared_by == ("app.len",)


def test_a_limit_of_a_queue_of_several_lanes_is_refused(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry, lanes={"mail": 2}) as fleet:
        registry.register(len, name="app.len", queue="mail", concurrency=3)

        with pytest.raises(ConfigError, match=r"^app.len declares 3 at once for the whole queue 'mail', which has 2 l"):
            fleet.run_worker(stop=threading.Event())


def test_a_limit_is_stored_again_after_a_loss_of_data(
    raw: redis.Redis, redis_url: str, registry: Registry, working: Working
) -> None:
    registry.register(len, name="app.send", queue="mail", group="{0}", concurrency=2)
    with Fleet(redis_url, registry=registry, beat=0.2, patience=30) as fleet, working(of=fleet):
        wait_until(lambda: fleet.workers() and fleet.limits() == [DECLARED], timeout=30, why="it is stored")
        beat = fleet.workers()[0].beat
        wait_until(lambda: fleet.workers()[0].beat != beat, timeout=30, why="a beat has its reply")

        raw.flushall()

        wait_until(lambda: fleet.limits() == [DECLARED], timeout=30, why="it is stored again")


def test_a_declared_limit_is_cleared_only_on_request_and_stored_again_by_the_next_worker(
    fleet: Fleet, registry: Registry, send: JobFunction[..., None, None], working: Working
) -> None:
    for _ in range(2):
        with working():
            wait_until(lambda: fleet.limits() == [DECLARED], timeout=30, why="it is stored")
        assert fleet.limits.clear("mail", group="*") is False
        assert fleet.limits("mail") == [DECLARED]
        assert fleet.limits.clear("mail", group="*", declared=True) is True
        assert fleet.limits.clear("mail", group="*", declared=True) is False
        assert fleet.limits("mail") == []


def test_limits_do_not_apply_to_a_burst_in_the_program(
    fleet: Fleet, send: JobFunction[..., None, None], gate: Gate
) -> None:
    gate.opened.set()
    fleet.enqueue(Job("x", "app.send", ("acme",)))

    fleet.run_worker(burst=True)

    assert fleet.limits("mail") == []
