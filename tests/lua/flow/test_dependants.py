from __future__ import annotations

from jobfleet.store.calls.flow import dependants
from tests.lua.world import World


def test_those_who_were_not_told_of_an_ending_come_in_pages(world: World) -> None:
    names = {f"mail.0.k{n:03}": 0 for n in range(60)}
    world.raw.zadd(world.lane.dependants("mail.0.p"), {**names, "mail.0.told": 500})
    world.raw.set(world.lane.result("mail.0.p"), b"completed 17 7\nrecord")

    ending = world.again(dependants(world.lane, "mail.0.p", ending_ms=500))

    assert ending.children == tuple(sorted(names))[:50]
    assert (ending.status, ending.copied) == ("completed", b"completed 17 7\nrecord")


def test_who_was_told_of_an_earlier_ending_is_told_again(world: World) -> None:
    world.raw.zadd(world.lane.dependants("mail.0.p"), {"mail.0.told": 500})
    world.seed.dead("p", result=False)

    ending = world.again(dependants(world.lane, "mail.0.p", ending_ms=501))

    assert (ending.children, ending.status) == (("mail.0.told",), "failed")


def test_a_job_of_which_nothing_is_left(world: World) -> None:
    assert world.again(dependants(world.lane, "mail.0.p", ending_ms=1)).status == "gone"


def test_a_job_that_was_replayed_since_has_none_to_notify(world: World) -> None:
    world.raw.zadd(world.lane.dependants("mail.0.p"), {"mail.0.a": 0})
    world.raw.set(world.lane.job("mail.0.p"), b"envelope")

    ending = world.again(dependants(world.lane, "mail.0.p", ending_ms=500))

    assert (ending.state, ending.children) == ("open", ())
