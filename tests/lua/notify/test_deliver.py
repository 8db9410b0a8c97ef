from __future__ import annotations

from jobfleet.store.calls.journal import Delivery, deliver
from tests.lua.world import World


def taken(world: World, attempt: int = 2) -> Delivery:
    keys = world.keys.channel("ops")
    world.raw.hset(keys.held, "d", f"{attempt} 1 1 1 1 boom\nx")
    world.raw.zadd(keys.due, {"d": world.now + 90_000_000})
    return Delivery("d", attempt, 1, 1, 1, 1, "boom", b"x")


def test_what_was_delivered_is_gone(world: World) -> None:
    delivery = taken(world)

    assert world.run(deliver(world.keys.channel("ops"), delivery))

    assert world.state() == {}
    assert not world.again(deliver(world.keys.channel("ops"), delivery))


def test_what_did_not_get_through_is_due_again_later(world: World) -> None:
    delivery = taken(world)

    assert world.run(deliver(world.keys.channel("ops"), delivery, delay_us=20_000_000))

    assert world.state() == world.moved({"notify:ops:due": {"d": "now+20s"}})
    assert world.again(deliver(world.keys.channel("ops"), delivery, delay_us=20_000_000))


def test_of_an_attempt_that_was_overtaken_only_the_success_counts(world: World) -> None:
    late = taken(world)._replace(attempt=1)

    assert not world.refused(deliver(world.keys.channel("ops"), late, delay_us=1))

    assert world.run(deliver(world.keys.channel("ops"), late))
    assert world.state() == {}
