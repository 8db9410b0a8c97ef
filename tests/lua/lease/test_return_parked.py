"""Parked jobs of a function are due at once when a worker comes that knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobfleet.codec import seal
from jobfleet.retry.decision import PARK_DELAY_US
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.lease import PARKED_US, claim, return_parked
from jobfleet.store.records import Returned
from tests.lua.world import World
from tests.support.seed import S

OVER = (8, 0)
LOOKS = 200


def parked(
    world: World, suffix: str, *, function: str = "app.f", band: int = 2, due: int = 5, group: str = "", ago: int = 30
) -> str:
    """A job that was parked `ago` seconds ago, and is due in `due` seconds; with 0, one that waits for a retry."""
    tries = Tries(failures=1, history=("1 7 an error",), parked_since=world.seed.at(-ago) if ago else 0)
    job_id = world.seed.waiting(suffix, band=band, due=due, tries=tries.dump(), group=group)
    world.raw.set(world.lane.job(job_id), seal({"function": function}, [1]))
    return job_id


def tries_of(world: World, job_id: str) -> Tries:
    text: Any = world.raw.hget(world.lane.tries, job_id)
    return Tries.parse(text.decode())


def ids_of_claim(world: World, limit: int = 50) -> list[str]:
    claimed = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=limit))
    return [grant.id.removeprefix(world.lane.id_prefix) for grant in claimed.grants]


def test_a_parked_job_waits_from_when_it_was_parked_and_is_not_parked_any_more(world: World) -> None:
    job_id = parked(world, "a")
    before = tries_of(world, job_id)

    assert world.run(return_parked(world.lane, ["app.f"])) == Returned(1, OVER)

    assert world.raw.zscore(world.lane.ready[2], job_id) == world.seed.at(-30)
    assert tries_of(world, job_id) == replace(before, parked_since=0)
    assert world.raw.exists(world.lane.wake)
    assert world.refused(return_parked(world.lane, ["app.f"])) == Returned(0, OVER)


def test_parked_jobs_return_together_so_the_next_claim_takes_them_by_priority(world: World) -> None:
    for suffix, band, due, ago in (("low", 3, 1, 40), ("new", 2, 2, 10), ("old", 2, 9, 20), ("urgent", 0, 8, 5)):
        parked(world, suffix, band=band, due=due, ago=ago)
    parked(world, "tenant", band=1, due=7, group="acme")
    world.seed.waiting("plain", band=2, due=-15)

    assert world.run(return_parked(world.lane, ["app.g", "app.f"])).jobs == 5

    assert ids_of_claim(world) == ["urgent", "tenant", "old", "plain", "new", "low"]


@pytest.mark.parametrize("case", ["another function", "a retry", "due later", "no envelope", "garbage", "no tries"])
def test_any_other_job_stays_where_it_is(world: World, case: str) -> None:
    job_id = parked(
        world,
        "a",
        function="app.g" if case == "another function" else "app.f",
        ago=0 if case == "a retry" else 30,
        due=PARKED_US // S + 5 if case == "due later" else 5,
    )
    if case == "no envelope":
        world.raw.delete(world.lane.job(job_id))
    elif case == "garbage":
        world.raw.hset(world.lane.tries, job_id, "1:x:y")
    elif case == "no tries":
        world.raw.hdel(world.lane.tries, job_id)

    assert world.refused(return_parked(world.lane, ["app.f"])) == Returned(0, OVER)


def test_a_paused_lane_is_not_woken(world: World) -> None:
    parked(world, "a")
    world.seed.paused()

    assert world.run(return_parked(world.lane, ["app.f"])).jobs == 1
    assert not world.raw.exists(world.lane.wake)


def test_the_next_call_continues_where_one_ended(world: World) -> None:
    """The jobs of another function are seen once, and those behind them return as well."""
    for number in range(LOOKS + 50):
        parked(world, f"other{number:03}", function="app.g", due=9)
    for number in range(LOOKS):
        parked(world, f"own{number:03}", due=5 - number % 4)
    parked(world, "last", band=3)

    answers = [world.run(return_parked(world.lane, ["app.f"]))]
    while not answers[-1].is_over:
        answers.append(world.run(return_parked(world.lane, ["app.f"], at=answers[-1].at)))

    assert [one.jobs for one in answers] == [0, 150, 51]
    assert len(ids_of_claim(world)) == 50


def test_the_window_holds_every_job_that_is_parked() -> None:
    assert PARK_DELAY_US < PARKED_US
