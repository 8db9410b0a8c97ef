from __future__ import annotations

from jobfleet.store.calls.doctor import LOCKS, locks
from tests.lua.world import World
from tests.support.seed import S


def test_nothing_is_held(world: World) -> None:
    seen = world.refused(locks(world.lane, grace_us=30 * S))

    assert (seen.held, seen.looked, seen.over, seen.left) == (0, 0, 0, {})


def test_only_a_key_whose_holder_is_gone_is_told(world: World) -> None:
    world.seed.holds("waits", world.seed.waiting("a"))
    world.seed.holds("runs", world.seed.running("b"))
    world.seed.holds("for a time", world.seed.completed("c"), till=60)
    world.seed.holds("over", world.seed.completed("d"), till=-60)
    world.seed.holds("just over", world.seed.completed("d"), till=-20)
    world.seed.holds("left", world.seed.completed("e"))
    world.seed.holds("unknown", world.id("f"), last=world.id("g"))

    seen = world.refused(locks(world.lane, grace_us=30 * S))

    assert (seen.held, seen.looked, seen.over) == (7, 7, 1)
    assert seen.left == {"left": world.id("e"), "unknown": world.id("f")}


def test_no_more_than_five_hundred_are_looked_at(world: World) -> None:
    world.raw.hset(world.lane.unique, mapping={f"k{n}": f"{world.id(f'gone{n}')} 0 1" for n in range(LOCKS + 10)})

    seen = world.refused(locks(world.lane, grace_us=30 * S))

    assert (seen.held, seen.looked, len(seen.left)) == (LOCKS + 10, LOCKS, LOCKS)
