"""What came of the fires of recurring jobs: counted by the cron duty, and shown with the live states of the jobs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

import pytest
import redis

from jobfleet import AsyncFleet, Job
from jobfleet.codec import decode, encode, seal_record
from jobfleet.config import JobConfig
from jobfleet.cron import FireOutcomes
from jobfleet.metrics.tally import Tally
from jobfleet.operations.cron import CronInfo
from jobfleet.operations.doctor.doctor import diagnose
from jobfleet.operations.doctor.findings import Level
from jobfleet.operations.doctor.snapshot import take
from jobfleet.operations.operation import drive
from jobfleet.services.duties import fire_outcomes
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.settle import complete, fail, settle
from tests.support.state import server_now

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
S = 1_000_000
MINUTE = 60 * S
TTL_MS = 60_000


class World:
    """An entry that fires every minute, by a clock that begins an hour ago, and the hand that runs its jobs."""

    def __init__(self, fleet: AsyncFleet, store: AsyncStore, redis_url: str, now: int) -> None:
        self.fleet, self.store = fleet, store
        self._claims = 0
        self.ahead = -60 * MINUTE - now % MINUTE + 5 * S
        self._duties = [CronDuty(store, JobConfig(url=redis_url), Tally(), clock=lambda now: now + self.ahead)
                        for _ in range(2)]  # fmt: skip

    async def fires(self) -> str:
        """Let a minute go by, and one of two duties fire; return the job."""
        self.ahead += MINUTE
        await self._duties[self.ahead // MINUTE % 2].turn()
        return str((await self.fleet.cron.history("tick", limit=1))[0].job_id)

    async def ends(self, job_id: str, error: str = "") -> None:
        """Run the job."""
        lane = self.fleet.context.keys.lane_of(job_id)
        (grant,) = (
            await self.store.run(claim(lane, child="w1.0", nonce=self._nonce(), lease_us=60 * S, limit=1))
        ).grants
        assert grant.id == job_id
        common = {"function": "test.tick", "name": "tick", "attempt": 1, "duration": 1_500_000}
        if error:
            record = seal_record({**common, "error": error, "error_class": "ValueError", "error_type": "permanent"})
            call = settle(
                lane,
                [fail(job_id, grant.token, record=record, ttl_ms=TTL_MS, duration_us=1, reason="error", tries="")],
            )
        else:
            record = seal_record({**common, "value": "x" * 5000})
            call = settle(lane, [complete(job_id, grant.token, record=record, ttl_ms=TTL_MS, duration_us=1)])
        await self.store.run(call)

    def _nonce(self) -> int:
        self._claims += 1
        return self._claims

    async def counts(self) -> FireOutcomes:
        """Let both duties look at the jobs at once; return what is written."""
        await asyncio.gather(*[duty.turn() for duty in self._duties])
        return await self.written()

    async def written(self) -> FireOutcomes:
        record = await self.store.run(calls.fire_outcomes(self.fleet.context.keys))
        return FireOutcomes.load(decode(record["tick"]))

    async def doctor(self) -> tuple[Level, str, str]:
        seen = diagnose(await drive(self.store, take(self.fleet.context)))
        (one,) = [finding for finding in seen.findings if finding.check == "fires"]
        return one.level, one.seen, one.remedy


@pytest.fixture
async def world(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.setattr(fire_outcomes, "EVERY", 0.0)  # each turn looks at the jobs
    await fleet.cron.add("tick", "* * * * *", Job("tick", "test.tick"))
    key, now = fleet.context.keys.cron, server_now(raw)
    stored = cast("bytes", raw.hget(key, "tick"))
    raw.hset(key, "tick", b"%d %s" % (now - 60 * MINUTE, stored.partition(b" ")[2]))
    return World(fleet, store, redis_url, now)


def told(info: CronInfo) -> tuple[str | None, int, int, int, bool, str]:
    assert info.last is not None
    return info.last.status, info.fires, info.completed, info.failures, bool(info.last_success), info.warning


async def test_the_streak_and_the_last_success_outlive_the_results(
    world: World, fleet: AsyncFleet, raw: redis.Redis
) -> None:
    first = await world.fires()
    assert told(await fleet.cron.get("tick")) == ("queued", 1, 0, 0, False, "")
    await world.ends(first)
    good = await world.counts()
    assert (good.fires, good.completed, good.failures, good.open) == (1, 1, 0, ())
    failed = []
    for number in range(3):
        failed.append(await world.fires())
        await world.ends(failed[-1], f"no luck {number}\nand more")
        await world.counts()
    waiting = await world.fires()
    await world.counts()

    info = await fleet.cron.get("tick")
    history = await fleet.cron.history("tick")
    assert told(info) == ("queued", 5, 1, 3, True, "The last 3 jobs of tick failed.")
    assert info.remedy == (
        f"'jobfleet status {failed[-1]}' has the error; mend the cause, then 'jobfleet dead replay {failed[-1]}', or "
        "wait for the next fire."
    )
    assert await world.doctor() == (Level.WARNING, info.warning, info.remedy)
    assert info.interval == timedelta(minutes=1)
    assert [(one.job_id, one.outcome, one.status, one.error, one.duration) for one in history] == [
        (waiting, "fired", "queued", "", None),
        *[(job_id, "fired", "failed", f"ValueError: no luck {2 - place}", timedelta(seconds=1.5))
          for place, job_id in enumerate(reversed(failed))],
        (first, "fired", "completed", "", timedelta(seconds=1.5)),
    ]  # fmt: skip

    for job_id in (first, *failed):  # their retention ends
        lane = fleet.context.keys.lane_of(job_id)
        raw.delete(lane.result(job_id), lane.dlq, lane.dead)
    assert [one.status for one in await fleet.cron.history("tick")] == ["queued", *["gone"] * 4]
    assert told(await fleet.cron.get("tick")) == ("queued", 5, 1, 3, True, "The last 3 jobs of tick failed.")
    await world.ends(waiting)
    assert told(await fleet.cron.get("tick")) == ("completed", 5, 1, 0, True, "")  # at once, for who looks
    ended = await world.counts()
    assert (ended.fires, ended.completed, ended.failures, ended.open) == (5, 2, 0, ())
    assert (await world.doctor())[0] is Level.OK


async def test_a_replay_that_completes_ends_the_streak(world: World, fleet: AsyncFleet) -> None:
    for _ in range(3):
        last = await world.fires()
        await world.ends(last, "no luck")
    seen = await world.counts()
    assert (seen.failures, seen.has_never_completed) == (3, True)
    assert (await world.doctor())[1] == "The last 3 jobs of tick failed, and none has completed in 3 fires."

    await fleet.replay(last)
    await world.ends(last)
    mended = await world.counts()

    assert (mended.fires, mended.completed, mended.failures) == (3, 1, 0)
    assert mended.success is not None
    assert mended.success.id == last
    assert (await world.doctor())[0] is Level.OK


async def test_an_entry_that_has_never_completed_is_named_after_its_first_end(world: World, fleet: AsyncFleet) -> None:
    first = await world.fires()
    await world.counts()
    assert (await world.doctor())[0] is Level.OK  # it waits, which is no sign yet

    await fleet.cancel(first)
    await world.counts()

    info = await fleet.cron.get("tick")
    assert told(info) == (
        "cancelled", 1, 0, 0, False, "Tick has never completed: 1 job ended, the last one cancelled.",
    )  # fmt: skip
    assert await world.doctor() == (Level.WARNING, info.warning, info.remedy)


async def test_bytes_that_are_no_numbers_cost_neither_the_page_nor_the_fires(
    world: World, fleet: AsyncFleet, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await world.fires()
    await world.ends(job_id)
    raw.hset(fleet.context.keys.cron_outcomes, mapping={"tick": b"\xff rubbish", "gone": encode({"until": -1})})

    assert told(await fleet.cron.get("tick")) == ("completed", 0, 0, 0, True, "")
    monkeypatch.setattr(fire_outcomes, "LOOK_AGAIN", 0.0)
    seen = await world.counts()

    assert (seen.fires, seen.completed) == (1, 1)
    assert raw.hkeys(fleet.context.keys.cron_outcomes) == [b"tick"]
