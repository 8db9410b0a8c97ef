"""`doctor --fix`: the whole state before and after, on a real server while a worker runs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.operations.doctor.findings import Level
from jobfleet.store.call import ANSWER
from jobfleet.store.keys import Keyspace
from tests.cli.hand import Hand
from tests.client.either import Either
from tests.support.state import server_now, state

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture
def broken(fleet: Fleet, raw: redis.Redis) -> dict[str, str]:
    """One contradiction of each kind."""
    hand = Hand(fleet)
    hand.knows("app.add")
    jobs: dict[str, str] = {
        name: fleet.enqueue(Job(name, "app.add", (1, 2), id=name)) for name in ("done", "leased", "running", "waits")
    }
    hand.completes(hand.claims(jobs["done"]), 3)
    hand.claims(jobs["leased"])
    hand.claims(jobs["running"])
    raw.hdel(LANE.runs, jobs["leased"])
    raw.zrem(LANE.lease, jobs["running"])
    raw.hset(LANE.unique, "left", f"{jobs['done']} 0 1")
    raw.persist(LANE.result(jobs["done"]))
    return jobs


def faults(fleet: Fleet) -> set[str]:
    checked = {"runs", "locks", "lifetimes"}
    return {one.check for one in fleet.doctor().findings if one.check in checked and one.level is not Level.OK}


async def test_a_dry_run_names_what_a_run_repairs_and_changes_nothing(
    client: Either, fleet: Fleet, raw: redis.Redis, broken: dict[str, str]
) -> None:
    now = server_now(raw)
    before = state(raw, KEYS, now=now)

    found = await client("repair", dry_run=True)

    assert state(raw, KEYS, now=now) == before
    assert sorted((one.check, one.job_id, one.is_done) for one in found) == [
        ("lifetimes", broken["done"], False), ("locks", broken["done"], False),
        ("runs", broken["leased"], False), ("runs", broken["running"], False),
    ]  # fmt: skip
    assert faults(fleet) == {"runs", "locks", "lifetimes"}

    done = await client("repair")

    assert [one.what for one in done] == [one.what for one in found]
    assert all(one.is_done for one in done)
    assert faults(fleet) == set()
    assert await client("repair") == []


def test_what_is_repaired_is_all_that_changes(fleet: Fleet, raw: redis.Redis, broken: dict[str, str]) -> None:
    now = server_now(raw)
    before: dict[str, Any] = state(raw, KEYS, now=now)

    fleet.repair()

    after: dict[str, Any] = state(raw, KEYS, now=now)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    names = {"runs", "lease", "unique", f"result:{broken['done']}"}
    changed = {name for name in changed if not name.startswith(ANSWER)}
    assert changed == {"audit", *(f"default:0/{name}" for name in names)}
    assert after["default:0/runs"].keys() == {broken["leased"], broken["running"]}
    assert after["default:0/lease"] == {broken["leased"]: 1, broken["running"]: 1}


@pytest.mark.slow  # a reaper does not judge leases before half a lease of an observed fleet has passed
def test_jobs_whose_runs_were_repaired_are_recovered(
    fleet: Fleet, registry: Registry, broken: dict[str, str], redis_url: str
) -> None:
    fleet.repair()

    with Fleet(redis_url, registry=registry, lease=6) as other:
        stop = threading.Event()
        worker = threading.Thread(target=other.run_worker, kwargs={"stop": stop})
        worker.start()
        try:
            ended = {name: fleet.wait(broken[name], timeout=60).status for name in ("leased", "running", "waits")}
        finally:
            stop.set()
            worker.join(60)

    assert set(ended.values()) == {JobStatus.COMPLETED}
