from __future__ import annotations

import pytest

from jobfleet.store.calls.run import LOCK_TTL_MS, Acquired, Holder, acquire
from tests.lua.world import World

A, B, C = (Holder(7, 1, f"mail.0.{suffix}") for suffix in "abc")


def test_a_place_is_taken_with_a_token_of_its_own(world: World) -> None:
    before = world.now
    call = acquire(world.keys, "crm", A, 2)

    first = world.run(call)

    assert first.fence >= before
    assert world.raw.zrange(world.keys.lock("crm"), 0, -1, withscores=True) == [(b"7 1 mail.0.a", first.fence)]
    assert world.raw.hgetall(world.keys.lock_state("crm")) == {b"limit": b"2", b"last": b"%d" % first.fence}
    for key in (world.keys.lock("crm"), world.keys.lock_state("crm")):
        assert 0 < int(str(world.raw.pttl(key))) <= LOCK_TTL_MS
    assert world.again(call) == first
    assert world.run(acquire(world.keys, "crm", B, 2)).fence > first.fence


def test_a_token_is_larger_than_all_before_although_the_clock_was_set_back(world: World) -> None:
    later = world.now + 3_600_000_000
    world.raw.hset(world.keys.lock_state("crm"), mapping={"limit": 1, "last": later})

    assert world.run(acquire(world.keys, "crm", A, 1)) == Acquired(fence=later + 1)


def test_if_all_places_are_taken_their_holders_are_named(world: World) -> None:
    for holder in (A, B):
        world.run(acquire(world.keys, "crm", holder, 2))

    assert world.refused(acquire(world.keys, "crm", C, 2)) == Acquired(holders=("7 1 mail.0.a", "7 1 mail.0.b"))


def test_the_place_of_an_ended_run_is_free(world: World) -> None:
    for holder in (A, B):
        world.run(acquire(world.keys, "crm", holder, 2))

    assert world.run(acquire(world.keys, "crm", C, 2, ended=[A.text()])).fence

    assert world.raw.zrange(world.keys.lock("crm"), 0, -1) == [b"7 1 mail.0.b", b"7 1 mail.0.c"]


@pytest.mark.parametrize("limit", [1, 3])
def test_another_limit_is_refused_while_others_hold_the_lock(world: World, limit: int) -> None:
    world.run(acquire(world.keys, "crm", A, 2))

    assert world.refused(acquire(world.keys, "crm", B, limit)) == Acquired(holders=(A.text(),), limit=2)

    assert world.run(acquire(world.keys, "crm", B, limit, ended=[A.text()])).fence
