from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.store.call import Call
from jobfleet.store.calls.control import listen
from jobfleet.store.calls.run import Emission, emit_chunks
from tests.lua.world import World

TEN_MINUTES = 600_000


def emission(world: World, suffix: str, n: int, *chunks: str, token: int = 7) -> Emission:
    return Emission(world.id(suffix), token, TEN_MINUTES, n, [chunk.encode() for chunk in chunks])


def emitting(world: World, *emissions: Emission, most: int = 100, most_bytes: int = 1000) -> Call[str]:
    return emit_chunks(world.lane, emissions, most=most, most_bytes=most_bytes)


def stream(world: World, suffix: str) -> list[tuple[str, str, str]]:
    """Entry, numbers and chunk of each entry of a stream."""
    rows: Sequence[Any] = world.raw.xrange(world.lane.chunks(world.id(suffix)))  # type: ignore[assignment]
    return [(entry.decode(), fields[b"at"].decode(), fields[b"v"].decode()) for entry, fields in rows]


def test_chunks_of_running_jobs_are_kept_in_order_for_a_while(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b", token=8)
    call = emitting(world, emission(world, "a", 1, "one", "two"), emission(world, "b", 1, "other", token=8))

    assert world.run(call) == "oo"

    assert stream(world, "a") == [("7-1", "1 3", "one"), ("7-2", "2 6", "two")]
    assert stream(world, "b") == [("8-1", "1 5", "other")]
    assert set(world.state()) - set(world.before) == {"chunks:mail.0.a", "chunks:mail.0.b"}
    ttls = [int(str(world.raw.pttl(world.lane.chunks(world.id(suffix))))) for suffix in "ab"]
    assert all(0 < ttl <= TEN_MINUTES for ttl in ttls)


def test_chunks_that_come_twice_are_kept_once(world: World) -> None:
    world.seed.running("a")
    call = emitting(world, emission(world, "a", 1, "one", "two"))
    world.run(call)

    assert world.again(call) == "o"
    assert world.run(emitting(world, emission(world, "a", 2, "two", "three"))) == "o"
    assert stream(world, "a") == [("7-1", "1 3", "one"), ("7-2", "2 6", "two"), ("7-3", "3 11", "three")]


def test_chunks_without_the_token_or_the_run_are_lost(world: World) -> None:
    world.seed.running("a", token=8)
    world.seed.waiting("b")
    world.seed.completed("c")

    assert world.refused(emitting(world, *[emission(world, suffix, 1, "late") for suffix in "abc"])) == "lll"


def test_a_later_run_begins_an_epoch_after_the_chunks_of_the_earlier_one(world: World) -> None:
    world.seed.running("a", token=8)
    world.raw.xadd(world.lane.chunks(world.id("a")), {"at": "9 100", "v": "before"}, id="7-9")

    assert world.run(emitting(world, emission(world, "a", 1, "again", token=8))) == "o"

    assert stream(world, "a") == [("7-9", "9 100", "before"), ("8-1", "10 105", "again")]


def test_a_run_does_not_write_before_the_chunks_of_a_later_one(world: World) -> None:
    world.seed.running("a", token=7)
    world.raw.xadd(world.lane.chunks(world.id("a")), {"at": "1 5", "v": "later"}, id="8-1")

    assert world.refused(emitting(world, emission(world, "a", 1, "late", token=7))) == "l"


def test_the_last_chunks_are_kept(world: World) -> None:
    world.seed.running("a")
    for first in (1, 4):
        world.run(emitting(world, emission(world, "a", first, "x", "y", "z"), most=4))

    assert [row[:2] for row in stream(world, "a")] == [("7-3", "3 3"), ("7-4", "4 4"), ("7-5", "5 5"), ("7-6", "6 6")]


def test_the_last_bytes_are_kept(world: World) -> None:
    world.seed.running("a")
    for n in range(1, 301, 3):
        world.run(emitting(world, emission(world, "a", n, *["x" * 10] * 3), most=1000, most_bytes=25))

    assert [row[:2] for row in stream(world, "a")] == [("7-299", "299 2990"), ("7-300", "300 3000")]


def test_many_chunks_are_dropped_at_once(world: World) -> None:
    world.seed.running("a")
    world.run(emitting(world, emission(world, "a", 1, *["x"] * 250)))

    assert world.run(emitting(world, emission(world, "a", 251, "y" * 999), most=1000, most_bytes=1000)) == "o"

    assert [row[:2] for row in stream(world, "a")] == [("7-250", "250 250"), ("7-251", "251 1249")]


def test_the_last_chunk_is_kept_however_large_it_is(world: World) -> None:
    world.seed.running("a")

    assert world.run(emitting(world, emission(world, "a", 1, "one", "x" * 50), most_bytes=5)) == "o"

    assert [row[0] for row in stream(world, "a")] == ["7-2"]


def test_an_emission_without_chunks_sets_the_lifetime(world: World) -> None:
    world.seed.running("a")
    world.run(emitting(world, emission(world, "a", 1, "one")))
    shorter = emission(world, "a", 2)._replace(ttl_ms=60_000)

    assert world.run(emitting(world, shorter)) == "o"

    assert 0 < int(str(world.raw.pttl(world.lane.chunks(world.id("a"))))) <= 60_000


def test_listeners_hear_that_there_are_new_chunks(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b")
    raw: Any = world.raw
    with raw.pubsub() as ear:
        ear.subscribe(world.lane.chunks(world.id("a")))
        ear.get_message(timeout=5)
        world.run(emitting(world, emission(world, "a", 1, "unheard"), emission(world, "b", 1, "unheard")))
        world.go(listen(world.lane))
        world.run(emitting(world, emission(world, "a", 2, "x", "y"), emission(world, "b", 2, "z")))
        world.run(emitting(world, emission(world, "a", 2, "x")))  # nothing new
        raw.publish(world.lane.chunks(world.id("a")), "end")

        heard = [ear.get_message(timeout=5)["data"] for _ in range(2)]

    assert heard == [b"+", b"end"]


def test_foreign_entries_do_not_stop_the_chunks_of_a_run_or_of_others(world: World) -> None:
    for suffix in "ab":
        world.seed.running(suffix)
    for entry in ("6-1", "6-2"):
        world.raw.xadd(world.lane.chunks(world.id("a")), {"foreign": "entry"}, id=entry)

    two = emission(world, "a", 1, "x" * 10), emission(world, "b", 1, "one")
    assert world.run(emitting(world, *two, most_bytes=5)) == "oo"

    assert stream(world, "a") == [("7-1", "1 10", "x" * 10)]
    assert stream(world, "b") == [("7-1", "1 3", "one")]
