from __future__ import annotations

from typing import Any

from jobfleet.store.calls.run import steps
from tests.lua.world import World


def test_a_job_without_steps_has_kept_nothing(world: World) -> None:
    before, _ = world.raw.time()

    kept = world.refused(steps(world.lane, world.id("a")))

    assert int(kept.pop("")) >= before * 1_000_000  # Redis's time
    assert kept == {}


def test_all_that_was_kept_is_answered_but_for_its_size_and_its_present_wait(world: World) -> None:
    records: dict[Any, Any] = {
        "s:a": b"\xff",
        "c:b": b"",
        "": "1",
        "@": "5 go",
        "w:s#1": "5",
        "x:go": b"7 nonce\n\xfe\n",
    }
    world.raw.hset(world.lane.steps(world.id("a")), mapping=records)

    kept = world.refused(steps(world.lane, world.id("a")))

    del kept[""]
    assert kept == {"s:a": b"\xff", "c:b": b"", "w:s#1": b"5", "x:go": b"7\n\xfe\n"}


def test_one_record_is_read_alone(world: World) -> None:
    world.raw.hset(world.lane.steps(world.id("a")), mapping={"t:abc": "1", "s:b": "2", "@": "5 go"})

    found = [world.refused(steps(world.lane, world.id("a"), name)) for name in ("t:abc", "t:other", "@")]

    assert [{name: record for name, record in one.items() if name} for one in found] == [{"t:abc": b"1"}, {}, {}]
