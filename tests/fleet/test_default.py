"""Module functions over the default fleet, which exactly one process-wide setting chooses."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

import jobfleet
from jobfleet import Fleet, Job, JobStatus
from jobfleet.config import JobConfig
from jobfleet.fleet import default
from jobfleet.functions import default_fleet as offered
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(offered, "_offered", None)  # a worker of another test may have offered its settings
    before = default.set_default_fleet(None)
    yield
    made = default.set_default_fleet(before)
    if made is not None:
        made.close()


def test_configure_says_which_fleet_module_functions_use(redis_url: str, registry: Registry, raw: redis.Redis) -> None:
    fleet = jobfleet.configure(redis_url, namespace="mine", registry=registry, patience=3)

    job_id = jobfleet.enqueue(Job("Sum", "app.add", (1, 2), id="one"))

    assert default.default_fleet() is fleet
    assert (fleet.config.namespace, fleet.config.patience) == ("mine", 3.0)
    assert raw.zcard(Keyspace("mine").lane("default", 0).ready[2]) == 1
    assert jobfleet.poll(job_id).status is JobStatus.QUEUED
    fleet.run_worker(burst=True)
    assert jobfleet.wait(job_id, timeout=1).result == 3
    assert jobfleet.cancel(job_id, by="ann") is False


def test_without_configure_the_variable_says_it(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_URL", redis_url)
    monkeypatch.setenv("JOBFLEET_NAMESPACE", "other")

    fleet = default.default_fleet()

    assert (fleet.config.url, fleet.config.namespace) == (redis_url, "other")
    assert default.default_fleet() is fleet


def test_functions_follow_the_default_fleet(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.setattr("jobfleet.functions.registry.REGISTRY", registry)
    jobfleet.configure(redis_url, registry=registry)
    length = jobfleet.register_job_function("app.length", len)

    handle = length.options(queue="bulk").enqueue("four")
    default.default_fleet().run_worker(queues=["bulk"], burst=True)

    assert handle.result(timeout=1) == 4


def test_another_default_fleet_takes_its_place_and_gives_the_one_before(redis_url: str) -> None:
    one, other = Fleet(redis_url), Fleet(redis_url)

    assert default.set_default_fleet(one) is None
    assert default.set_default_fleet(other) is one
    assert default.default_fleet() is other


def test_threads_meet_one_default_fleet() -> None:
    found: list[Fleet] = []
    barrier = threading.Barrier(8)

    def look() -> None:
        barrier.wait()
        found.append(default.default_fleet())

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_worker_s_settings_are_taken_where_nobody_chose(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offered, "_offered", None)
    offered.offer_settings(JobConfig(url=redis_url, namespace="theirs"))

    assert (default.default_fleet().config.url, default.default_fleet().config.namespace) == (redis_url, "theirs")

    mine = jobfleet.configure(redis_url, namespace="mine")
    assert default.default_fleet() is mine
