"""What an open job has kept ends with the job, however that ends, and not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from jobfleet.codec import seal
from jobfleet.store.calls import control, settle
from jobfleet.store.calls.dead import Planned, keep_letters, undo_replay
from jobfleet.store.calls.enqueue import replace
from jobfleet.store.calls.run import keep, signal
from jobfleet.store.records import Entry
from tests.lua.dead.filed import entries
from tests.lua.world import World

HOUR, DAY, DECADE = 3_600_000, 86_400_000, 3650 * 86_400_000
TIMES: dict[str, Any] = {"duration_us": 5}


def left(world: World, name: str = "steps", suffix: str = "a") -> int:
    return int(str(world.raw.pttl(f"{world.lane.tag}{name}:{world.id(suffix)}")))


def running(world: World, suffix: str = "a") -> str:
    """A running job that keeps a step."""
    job_id = world.seed.running(suffix)
    assert world.go(keep(world.lane, job_id, 7, ttl_ms=HOUR, step="s:x", record=b"x")) == "kept"
    return job_id


def waiting(world: World, **given: Any) -> str:
    """A waiting job that has got a signal."""
    job_id = world.seed.waiting("a", **given)
    assert world.go(signal(world.lane, job_id, "go", b"v", by=None, nonce="n", ttl_ms=HOUR)) == "s"
    return job_id


def settled(world: World, *items: settle.Item) -> str:
    return world.go(settle.settle(world.lane, items)).letters


def completes(world: World) -> None:
    item = settle.complete(running(world), 7, record=b"r", ttl_ms=HOUR, **TIMES)
    assert settled(world, item) == "k", "it is sent again, with the keys of what the job keeps"
    assert left(world) > DECADE
    assert settled(world, settle.with_kept(item)) == "s"


def completes_beside_another(world: World) -> None:
    other = world.seed.running("b", token=8)
    first = settle.complete(other, 8, record=b"r", ttl_ms=HOUR + 1, **TIMES)
    assert settled(world, first, settle.complete(running(world), 7, record=b"r", ttl_ms=HOUR, **TIMES)) == "ss"


def completes_after_a_signal(world: World) -> None:
    job_id = world.seed.running("a")
    world.go(signal(world.lane, job_id, "go", b"v", by=None, nonce="n", ttl_ms=HOUR))
    item = settle.complete(job_id, 7, record=b"r", ttl_ms=HOUR, **TIMES)
    assert settled(world, item) == "k"
    assert settled(world, settle.with_kept(item)) == "s"


def completes_briefly(world: World) -> None:
    item = settle.complete_briefly(running(world), 7, record=b"r", ttl_ms=DAY, value_ttl_ms=HOUR, **TIMES)
    assert settled(world, item) == "s"


def fails(world: World) -> None:
    item = settle.fail(running(world), 7, record=b"r", ttl_ms=DAY, reason="error", tries="1:0:0:0:0", **TIMES)
    assert settled(world, item) == "s"


def is_undone(world: World) -> None:
    fails(world)
    job_id = world.id("a")
    world.go(keep_letters(world.lane, [Planned(job_id, entries(world)[job_id])]))
    assert world.go(control.replay(world.lane, [job_id], by="rescue r")) == ["replayed"]
    assert left(world) > DECADE, "it is open again"
    assert world.go(undo_replay(world.lane, [job_id], ttl_ms=DAY)) == "u"


def is_cancelled_in_its_run(world: World) -> None:
    job_id = running(world)
    world.go(control.cancel(world.keys, world.lane, [job_id], by="ann", ttl_ms=DAY))
    assert settled(world, settle.release(job_id, 7)) == "c"


def is_cancelled(world: World) -> None:
    world.go(control.cancel(world.keys, world.lane, [waiting(world)], by="ann", ttl_ms=DAY))


def expires(world: World) -> None:
    job_id = waiting(world, expires=-1)
    assert settled(world, settle.expire(job_id, 0, ttl_ms=DAY, guard=settle.STILL_WAITING)) == "s"


def moves(world: World) -> None:
    assert settled(world, settle.move(running(world), 7, to="x.0.b", ttl_ms=DAY)) == "s"


def is_replaced(world: World) -> None:
    job_id = waiting(world, meta="u once\ns o")
    world.seed.holds("once", job_id)
    entry = Entry(world.id("b"), 1, "", "u once\ns o", seal({"function": "f"}, [], {}))
    assert world.go(replace(world.lane, entry, key="once", holder=job_id, ttl_ms=DAY)) == "replaced"


@pytest.mark.parametrize(
    "ends",
    [
        completes, completes_beside_another, completes_after_a_signal, completes_briefly, fails, is_undone,
        is_cancelled_in_its_run, is_cancelled, expires, moves, is_replaced,
    ],
    ids=lambda ends: ends.__name__,
)  # fmt: skip
def test_what_a_job_has_kept_ends_some_time_after_the_job(world: World, ends: Callable[[World], None]) -> None:
    ends(world)

    assert 0 < left(world) <= HOUR
    assert not world.raw.hexists(world.lane.meta, world.id("a"))


def test_a_job_without_a_result_leaves_no_steps(world: World) -> None:
    item = settle.complete_briefly(running(world), 7, record=b"", ttl_ms=DAY, value_ttl_ms=0, **TIMES)

    assert settled(world, item) == "s"

    assert left(world) == -2


@pytest.mark.parametrize("ends", [fails, is_cancelled_in_its_run, moves], ids=lambda ends: ends.__name__)
def test_steps_that_are_to_be_undone_are_kept_for_a_month(
    world: World, monkeypatch: pytest.MonkeyPatch, ends: Callable[[World], None]
) -> None:
    def with_undo(world: World, suffix: str = "a") -> str:
        job_id = world.seed.running(suffix)
        world.go(keep(world.lane, job_id, 7, ttl_ms=HOUR, step="u:", record=b"suffix"))
        return job_id

    monkeypatch.setitem(cast("Any", ends).__globals__, "running", with_undo)
    ends(world)

    assert 29 * DAY < left(world) <= 30 * DAY


def test_steps_with_an_end_get_none_when_the_job_writes_again_or_is_replayed(world: World) -> None:
    job_id = world.seed.running("a")
    cast("Any", world.raw).hset(world.lane.steps(job_id), "s:old", "x")
    world.raw.pexpire(world.lane.steps(job_id), 5_000)  # as a revision of before has left it
    world.go(keep(world.lane, job_id, 7, ttl_ms=HOUR, step="s:new", record=b"x"))
    assert left(world) > DECADE

    world.seed.dead("b")
    cast("Any", world.raw).hset(world.lane.steps(world.id("b")), "s:old", "x")
    world.raw.pexpire(world.lane.steps(world.id("b")), 5_000)
    assert world.go(control.replay(world.lane, [world.id("b")], by=None)) == ["replayed"]
    assert left(world, suffix="b") > DECADE
    assert world.raw.hget(world.lane.meta, world.id("b")) == b"k 2592000000"


def test_log_output_and_parents_of_a_job_that_has_waited_end_with_it_too(world: World) -> None:
    job_id = running(world)
    for name in ("log", "chunks", "parents"):
        world.raw.set(f"{world.lane.tag}{name}:{job_id}", "x", px=DECADE)

    item = settle.complete(job_id, 7, record=b"r", ttl_ms=HOUR, **TIMES)
    assert settled(world, settle.with_kept(item)) == "s"

    assert [0 < left(world, name) <= HOUR for name in ("log", "chunks", "parents")] == [True] * 3
