from __future__ import annotations

from typing import Any

from jobfleet.store.calls.samples import COUNTERS, sampled
from tests.lua.world import World


def test_all_pages_together_have_all_values(world: World) -> None:
    values: dict[Any, Any] = {f"lane q{number}:0": str(number) for number in range(1200)}
    world.raw.hset(world.keys.samples_of(COUNTERS), mapping=values)
    found: dict[str, bytes] = {}
    cursor, pages = b"0", 0

    while pages == 0 or cursor != b"0":
        page = world.go(sampled(world.keys, COUNTERS, cursor))
        found |= page.values
        cursor, pages = page.cursor, pages + 1

    assert found == {name: value.encode() for name, value in values.items()}
    assert pages > 1


def test_a_chunk_that_is_not_there_is_empty(world: World) -> None:
    assert world.refused(sampled(world.keys, "10s:1")) == (b"0", {})
