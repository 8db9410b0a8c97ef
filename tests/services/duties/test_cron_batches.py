"""The cron duty sends the fires of many entries together. Each fire is still one job, noted, whoever dies between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from jobfleet import AsyncFleet, Cron, Job
from jobfleet.config import JobConfig
from jobfleet.errors import ScriptContractError
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
S = 1_000_000


class Trips:
    """Records the trips that fire or note, and ends the duty right after one of them."""

    def __init__(self, *, dies_after: int = 0) -> None:
        self.seen: list[tuple[str, list[str]]] = []
        self._dies_after = dies_after

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        if {call.script.name for call in calls} <= {"fire", "ledger"} and calls:
            script = calls[0].script.name
            self.seen.append((script, [str(call.args[1] if script == "fire" else call.keys[0]) for call in calls]))
            if len(self.seen) == self._dies_after:
                raise asyncio.CancelledError

    def stumbled(self, error: BaseException) -> None: ...


@contextmanager
def recorded(store: AsyncStore, trips: Trips) -> Iterator[Trips]:
    store.recorder = trips
    try:
        yield trips
    finally:
        store.recorder = None


def job(**options: Any) -> Job:
    return Job("report", "test.report", (1,), **options)


async def history_of(fleet: AsyncFleet, name: str) -> list[tuple[str, str]]:
    """What the ledger has of an entry, oldest first; its fires must follow each other without a gap."""
    fires = (await fleet.cron.history(name, limit=1000))[::-1]
    assert all(later.at - earlier.at == timedelta(seconds=1) for earlier, later in itertools.pairwise(fires))
    return [(fire.outcome, str(fire.job_id)) for fire in fires]


async def job_ids(fleet: AsyncFleet) -> list[str]:
    return sorted(row.id for row in (await fleet.jobs(limit=1000)).jobs)


async def test_fires_of_many_entries_travel_together_but_two_of_one_entry_never(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str
) -> None:
    names = [f"tick-{number}" for number in range(60)]
    for name in names:
        await fleet.cron.add(name, Cron("* * * * * *", misfire="all"), job())
    ahead = 0
    duty = CronDuty(store, JobConfig(url=redis_url), Tally(), clock=lambda now: now + ahead)
    await duty.turn()
    ahead = 4 * S
    with recorded(store, Trips()) as trips:
        await duty.turn()

    histories = [await history_of(fleet, name) for name in names]
    assert all(len(history) >= 4 for history in histories)
    assert sorted(made for history in histories for _, made in history) == await job_ids(fleet)
    sizes = [len(keys) for _, keys in trips.seen]
    assert max(sizes) == 50
    assert all(len(set(keys)) == len(keys) for _, keys in trips.seen)
    scripts = [script for script, _ in trips.seen]
    assert scripts == ["fire", "ledger"] * (len(scripts) // 2)
    assert len(scripts) <= 2 * 2 * 6  # fires and notes, two batches, and at most so many seconds


@pytest.mark.parametrize("misfire", ["all", "skip"])
async def test_a_reaper_that_dies_between_fires_and_notes_leaves_no_gap(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, misfire: str
) -> None:
    names = [f"tick-{number}" for number in range(3)]
    for name in names:
        await fleet.cron.add(name, Cron("* * * * * *", misfire=misfire), job())
    ahead = 0

    def duty() -> CronDuty:
        return CronDuty(store, JobConfig(url=redis_url), Tally(), clock=lambda now: now + ahead)

    for dies_after in range(1, 7):
        ahead += 4 * S
        with recorded(store, Trips(dies_after=dies_after)) as trips, suppress(asyncio.CancelledError):
            await duty().turn()
        assert len(trips.seen) == dies_after
        await duty().turn()

    histories = [await history_of(fleet, name) for name in names]
    assert all(len(history) >= 6 * 4 for history in histories)
    assert {outcome for history in histories for outcome, _ in history} == {"fired"}
    assert sorted(made for history in histories for _, made in history) == await job_ids(fleet)


async def test_a_fire_that_fails_stops_its_entry_and_no_other(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["broken", "tick"]
    for name in names:
        await fleet.cron.add(name, "* * * * * *", job())
    ahead = 0
    duty = CronDuty(store, JobConfig(url=redis_url), Tally(), clock=lambda now: now + ahead)
    await duty.turn()
    before = [await history_of(fleet, name) for name in names]
    run_many = store.run_many
    tried: list[Any] = []

    async def refuse_broken(calls: Sequence[Call[Any]], **options: Any) -> list[Any]:
        refused = [call for call in calls if call.script.name == "fire" and call.args[1] == "broken"]
        answers = iter(await run_many([call for call in calls if call not in refused], **options))
        tried.extend(refused)
        return [ScriptContractError("it is broken") if call in refused else next(answers) for call in calls]

    with monkeypatch.context() as patch:
        patch.setattr(store, "run_many", refuse_broken)
        ahead = 4 * S
        with pytest.raises(ScriptContractError, match="it is broken"):
            await duty.turn()

    between = [await history_of(fleet, name) for name in names]
    assert len(tried) == 1
    assert between[0] == before[0]
    assert len(between[1]) >= len(before[1]) + 4

    await duty.turn()
    after = [await history_of(fleet, name) for name in names]
    assert len(after[0]) >= len(before[0]) + 4
    assert sorted(made for history in after for _, made in history) == await job_ids(fleet)
