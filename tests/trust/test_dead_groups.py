"""Groups and rescues of dead letters in a fleet that encrypts: what an error says stays sealed."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet import Job, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.rescues import advance
from tests.trust.conftest import OLD, FleetWith, spelled

WORD = "turnip"


def fail(word: str) -> None:
    if Broken.is_broken:
        raise RuntimeError(f"no {word} here")


class Broken:
    is_broken = True


@pytest.fixture(autouse=True)
def broken() -> None:
    Broken.is_broken = True


def test_a_group_is_found_decided_about_and_rescued(
    fleet_with: FleetWith, registry: Registry, raw: redis.Redis
) -> None:
    registry.register(fail, name="app.fail", max_retries=0)
    fleet = fleet_with(keyring=spelled(old=OLD), encrypt="require")
    job_id = fleet.enqueue(Job("Fail", "app.fail", (WORD,), tags=["eu"]))
    fleet.run_worker(burst=True)

    (group,) = fleet.dead_groups()

    assert (group.function, group.error_text, group.count) == ("app.fail", f"RuntimeError: no {WORD} here", 1)
    assert [row.error for row in fleet.dead(tag="eu")] == [f"no {WORD} here"]
    stored: Any = raw.hgetall(f"{{jobfleet}}:dead-group:{group.fingerprint}")
    assert not any(WORD.encode() in value or b"RuntimeError" in value for value in stored.values())

    Broken.is_broken = False
    rescue = fleet.rescue(group.fingerprint)
    for _ in range(2):
        drive_blocking(fleet.store, advance(fleet.context, rescue.id))
    assert rescue.undo() == 1
    assert [row.error for row in fleet.dead()] == [f"no {WORD} here"]
    assert fleet.replay_many(tag="eu") == 1
    fleet.run_worker(burst=True)
    assert fleet.poll(job_id).status is JobStatus.COMPLETED
