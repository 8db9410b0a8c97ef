from __future__ import annotations

from jobfleet.store.calls.presence import know
from tests.lua.world import World
from tests.support.seed import S

TOLD = {"": "default", "shop.pay": "default", "shop.bill": "mail"}


def test_a_new_kind_is_told_to_the_fleet(world: World) -> None:
    with world.listening() as heard:
        answer = world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=TOLD))

    assert (answer.is_new, answer.kinds) == (False, frozenset({"k1"}))
    assert world.state() == world.moved({"kinds": {"k1": "now"}, "kind:k1": TOLD, "knowers:k1": {"w1": "now"}})
    assert heard == [("control", "kinds")]


def test_a_kind_that_lives_is_told_by_its_name(world: World) -> None:
    world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=TOLD))

    with world.listening() as heard:
        answer = world.run(know(world.keys, "w2", "k1", gone_us=20 * S))

    assert (answer.is_new, answer.kinds) == (False, frozenset({"k1"}))
    assert world.state()["knowers:k1"] == {"w1": "now", "w2": "now"}
    assert heard == []
    assert world.again(know(world.keys, "w2", "k1", gone_us=20 * S)).kinds == {"k1"}


def test_a_kind_of_which_nothing_is_kept_is_asked_for(world: World) -> None:
    answer = world.run(know(world.keys, "w1", "k1", gone_us=20 * S))

    assert (answer.is_new, answer.kinds) == (True, frozenset())
    assert world.state() == {"knowers:k1": {"w1": "now"}}


def test_keys_that_hold_something_else_are_written_anew(world: World) -> None:
    for key in (world.keys.kinds, world.keys.kind("k1"), world.keys.knowers("k1")):
        world.raw.set(key, "x")

    answer = world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=TOLD))

    assert (answer.mended, answer.is_new, answer.kinds) == (3, False, frozenset({"k1"}))
    assert world.state() == {"kinds": {"k1": "now"}, "kind:k1": TOLD, "knowers:k1": {"w1": "now"}}


def test_kinds_and_workers_that_are_silent_are_let_go(world: World) -> None:
    world.raw.zadd(world.keys.kinds, {"gone": world.seed.at(-30), "silent": world.seed.at(-10)})
    world.raw.zadd(world.keys.knowers("k1"), {"gone": world.seed.at(-30), "silent": world.seed.at(-10)})

    answer = world.run(know(world.keys, "w1", "k1", gone_us=20 * S, functions=TOLD))

    assert answer.kinds == {"silent", "k1"}
    state = world.state()
    assert (state["kinds"], state["knowers:k1"]) == (
        {"silent": "now-10s", "k1": "now"},
        {"silent": "now-10s", "w1": "now"},
    )
