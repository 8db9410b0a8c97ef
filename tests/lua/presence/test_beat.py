from __future__ import annotations

from jobfleet.store.calls.presence import beat
from tests.lua.world import World
from tests.support.seed import S


def test_a_beat_tells_who_lives_and_answers_who_else(world: World) -> None:
    world.raw.hset(world.keys.queues, mapping={"mail": "2:8", "default": "1:1"})
    world.raw.zadd(world.keys.workers, {"silent": world.seed.at(-30), "lively": world.seed.at(-10)})
    call = beat(
        world.keys, "w1", account=b"busy", gone_us=20 * S, serves=["mail", "new"], functions={"f": b"one", "g": b"two"}
    )

    answer = world.run(call)

    assert (answer.workers, answer.queues) == (2, {"mail": (2, 8)})
    assert world.state() == world.moved(
        {
            "functions": {"f": "one", "g": "two"},
            "worker:w1": ("busy", 200),
            "workers": {"silent": "now-30s", "lively": "now-10s", "w1": "now"},
        }
    )
    assert answer.before == b""
    assert world.again(call).before == b"busy"


def test_a_beat_lets_go_who_has_long_been_silent(world: World) -> None:
    world.raw.zadd(world.keys.workers, {"gone": world.seed.at(-210), "silent": world.seed.at(-190)})

    assert world.run(beat(world.keys, "w1", account=b"", gone_us=20 * S)).workers == 1
    assert world.state()["workers"] == {"silent": "now-190s", "w1": "now"}


def test_a_beat_without_functions_leaves_those_that_are_known(world: World) -> None:
    world.raw.hset(world.keys.functions, "f", "one")

    world.run(beat(world.keys, "w1", account=b"", gone_us=20 * S))

    assert world.state()["functions"] == {"f": "one"}


def test_a_beat_answers_the_account_that_stood_before(world: World) -> None:
    world.run(beat(world.keys, "w1", account=b"first", gone_us=20 * S))

    answer = world.run(beat(world.keys, "w1", account=b"second", gone_us=20 * S))

    assert answer.before == b"first"
    assert world.state() == world.moved({"worker:w1": ("second", 200)})


def test_a_beat_restores_queues_and_leaves_those_that_are_known(world: World) -> None:
    world.raw.hset(world.keys.queues, "mail", "2:8")
    call = beat(
        world.keys,
        "w1",
        account=b"",
        gone_us=20 * S,
        serves=["mail", "sms"],
        functions={"f": b"one"},
        queues={"mail": (1, 1), "sms": (1, 4)},
    )

    answer = world.run(call)

    assert answer.queues == {"mail": (2, 8), "sms": (1, 4)}
    assert world.state() == world.moved(
        {
            "functions": {"f": "one"},
            "queues": {"mail": "2:8", "sms": "1:4"},
            "worker:w1": ("", 200),
            "workers": {"w1": "now"},
        }
    )
    assert world.again(call).queues == answer.queues


def test_a_beat_takes_an_account_that_is_no_text_for_none(world: World) -> None:
    world.raw.rpush(world.keys.worker("w1"), "poison")

    assert world.run(beat(world.keys, "w1", account=b"busy", gone_us=20 * S)).before == b""
    assert world.state()["worker:w1"] == ("busy", 200)
