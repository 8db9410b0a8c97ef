from __future__ import annotations

from jobfleet.store.calls.presence import kinds, know
from jobfleet.store.records import KindSeen, KindsSeen
from tests.lua.world import World
from tests.support.seed import S

ONE, TWO = {"": "default", "shop.pay": "default"}, {"": "mail", "shop.send": "mail"}


def test_it_answers_what_each_kind_knows_and_a_worker_of_it(world: World) -> None:
    world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=ONE))
    world.run(know(world.keys, "w2", "k2", gone_us=20 * S, functions=TWO))

    answer = world.refused(kinds(world.keys, gone_us=20 * S))

    assert answer == KindsSeen(0, (KindSeen("k1", "w1", ONE), KindSeen("k2", "w2", TWO)))


def test_of_kinds_that_were_had_it_answers_only_that_they_live(world: World) -> None:
    world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=ONE))
    world.run(know(world.keys, "w2", "k2", gone_us=20 * S, functions=TWO))

    answer = world.refused(kinds(world.keys, gone_us=20 * S, had=("k2", "k3")))

    assert answer.kinds == (KindSeen("k1", "w1", ONE), KindSeen("k2", "w2", {}))


def test_those_that_are_silent_do_not_live(world: World) -> None:
    world.raw.zadd(world.keys.kinds, {"gone": world.seed.at(-21), "deserted": world.seed.at(-1)})
    world.raw.zadd(world.keys.knowers("gone"), {"w1": world.seed.at(-21)})
    world.raw.zadd(world.keys.knowers("deserted"), {"w2": world.seed.at(-21)})

    assert world.refused(kinds(world.keys, gone_us=20 * S)) == KindsSeen(0, ())


def test_what_is_of_another_type_is_passed_over(world: World) -> None:
    world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=ONE))
    world.run(know(world.keys, "w2", "k2", gone_us=20 * S, functions=TWO))
    world.run(know(world.keys, "w3", "k3", gone_us=20 * S, functions=TWO))
    for key in (world.keys.kind("k1"), world.keys.knowers("k2")):
        world.raw.set(key, "x")

    assert world.refused(kinds(world.keys, gone_us=20 * S)).kinds == (KindSeen("k3", "w3", TWO),)
    world.raw.set(world.keys.kinds, "x")
    assert world.refused(kinds(world.keys, gone_us=20 * S)) == KindsSeen(0, ())


def test_workers_that_tell_no_kind_may_know_what_was_published(world: World) -> None:
    world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=ONE))
    world.raw.zadd(world.keys.workers, {"w1": world.seed.at(-1), "old": world.seed.at(-1), "gone": world.seed.at(-21)})
    world.raw.hset(world.keys.functions, "shop.old", "record")

    assert [
        world.refused(kinds(world.keys, gone_us=20 * S, function=name)).others for name in ("shop.old", "x", "")
    ] == [
        1,
        0,
        0,
    ]
