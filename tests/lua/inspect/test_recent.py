from __future__ import annotations

import pytest

from jobfleet.store.calls.inspect import recent
from jobfleet.store.calls.settle import complete, settle
from jobfleet.store.keys import BLOCKED
from tests.lua.world import World


def found(world: World, *, limit: int = 100, kinds: str = "wred", part: str = "") -> list[str]:
    """The last parts of the ids."""
    _, rows = world.refused(recent(world.lane, limit=limit, kinds=kinds, part=part))
    return sorted(job_id.removeprefix(world.lane.id_prefix) for job_id in rows)


def ends(world: World, suffix: str) -> None:
    world.seed.running(suffix)
    world.run(settle(world.lane, [complete(world.id(suffix), 7, record=b"", ttl_ms=1_000, duration_us=5)]))


def test_an_empty_lane_has_none(world: World) -> None:
    assert found(world) == []


def test_jobs_of_every_kind_and_regime_are_found(world: World) -> None:
    for band in range(4):
        world.seed.waiting(f"due{band}", band=band, due=-10)
    world.seed.waiting("later", due=10)
    world.seed.waiting("grouped", due=-10, group="acme")
    world.seed.waiting("grouped-later", due=10, group="acme")
    world.seed.withheld("withheld")
    world.raw.zadd(world.lane.ready[2], {world.id("blocked"): BLOCKED})
    world.seed.running("runs")
    world.seed.dead("dead")
    ends(world, "ended")

    waiting = ["blocked", "due0", "due1", "due2", "due3", "grouped", "grouped-later", "later", "withheld"]
    assert found(world) == sorted([*waiting, "dead", "ended", "runs"])
    assert found(world, kinds="w") == waiting
    assert [found(world, kinds=kind) for kind in "red"] == [["runs"], ["ended"], ["dead"]]


def test_the_time_of_each_is_when_it_is_due_or_has_ended(world: World) -> None:
    world.seed.waiting("soon", due=10)
    world.seed.waiting("grouped", due=-10, group="acme")
    world.raw.zadd(world.lane.ready[2], {world.id("blocked"): BLOCKED})
    world.raw.xadd(world.lane.done, {"jobs": "ended co 5"}, id=f"{world.seed.at(-20) // 1000}-0")

    now, rows = world.refused(recent(world.lane, limit=10))

    names = {job_id.removeprefix(world.lane.id_prefix): at for job_id, at in rows.items()}
    assert names == {
        "soon": world.seed.at(10),
        "grouped": world.seed.at(-10),
        "blocked": now,
        "ended": world.seed.at(-20) // 1000 * 1000,
    }


def test_the_newest_are_read_and_no_more_than_the_limit(world: World) -> None:
    for number in range(1, 10):
        world.seed.waiting(f"w{number}", due=-10 * number)
        world.raw.xadd(world.lane.done, {"jobs": f"e{number} co 5"}, id=f"{number}-0")

    assert found(world, limit=2) == ["e8", "e9", "w1", "w2"]


def test_a_part_also_finds_the_jobs_that_are_due_first(world: World) -> None:
    for number in range(1, 10):
        world.seed.waiting(f"{number}-job", due=-10 * number)

    assert found(world, limit=2, part="-job") == ["1-job", "2-job", "8-job", "9-job"]


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("019a", ["019abcdef"]),
        ("cdef", ["019abcdef", "xyz-cdef"]),
        ("mail.0.x", ["xyz-cdef"]),
        ("mail", []),
        ("mail.0.", []),
        ("abcd", []),
        ("b%c", ["a.b%c"]),
        (".*", []),
    ],
)
def test_a_part_reaches_into_the_last_part_of_an_id(world: World, part: str, wanted: list[str]) -> None:
    world.seed.waiting("019abcdef", due=-10)
    world.seed.running("xyz-cdef")
    world.seed.dead("a.b%c")

    assert found(world, part=part) == wanted
