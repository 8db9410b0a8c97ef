from __future__ import annotations

from typing import Any

from jobfleet.store.call import Call
from jobfleet.store.calls.control import replay, trim
from tests.lua.world import World


def trimming(
    world: World, *, done_before: int = -3_600, dead_before: int = -3_600, dead_max: int = 100
) -> Call[tuple[int, int, bool]]:
    return trim(
        world.lane,
        done_before_ms=world.seed.at(done_before) // 1000,
        dead_before_ms=world.seed.at(dead_before) // 1000,
        dead_max=dead_max,
    )


def dead(world: World) -> list[str]:
    return [letter["id"][-1] for letter in world.state()["dlq"]]


def test_nothing_is_old(world: World) -> None:
    world.seed.dead("a", age=30)
    world.raw.xadd(world.lane.done, {"jobs": "b co 5"})

    assert world.refused(trimming(world)) == (0, 0, False)


def test_an_empty_lane_has_nothing_to_trim(world: World) -> None:
    assert world.refused(trimming(world)) == (0, 0, False)


def test_old_letters_go_with_their_entries(world: World) -> None:
    for suffix, age in (("a", 90), ("b", 70), ("c", 30)):
        world.seed.dead(suffix, age=age)

    assert world.run(trimming(world, dead_before=-60)) == (0, 2, False)

    assert dead(world) == ["c"]
    assert world.state()["dead"] == {"mail.0.c": "dlq[0]"}
    assert world.again(trimming(world, dead_before=-60)) == (0, 0, False)


def test_of_too_many_letters_the_oldest_go(world: World) -> None:
    for n in range(5):
        world.seed.dead(str(n), age=90 - n * 10)

    assert world.run(trimming(world, dead_max=2)) == (0, 3, False)
    assert dead(world) == ["3", "4"]


def test_at_most_fifty_letters_go_and_more_is_said(world: World) -> None:
    for n in range(60):
        world.seed.dead(f"{n:02}", age=90, result=False)

    assert world.run(trimming(world, dead_before=-60)) == (0, 50, True)
    assert world.run(trimming(world, dead_before=-60)) == (0, 10, False)
    assert world.state() == {"dlq": []}


def test_old_batches_of_finished_jobs_go_in_whole_nodes(world: World) -> None:
    for n in range(300):
        world.raw.xadd(world.lane.done, {"jobs": f"{n} co 5"}, id=f"{world.seed.at(-90) // 1000}-{n}")
    world.raw.xadd(world.lane.done, {"jobs": "new co 5"}, id=f"{world.seed.at(-30) // 1000}-0")

    batches, letters, more = world.run(trimming(world, done_before=-60))

    assert (letters, more) == (0, False)
    assert batches >= 200
    assert world.state()["done"][-1] == {"jobs": "new co 5"}
    assert len(world.state()["done"]) == 301 - batches


def test_keys_whose_time_is_over_go(world: World) -> None:
    world.seed.holds("over", world.id("a"), till=-10, since=-60)
    world.seed.holds("held", world.id("b"), till=10, since=-60)

    assert world.run(trimming(world)) == (0, 0, False)
    assert world.state() == {"locks": {"held": "now+10s"}, "unique": {"held": "mail.0.b now+10s now-60s"}}
    assert world.again(trimming(world)) == (0, 0, False)


def test_a_key_that_was_taken_for_no_time_since_stays(world: World) -> None:
    world.seed.holds("once", world.id("a"), till=-10, since=-60)
    world.seed.holds("once", world.id("b"))

    assert world.run(trimming(world)) == (0, 0, False)
    assert world.state() == {"unique": {"once": "mail.0.b 0 now"}}


def test_at_most_fifty_keys_go_and_more_is_said(world: World) -> None:
    for n in range(60):
        world.seed.holds(f"key {n:02}", world.id("a"), till=-10)

    assert world.run(trimming(world)) == (0, 0, True)
    assert len(world.state()["unique"]) == 10
    assert world.run(trimming(world)) == (0, 0, False)
    assert world.state() == {}


def test_an_old_letter_does_not_take_the_entry_of_a_newer_one_with_it(world: World) -> None:
    world.seed.dead("a", age=90, result=False)
    world.seed.dead("a", age=30, result=False)

    assert world.run(trimming(world, dead_before=-60)) == (0, 1, False)
    assert world.state()["dead"] == {"mail.0.a": "dlq[0]"}
    assert world.run(replay(world.lane, [world.id("a")], by=None)) == ["replayed"]


def test_letters_are_read_no_further_than_a_mebibyte(world: World) -> None:
    for suffix in "abcd":
        world.seed.dead(suffix, age=90, result=False)
        raw: Any = world.raw
        entry = raw.hget(world.lane.dead, world.id(suffix))
        raw.xdel(world.lane.dlq, entry)
        fields = {"id": world.id(suffix), "envelope": b"x" * 600_000}
        raw.hset(world.lane.dead, world.id(suffix), raw.xadd(world.lane.dlq, fields, id=entry + b"1"))

    assert world.run(trimming(world, dead_before=-60)) == (0, 2, True)
    assert dead(world) == ["c", "d"]
    assert world.run(trimming(world, dead_before=-60)) == (0, 2, True)
    assert world.run(trimming(world, dead_before=-60)) == (0, 0, False)
    assert world.state() == {"dlq": []}
