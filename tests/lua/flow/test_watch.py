from __future__ import annotations

from typing import cast

import pytest

from jobfleet.store.calls.flow import Ending, watch
from jobfleet.store.calls.settle import BESIDE
from tests.lua.world import World

LARGE = "x" * BESIDE


def test_who_waits_for_an_open_job_is_noted_once(world: World) -> None:
    world.seed.waiting("p")
    call = watch(world.lane, "mail.0.p", ["mail.0.k", "other.0.l"])

    assert world.run(call) == Ending("watched")

    assert world.state() == world.moved(
        {"watched": {"mail.0.p": "1"}, "dependants:mail.0.p": {"mail.0.k": 0, "other.0.l": 0}}
    )
    assert world.again(call) == Ending("watched")


def test_how_it_has_ended_is_answered(world: World) -> None:
    world.raw.set(world.lane.result("mail.0.p"), b"completed 17 7\nrecord")

    ending = world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"]))

    assert (ending.status, ending.copied) == ("completed", b"completed 17 7\nrecord")


def test_a_dead_job_whose_result_has_gone_has_failed(world: World) -> None:
    world.seed.dead("p", result=False)

    assert world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"])).status == "failed"


def test_nothing_is_known_of_another(world: World) -> None:
    ending = world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"]))

    assert (ending.state, ending.status) == ("unknown", "gone")


@pytest.mark.parametrize("record", [LARGE, ""], ids=["large", "with a key of its own"])
def test_who_reads_the_record_of_an_ended_job_later_is_noted_for_as_long_as_that(world: World, record: str) -> None:
    world.raw.set(world.lane.result("mail.0.p"), f"completed {world.now} 7\n{record}", ex=1000)
    call = watch(world.lane, "mail.0.p", ["mail.0.k", "other.0.l"])

    assert world.run(call).is_read_later

    after = world.state()
    assert set(after.pop("dependants:mail.0.p")) == {"mail.0.k", "other.0.l"}
    assert after == world.before
    assert 990 < world.raw.ttl(world.lane.dependants("mail.0.p")) <= 1000
    assert cast(float, world.raw.zscore(world.lane.dependants("mail.0.p"), "mail.0.k")) >= world.now // 1000
    assert world.go(call).is_read_later


@pytest.mark.parametrize("line", ["failed {} 7 0 - - error", "cancelled {} 7 0 - -"])
def test_who_comes_after_another_ending_is_not_noted(world: World, line: str) -> None:
    world.raw.set(world.lane.result("mail.0.p"), f"{line.format(world.now)}\n{LARGE}", ex=1000)

    assert not world.refused(watch(world.lane, "mail.0.p", ["mail.0.k"])).is_read_later
