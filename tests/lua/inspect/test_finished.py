from __future__ import annotations

from jobfleet.store.calls.inspect import finished
from jobfleet.store.calls.settle import complete, settle
from tests.lua.world import World


def test_nothing_has_finished(world: World) -> None:
    assert world.refused(finished(world.lane)) == []


def test_a_page_is_newest_first(world: World) -> None:
    for trip in ("ab", "c"):
        for suffix in trip:
            world.seed.running(suffix)
        items = [complete(world.id(suffix), 7, record=b"", ttl_ms=1_000, duration_us=5) for suffix in trip]
        world.run(settle(world.lane, items))

    rows = world.refused(finished(world.lane))

    assert [(row.suffix, row.outcome, row.duration) for row in rows] == [("c", "co", 5), ("b", "co", 5), ("a", "co", 5)]
    assert rows[1].entry == rows[2].entry


def test_pages_follow_each_other(world: World) -> None:
    for n in range(1, 6):
        world.raw.xadd(world.lane.done, {"jobs": f"{n} fa {n}\n{n}b ca 0"}, id=f"{n}-0")

    first = world.refused(finished(world.lane, limit=2))
    second = world.refused(finished(world.lane, before=f"({first[-1].entry}", limit=2))

    assert [row.suffix for row in first] == ["5b", "5", "4b", "4"]
    assert [row.suffix for row in second] == ["3b", "3", "2b", "2"]


def test_a_suffix_with_dots_is_whole(world: World) -> None:
    world.seed.running("nightly.2026.a")

    world.run(settle(world.lane, [complete(world.id("nightly.2026.a"), 7, record=b"", ttl_ms=1_000, duration_us=5)]))

    assert world.refused(finished(world.lane))[0].suffix == "nightly.2026.a"
