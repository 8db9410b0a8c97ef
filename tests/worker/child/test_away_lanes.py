"""Lanes of a node that is away: what a claim brings that is answered late."""

from __future__ import annotations

import redis

from jobfleet import Fleet, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.lease import claim
from tests.worker.child.claiming import CHILD, LANE, Scene


async def test_jobs_of_a_late_answer_go_back_if_their_slots_were_taken(
    fleet: Fleet, registry: Registry, raw: redis.Redis
) -> None:
    scene = Scene(fleet, registry, raw, slots=1)
    ids = [await scene.enqueue(), await scene.enqueue()]
    scene.claimer.serve((LANE,))
    lost = await scene.store.run(claim(LANE, child=CHILD, nonce=1, lease_us=60_000_000, limit=2))
    assert [grant.id for grant in lost.grants] == ids

    scene.claimer._away.add(LANE)
    await scene.until(lambda: not scene.claimer._away.lanes, why="the claim is answered")
    assert scene.taken == ids[:1]
    assert [fleet.poll(job_id).status for job_id in ids] == [JobStatus.RUNNING, JobStatus.QUEUED]
    again = await scene.store.run(claim(LANE, child="w.2", nonce=1, lease_us=60_000_000, limit=2))
    assert [grant.id for grant in again.grants] == ids[1:]
    await scene.store.close()
