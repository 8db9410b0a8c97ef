from __future__ import annotations

import pytest

from jobfleet.store.calls.lease import bury, claim
from tests.lua.world import World
from tests.support.seed import S

BURIED = {"claim:w.1": ("buried", 3600)}


def test_a_child_that_holds_nothing_is_refused_from_then_on(world: World) -> None:
    world.seed.waiting("a")

    held = world.run(bury(world.lane, "w.1")).held

    assert held == ()
    assert world.state() == world.moved(BURIED)
    assert world.run(claim(world.lane, child="w.1", nonce=9, lease_us=S, limit=1)).word == "buried"


def test_what_stands_on_its_board_is_answered_with_all_that_a_decision_needs(world: World) -> None:
    job_id = world.seed.running("a", meta="r 5000", tries="1:0:0:0:0", cancel="ann")

    (held,) = world.run(bury(world.lane, "w.1", [(job_id, 7)])).held

    assert (held.id, held.token, held.envelope) == (job_id, 7, b"envelope of a")
    assert (held.tries, held.meta) == ("1:0:0:0:0", "r 5000")
    assert (held.run.child, held.run.band, held.run.cancel_by, held.run.lease) == ("w.1", 2, "ann", 60 * S)
    assert world.state() == world.moved(BURIED)


def test_the_grants_of_its_last_claim_are_answered_though_no_board_has_them(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")
    grants = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=2)).grants

    held = world.run(bury(world.lane, "w.1")).held

    assert [(run.id, run.token) for run in held] == [(grant.id, grant.token) for grant in grants]


def test_a_job_on_the_board_and_in_the_last_claim_is_answered_once_with_the_newer_token(world: World) -> None:
    world.seed.waiting("a")
    (grant,) = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=2)).grants

    held = world.run(bury(world.lane, "w.1", [(grant.id, 3)])).held

    assert [(run.id, run.token) for run in held] == [(grant.id, grant.token)]


@pytest.mark.parametrize("tokens", [(3, 7), (7, 3)])
def test_a_job_that_stands_on_its_board_with_an_older_token_too_is_answered(
    world: World, tokens: tuple[int, int]
) -> None:
    job_id = world.seed.running("a")  # its token is 7; code that cannot be stopped may still hold an earlier run

    held = world.run(bury(world.lane, "w.1", [(job_id, token) for token in tokens])).held

    assert [(run.id, run.token) for run in held] == [(job_id, 7)]


@pytest.mark.parametrize(("token", "child"), [(8, "w.1"), (7, "w.2")])
def test_what_is_no_longer_its_own_is_left_out(world: World, token: int, child: str) -> None:
    job_id = world.seed.running("a", token=token, child=child)

    held = world.run(bury(world.lane, "w.1", [(job_id, 7), (world.id("gone"), 7)])).held

    assert held == ()
    assert world.state() == world.moved(BURIED)


def test_buried_twice_it_answers_its_board_again(world: World) -> None:
    job_id = world.seed.running("a")
    call = bury(world.lane, "w.1", [(job_id, 7)])
    first = world.run(call).held

    second = world.again(call).held

    assert second == first


def test_buried_twice_it_answers_its_last_claim_again(world: World) -> None:
    world.seed.waiting("a")
    world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=1))
    first = world.run(bury(world.lane, "w.1")).held

    second = world.run(bury(world.lane, "w.1")).held

    assert second == first
    assert world.run(claim(world.lane, child="w.1", nonce=9, lease_us=S, limit=1)).word == "buried"


def test_its_leases_stand_until_somebody_settles_them(world: World) -> None:
    job_id = world.seed.running("a")

    with world.listening(job_id) as heard:
        world.run(bury(world.lane, "w.1", [(job_id, 7)]))

    assert world.state() == world.moved(BURIED)
    assert heard == []
