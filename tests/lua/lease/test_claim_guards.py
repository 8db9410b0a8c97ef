"""A key that is held while its job is queued is free as soon as the job is claimed."""

from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.settle import release, settle
from jobfleet.store.records import Claimed, Entry
from tests.lua.world import World
from tests.support.seed import S

MINUTE = 60 * S


def claiming(world: World, *, nonce: int = 1) -> Call[Claimed]:
    return claim(world.lane, child="w.1", nonce=nonce, lease_us=MINUTE, limit=5)


def test_a_claim_frees_the_key_of_each_job_that_holds_it_while_queued(world: World) -> None:
    for suffix, meta in (("a", "u one\ns q"), ("b", "u two"), ("c", f"u three\ns {MINUTE}"), ("d", "u four\ns q")):
        world.seed.holds(meta.partition("\n")[0][2:], world.seed.waiting(suffix, meta=meta, due=-10))
    world.seed.holds("three", world.id("c"), till=60)
    world.seed.waiting("e", meta="r 5000", due=-10)
    world.seed.waiting("f", due=-10)
    call = claiming(world)

    assert len(world.run(call).grants) == 5

    assert world.state()["unique"] == {"three": "mail.0.c now+60s now", "two": "mail.0.b 0 now"}
    assert world.state()["meta"]["mail.0.a"] == "u one\ns q"
    assert len(world.again(call).grants) == 5


@pytest.mark.parametrize("till", [None, 60])
def test_a_key_that_another_job_holds_by_now_stays(world: World, till: int | None) -> None:
    world.seed.waiting("a", meta="u once\ns q", due=-10)
    world.seed.holds("once", world.seed.waiting("b", meta="u once\ns q", due=60), till=till)
    before = world.state()["unique"]

    assert len(world.run(claiming(world)).grants) == 1
    assert world.state()["unique"] == before


def test_a_time_that_its_key_is_held_for_is_not_cut_short(world: World) -> None:
    world.seed.holds("once", world.seed.waiting("a", meta="u once\ns q", due=-10), till=60)

    assert len(world.run(claiming(world)).grants) == 1
    assert world.state()["unique"] == {"once": "mail.0.a now+60s now"}


def test_a_job_that_waits_again_takes_no_key_again(world: World) -> None:
    world.seed.holds("once", world.seed.waiting("a", meta="u once\ns q", due=-10))
    (grant,) = world.run(claiming(world)).grants

    world.run(settle(world.lane, [release(grant.id, grant.token)]))

    assert "unique" not in world.state()
    assert len(world.run(claiming(world, nonce=2)).grants) == 1
    assert "unique" not in world.state()


def test_a_child_is_told_which_functions_are_paused_with_the_jobs_it_is_handed(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1 it is down", "~bill ann@1", "report -@1")
    world.seed.waiting("a")
    call = claiming(world)

    first = world.run(call)

    assert (first.word, first.next_due, first.functions) == ("claimed", 0, frozenset({"mail.send", "report"}))
    assert [grant.id for grant in first.grants] == [world.id("a")]
    again = world.again(call)
    assert (again.grants, again.functions) == (first.grants, first.functions)


def test_a_child_that_is_handed_nothing_is_told_nothing(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")

    assert world.run(claiming(world)).functions == frozenset()


def test_what_is_withheld_is_claimed_by_nobody(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    for band in range(4):
        world.seed.withheld(f"{band}", band=band)

    assert world.run(claiming(world)).grants == ()


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("meta", ["", "g acme"])
def test_a_job_that_runs_is_not_granted_again_although_a_foreign_client_lets_it_wait(
    world: World, meta: str, count: int
) -> None:
    names = [f"{n}" for n in range(count)]
    world.go(enqueue(world.lane, [Entry(world.id(name), 2, "", meta, b"e") for name in names]))
    first = world.go(claiming(world))
    runs = world.state()["runs"]
    running = [grant.id for grant in first.grants]
    world.raw.zadd(world.lane.ready[2], dict.fromkeys(running, 0))
    if meta:
        world.raw.zadd(world.lane.grouped, {f"2acme\0{0:016}\0{one}": 0 for one in running})
        world.raw.zadd(world.lane.gdue, {"2acme": 0})

    granted: list[str] = []
    for nonce in range(2, 8):
        granted += [grant.id for grant in world.go(claiming(world, nonce=nonce)).grants]

    assert sorted([*running, *granted]) == [world.id(name) for name in names]
    state = world.state()
    assert {one: state["runs"][one] for one in runs} == runs
    assert ("ready:2" in state, "grouped" in state, set(state["lease"])) == (False, False, set(state["runs"]))


def test_a_job_in_two_bands_is_granted_once(world: World) -> None:
    world.seed.waiting("a", due=-10)
    world.raw.zadd(world.lane.ready[1], {world.id("a"): 0})

    assert world.go(claiming(world)).grants == ()
    assert [grant.id for grant in world.go(claiming(world, nonce=2)).grants] == [world.id("a")]
    assert world.go(claiming(world, nonce=3)).grants == ()


def test_a_lease_without_a_run_does_not_hold_its_job_back(world: World) -> None:
    world.seed.waiting("a", due=-10)
    world.raw.zadd(world.lane.lease, {world.id("a"): 5})

    assert len(world.go(claiming(world)).grants) == 1
    assert world.state()["lease"] == {"mail.0.a": "now+60s"}
