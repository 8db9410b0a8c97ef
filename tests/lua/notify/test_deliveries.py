from __future__ import annotations

from jobfleet.store.calls.journal import Delivery, deliveries
from tests.lua.world import World


def test_what_is_held_and_what_gathers_is_shown(world: World) -> None:
    keys = world.keys.channel("ops")
    for number in range(3):
        world.raw.hset(keys.held, f"d{number}", f"{number} 1 1 1 1 boom\nx")
        world.raw.zadd(keys.due, {f"d{number}": world.now + number})
        world.raw.hset(keys.groups, f"k{number}", "7 1 2 3\nx")
        world.raw.zadd(keys.windows, {f"k{number}": world.now + number})
    world.raw.hset(keys.groups, ":rate", "1 1")

    pending = world.refused(deliveries(keys, limit=2))

    assert (pending.held, pending.open, pending.gathered) == (3, 3, 14)
    assert pending.deliveries == [
        Delivery(f"d{number}", number, 1, 1, 1, 1, "boom", b"x", world.now + number) for number in range(2)
    ]


def test_a_channel_that_nobody_knows_has_nothing(world: World) -> None:
    assert world.refused(deliveries(world.keys.channel("ops")))[1:] == (0, 0, [], 0)
