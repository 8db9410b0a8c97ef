"""The life of a job: what is told of it while it is open, after its end, and from the archive once Redis forgot it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Job
from jobfleet.cli.view import event_text
from jobfleet.client.json_form import JsonForm
from jobfleet.codec import seal_record
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model.result import JobDetails
from jobfleet.retry.tries import Begun, Tries, past_fields
from jobfleet.secret import Redaction
from jobfleet.services.duties.archive import IDLE, Archive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import lease, settle
from jobfleet.store.records import Grant

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
DIED = "its process died of SIGKILL"
CRASHED = f"run 1 on w.1: {DIED}"
TTL = 60_000


class Stage:
    """A fleet, and a worker that is played call by call."""

    def __init__(self, fleet: AsyncFleet, store: AsyncStore) -> None:
        self.fleet, self.store = fleet, store
        self.lane = fleet.context.keys.lane("default", 0)
        self._nonce = 0

    async def claims(self) -> Grant:
        """Claim the one job that is due."""
        self._nonce += 1
        call = lease.claim(self.lane, child="w.1", nonce=self._nonce, lease_us=30_000_000, limit=1)
        (grant,) = (await self.store.run(call)).grants
        return grant

    async def ends(self, item: settle.Item) -> None:
        """Settle a run."""
        await self.store.run(settle.settle(self.lane, [item]))

    async def noted(self, grant: Grant, text: str) -> Tries:
        """The tries with one more run, which began when it was claimed."""
        now = (await self.fleet.details(grant.id)).job.started_at
        assert now is not None
        at = round(now.timestamp() * 1e6)
        return Tries.parse(grant.tries).noting(at, text, Begun(at, "w.1"))

    async def crashes(self) -> None:
        """Run the job that is due in a process that dies."""
        grant = await self.claims()
        tries = await self.noted(grant, DIED)
        spent = replace(tries, crashes=tries.crashes + 1).dump()
        await self.ends(settle.retry(grant.id, grant.token, delay_us=0, tries=spent))

    async def fails(self) -> None:
        """Run the job that is due for the last time, as a worker does."""
        grant = await self.claims()
        tries = await self.noted(grant, "ValueError: no: 7")
        record = self._record(grant, error="ValueError: no: 7", **past_fields(tries, tries.runs, grant.meta))
        item = settle.fail(
            grant.id, grant.token, record=record, ttl_ms=TTL, duration_us=9, reason="error", tries=tries.dump()
        )
        await self.ends(item)

    async def completes(self, grant: Grant | None = None) -> None:
        """Run the job that is due well, as a worker does."""
        grant = grant or await self.claims()
        tries = Tries.parse(grant.tries)
        record = self._record(grant, value=1, **past_fields(tries, tries.runs + 1))
        await self.ends(settle.complete(grant.id, grant.token, record=record, ttl_ms=TTL, duration_us=9))

    def _record(self, grant: Grant, **fields: Any) -> bytes:
        run = {"function": "test.add", "started_at": 1_764_000_000_000_000, "worker": "w.1", "duration": 9}
        return seal_record({**run, "attempt": Tries.parse(grant.tries).attempt, **fields})


async def plain(stage: Stage, _job_id: str) -> None:
    await stage.completes()


async def killed(stage: Stage, _job_id: str) -> None:
    await stage.crashes()
    await stage.completes()


async def replayed(stage: Stage, job_id: str) -> None:
    await stage.fails()
    await stage.fleet.replay(job_id, kwargs={"to": "bob", "n": 2}, by="ann")
    await stage.completes()


async def dead(stage: Stage, job_id: str) -> None:
    await stage.crashes()
    await stage.fleet.edit(job_id, (5, 2), by="ann")
    await stage.fails()


async def cancelled_in_a_run(stage: Stage, job_id: str) -> None:
    await stage.crashes()
    grant = await stage.claims()
    await stage.fleet.cancel(job_id, by="ann lee")
    await stage.ends(settle.release(job_id, grant.token))


async def cancelled_too_late(stage: Stage, job_id: str) -> None:
    grant = await stage.claims()
    await stage.fleet.cancel(job_id, by="ann")
    await stage.fleet.cancel(job_id, by="bob")
    await stage.completes(grant)


async def cancelled_while_it_waits(stage: Stage, job_id: str) -> None:
    await stage.crashes()
    await stage.fleet.cancel(job_id)


async def expired(stage: Stage, job_id: str) -> None:
    await stage.crashes()
    await stage.fleet.edit(job_id, (5, 2), by="ann")
    grant = await stage.claims()
    await stage.ends(settle.expire(job_id, grant.token, ttl_ms=TTL))


async def signalled(stage: Stage, job_id: str) -> None:
    await stage.fleet.signal(job_id, "early bird", {"ok": True}, by="ann")
    grant = await stage.claims()
    await stage.fleet.signal(job_id, "é+%", 1, by="boss@é")
    record = seal_record({"function": "test.add", "value": 1, "started_at": 1_764_000_000_000_000, "worker": "w.1"})
    item = settle.complete(job_id, grant.token, record=record, ttl_ms=TTL, duration_us=9)
    await stage.ends(settle.with_kept(item))


async def moved(stage: Stage, job_id: str) -> None:
    await stage.crashes()
    await stage.fleet.edit(job_id, (5, 2))
    await stage.fleet.move(job_id, "slow", by="ann")


LIVES: dict[Callable[[Stage, str], Awaitable[None]], tuple[str, int, int, list[str]]] = {
    plain: ("completed", 1, 0, []),
    killed: ("completed", 2, 1, [CRASHED, "run 2 on w.1: completed"]),
    replayed: (
        "completed", 2, 0,
        ["run 1 on w.1: ValueError: no: 7", "replayed by ann with other arguments: to, n", "run 2 on w.1: completed"],
    ),
    dead: ("failed", 2, 1, [CRASHED, "edited by ann: args[0]", "run 2 on w.1: ValueError: no: 7"]),
    cancelled_in_a_run: ("cancelled", 2, 1, [CRASHED, "cancel requested by ann lee", "run 2 on w.1: cancelled"]),
    cancelled_too_late: ("completed", 1, 0, ["cancel requested by ann", "run 1 on w.1: completed"]),
    cancelled_while_it_waits: ("cancelled", 1, 1, [CRASHED, "cancel requested"]),
    expired: ("expired", 1, 1, [CRASHED, "edited by ann: args[0]", "expired"]),
    signalled: (
        "completed", 1, 0,
        ["signal early bird sent by ann", "signal é+% sent by boss@é", "run 1 on w.1: completed"],
    ),
    moved: ("cancelled", 1, 1, [CRASHED, "edited: args[0]", "moved by ann to slow.0.…"]),
}  # fmt: skip
"""Status, runs, crashes and life of each job, in the words of the command line."""


@pytest.fixture
async def archived(store: AsyncStore, redis_url: str, archive_url: str) -> AsyncIterator[Archive]:
    """The duty of a reaper that writes the archive."""
    fleet_keys = AsyncFleet(redis_url).context.keys
    archive = Archive(store, fleet_keys, JobConfig(url=redis_url, archive_url=archive_url), Tally())
    archive.journal._look_every = 0.0
    yield archive
    await archive.stop()


def told(details: JobDetails[Any]) -> tuple[str, int, int, list[str]]:
    """What is compared of a job; the times of runs are those of the server."""
    words = [event_text(replace(one, started_at=None)) for one in details.life]
    new = details.job.moved_to or "…"
    return str(details.job.status), details.job.runs, details.crashes, [text.replace(new, "slow.0.…") for text in words]


async def test_nothing_that_happened_to_a_job_is_forgotten(
    fleet: AsyncFleet, store: AsyncStore, archived: Archive, archive_url: str, redis_url: str, raw: redis.Redis
) -> None:
    await archived.turn()
    stage, ids, seen = Stage(fleet, store), {}, {}
    for act in LIVES:
        job = Job("add", "test.add", (1, 2), {"to": "ann"}, id=act.__name__)
        ids[act] = job_id = await fleet.enqueue(job)
        await act(stage, job_id)
        seen[act] = await fleet.details(job_id)

    assert {act.__name__: told(one) for act, one in seen.items()} == {act.__name__: LIVES[act] for act in LIVES}
    for act, one in seen.items():
        assert (await fleet.explain(ids[act])).details == one
        times = [event.at for event in one.life]
        assert times == sorted(times, key=str), act.__name__
        data: Any = JsonForm(Redaction()).details(one)
        assert [(row["kind"], row["by"], row["changed"]) for row in data["life"]] == [
            (event.kind, event.by, list(event.changed)) for event in one.life
        ]

    while await archived.turn() < IDLE:
        pass
    raw.flushall()
    async with AsyncFleet(redis_url, archive_url=archive_url) as later:
        await later.queues()
        found = {act: await later.details(job_id) for act, job_id in ids.items()}

    assert {act.__name__: told(one) for act, one in found.items()} == {
        act.__name__: told(one) for act, one in seen.items()
    }


async def test_lines_that_redis_has_dropped_come_from_the_archive(
    fleet: AsyncFleet, store: AsyncStore, archived: Archive, archive_url: str, redis_url: str
) -> None:
    await archived.turn()
    stage = Stage(fleet, store)
    job_id = await fleet.enqueue(Job("add", "test.add", (0, 2)))
    for number in range(1, 13):
        await fleet.edit(job_id, (number, 2), by=f"p{number}")
    for _ in range(12):
        await stage.crashes()
    await stage.completes()
    while await archived.turn() < IDLE:
        pass

    here = await fleet.details(job_id)
    async with AsyncFleet(redis_url, archive_url=archive_url) as other:
        whole, explained = await other.details(job_id), await other.explain(job_id)

    assert [one.run for one in here.life if one.kind == "run"] == [*range(3, 14)]
    assert [one.by for one in here.life if one.kind == "edited"] == [f"p{number}" for number in range(3, 13)]
    assert [one.run for one in whole.life if one.kind == "run"] == [*range(1, 14)]
    assert [one.by for one in whole.life if one.kind == "edited"] == [f"p{number}" for number in range(1, 13)]
    assert (whole.crashes, whole.job.runs, explained.details) == (12, 13, whole)
