from __future__ import annotations

from jobfleet.store.calls.lease import renew
from jobfleet.store.records import Cancelling
from tests.lua.world import World
from tests.support.seed import S

MINUTE = 60 * S


def test_a_lease_that_stands_is_extended_from_now(world: World) -> None:
    world.seed.running("a", deadline=10)

    answer = world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE))

    assert (answer.lost, answer.cancelled) == ((), ())
    assert world.raw.zscore(world.lane.lease, world.id("a")) == answer.now + MINUTE
    assert world.state() == world.moved({"lease": {"mail.0.a": "now+60s"}})


def test_a_lease_past_its_deadline_that_nobody_reaped_is_extended(world: World) -> None:
    world.seed.running("a", deadline=-30)

    answer = world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE))

    assert answer.lost == ()
    assert world.state()["lease"] == {"mail.0.a": "now+60s"}


def test_a_late_request_for_a_shorter_lease_does_not_cut_a_longer_one(world: World) -> None:
    world.seed.running("a", deadline=10)
    world.seed.running("b", deadline=10)
    world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=2 * MINUTE))

    answer = world.run(renew(world.lane, [(world.id("a"), 7), (world.id("b"), 7)], lease_us=MINUTE))

    assert answer.lost == ()
    assert world.state()["lease"] == {"mail.0.a": "now+120s", "mail.0.b": "now+60s"}


def test_a_late_renewal_does_not_bring_back_a_lease_that_was_released(world: World) -> None:
    world.seed.running("a", deadline=10)
    world.raw.zrem(world.lane.lease, world.id("a"))
    world.raw.hdel(world.lane.runs, world.id("a"))

    answer = world.refused(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE))

    assert answer.lost == ((world.id("a"), 7),)


def test_a_run_whose_lease_was_deleted_gets_one_again(world: World) -> None:
    world.seed.running("a", deadline=10)
    world.raw.zrem(world.lane.lease, world.id("a"))

    assert world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE)).lost == ()
    assert world.state()["lease"] == {"mail.0.a": "now+60s"}


def test_a_lease_twice_renewed_is_as_one_renewed(world: World) -> None:
    world.seed.running("a", deadline=10)
    call = renew(world.lane, [(world.id("a"), 7), (world.id("a"), 7)], lease_us=MINUTE)
    world.run(call)

    assert world.again(call).lost == ()


def test_another_token_and_a_job_that_does_not_run_are_lost_and_nothing_moves(world: World) -> None:
    world.seed.running("a", token=8)
    world.seed.waiting("b")
    world.seed.completed("c")
    held = [(world.id(suffix), 7) for suffix in "abcd"]

    answer = world.refused(renew(world.lane, held, lease_us=MINUTE))

    assert answer.lost == tuple(held)


def test_a_long_token_is_compared_to_the_last_digit(world: World) -> None:
    token = 8_999_999_999_999_999
    world.seed.running("a", token=token)

    assert world.refused(renew(world.lane, [(world.id("a"), token - 1)], lease_us=MINUTE)).lost
    assert world.run(renew(world.lane, [(world.id("a"), token)], lease_us=MINUTE)).lost == ()


def test_what_is_lost_does_not_keep_the_others_from_renewal(world: World) -> None:
    world.seed.running("a", deadline=10)

    answer = world.run(renew(world.lane, [(world.id("x"), 1), (world.id("a"), 7)], lease_us=MINUTE))

    assert answer.lost == ((world.id("x"), 1),)
    assert world.state()["lease"] == {"mail.0.a": "now+60s"}


def test_a_job_that_is_to_stop_is_named_and_keeps_its_lease(world: World) -> None:
    world.seed.running("a", deadline=10, cancel="ann")

    answer = world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE))

    assert answer.cancelled == (Cancelling(world.id("a"), 7, "ann"),)
    assert world.state()["lease"] == {"mail.0.a": "now+60s"}


def test_a_job_that_is_to_stop_under_another_token_is_lost_only(world: World) -> None:
    world.seed.running("a", token=8, cancel="ann")

    answer = world.refused(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE))

    assert (answer.lost, answer.cancelled) == (((world.id("a"), 7),), ())


def test_fifty_leases_go_in_one_renewal(world: World) -> None:
    held = [(world.seed.running(f"{n:02}", token=n + 1, deadline=10), n + 1) for n in range(50)]

    assert world.run(renew(world.lane, held, lease_us=MINUTE)).lost == ()
    assert set(world.state()["lease"].values()) == {"now+60s"}


def test_who_listens_hears_nothing_of_renewals(world: World) -> None:
    world.seed.running("a", cancel="ann")

    with world.listening(world.id("a")) as heard:
        world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=MINUTE))

    assert heard == []
