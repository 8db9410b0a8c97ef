from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.calls import run as calls
from jobfleet.store.calls.run import chunks
from tests.lua.world import World


def kept(world: World, *entries: str, value: str = "x") -> str:
    """A job with a stream of these entries."""
    job_id = world.id("a")
    for number, entry in enumerate(entries, start=1):
        world.raw.xadd(world.lane.chunks(job_id), {"at": f"{number} {number}", "v": value}, id=entry)
    return job_id


def read(world: World, job_id: str, **options: Any) -> tuple[list[tuple[int, int, int]], bool]:
    """Token, n and number of each chunk of a page, and whether there are more."""
    found, more = world.refused(chunks(world.lane, job_id, **options))
    return [(one.token, one.n, one.number) for one in found], more


def test_a_page_has_the_chunks_after_a_position(world: World) -> None:
    job_id = kept(world, "7-1", "7-2", "8-1")

    assert read(world, job_id) == ([(7, 1, 1), (7, 2, 2), (8, 1, 3)], False)
    assert read(world, job_id, after=(7, 1)) == ([(7, 2, 2), (8, 1, 3)], False)
    assert read(world, job_id, after=(7, 5)) == ([(8, 1, 3)], False)
    assert read(world, job_id, after=(8, 1)) == ([], False)


def test_without_a_stream_there_is_nothing(world: World) -> None:
    assert read(world, world.id("x")) == ([], False)


@pytest.mark.parametrize(
    ("count", "limit", "seen"), [(120, 119, True), (120, 120, False), (120, 50, True), (50, 50, False)]
)
def test_a_page_ends_at_its_limit(world: World, count: int, limit: int, seen: bool) -> None:
    job_id = kept(world, *[f"7-{n}" for n in range(1, count + 1)])

    page, more = read(world, job_id, limit=limit)

    assert (page, more) == ([(7, n, n) for n in range(1, limit + 1)], seen)


def test_a_page_ends_after_the_chunk_that_exceeds_its_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CHUNK_PAGE_BYTES", 25)
    job_id = kept(world, *[f"7-{n}" for n in range(1, 6)], value="x" * 10)

    assert read(world, job_id) == ([(7, 1, 1), (7, 2, 2), (7, 3, 3)], True)
    assert read(world, job_id, after=(7, 3)) == ([(7, 4, 4), (7, 5, 5)], False)


def test_the_last_chunks_can_be_read_alone(world: World) -> None:
    job_id = kept(world, "7-1", "7-2", "8-1")

    assert read(world, job_id, tail=2) == ([(7, 2, 2), (8, 1, 3)], False)
    assert read(world, job_id, tail=9) == ([(7, 1, 1), (7, 2, 2), (8, 1, 3)], False)
    assert read(world, job_id, tail=2, after=(7, 2)) == ([(8, 1, 3)], False)
    assert read(world, world.id("x"), tail=2) == ([], False)


def test_a_foreign_entry_is_skipped(world: World) -> None:
    job_id = kept(world, "7-1")
    world.raw.xadd(world.lane.chunks(job_id), {"foreign": "entry"}, id="7-2")
    world.raw.xadd(world.lane.chunks(job_id), {"at": "x", "v": "foreign"}, id="7-3")

    assert read(world, job_id) == ([(7, 1, 1)], False)
