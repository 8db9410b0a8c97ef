"""Suspects in the process of the caller, which has no wards: they run beside few others, or alone."""

from __future__ import annotations

import asyncio
import threading

import redis

from jobfleet import Fleet, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)


def test_nothing_is_claimed_while_a_suspect_runs(
    fleet: Fleet, registry: Registry, working: Working, raw: redis.Redis
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def hold() -> None:
        begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    async def other() -> str:
        return "beside" if not go_on.is_set() else "after"

    suspect = registry.register(hold, name="test.hold", fleet=fleet).enqueue()
    raw.hset(LANE.tries, suspect.id, "0:0:0:0:2:1")
    second = registry.register(other, name="test.other", fleet=fleet)

    with working():
        assert begun.wait(30)
        handle = second.enqueue()
        wait_until(lambda: raw.exists(LANE.wake) or handle.poll().status.is_final, why="somebody could claim it")
        assert handle.poll().status is JobStatus.QUEUED
        go_on.set()
        assert handle.result(timeout=30) == "after"
        assert suspect.result(timeout=30) is None
