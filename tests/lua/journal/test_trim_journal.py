from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.calls.journal import Kept, register, trim_journal
from tests.lua.journal.test_register import enqueued
from tests.lua.world import World
from tests.support.seed import S

MINUTE_MS = 60_000


def seeded(world: World, *suffixes: str, groups: tuple[str, ...] = ("archive",), most: int = 1000) -> int:
    """A journal with an entry a job, and the number of the event before the first."""
    for group in groups:
        world.run(register(world.lane, group, most=most))
    first = int(world.raw.hget(world.lane.totals, "journal") or 0)
    for suffix in suffixes:
        enqueued(world, suffix)
    return first


def read(world: World, count: int, *, group: str = "archive", reader: str = "r.1") -> list[Any]:
    raw: Any = world.raw
    rows = raw.xreadgroup(group, reader, {world.lane.journal: ">"}, count=count)
    return [entry for entry, _ in rows[0][1]] if rows else []


def ack(world: World, entries: list[Any], *, group: str = "archive") -> None:
    world.raw.xack(world.lane.journal, group, *entries)


def trimmed(world: World, *, longest: int = 3600, gone_ms: int = MINUTE_MS) -> Kept:
    return world.run(trim_journal(world.lane, longest_us=longest * S, gone_ms=gone_ms))


def jobs(world: World) -> str:
    return "".join(entry["1"].split(" ")[1][-1] for entry in world.state().get("journal", []))


def test_what_is_acknowledged_goes_and_nothing_beyond(world: World) -> None:
    first = seeded(world, *"abcd")
    entries = read(world, 3)
    ack(world, [entries[0], entries[2]])

    kept = trimmed(world)

    assert (jobs(world), kept.last - first, kept.low - first, kept.backlog, kept.dropped) == ("bcd", 4, 1, 3, 0)
    ack(world, [entries[1]])
    assert trimmed(world).low == first + 3
    assert jobs(world) == "d"
    assert world.again(trim_journal(world.lane, longest_us=3600 * S, gone_ms=MINUTE_MS)).backlog == 1


@pytest.mark.parametrize("low", ["-1", "0", "9000000000000000", None])
@pytest.mark.parametrize("is_read", [False, True])
def test_a_foreign_number_is_corrected_and_no_event_counts_as_dropped(
    world: World, low: str | None, is_read: bool
) -> None:
    first = seeded(world, *"abc")
    if is_read:
        ack(world, read(world, 3))
    if low is None:
        world.raw.hdel(world.lane.totals, "journal_low")
    else:
        world.raw.hset(world.lane.totals, "journal_low", low)

    kept = trimmed(world)
    kept = trimmed(world) if kept.backlog else kept

    assert (jobs(world), kept.last - first, kept.dropped) == ("" if is_read else "abc", 3, 0)
    assert int(world.raw.hget(world.lane.totals, "journal_low") or 0) == kept.low
    assert 0 <= kept.last - kept.low <= (0 if is_read else 10_002)


def test_nothing_goes_that_one_of_two_groups_has_not_acknowledged(world: World) -> None:
    first = seeded(world, *"abc", groups=("archive", "notify"))
    ack(world, read(world, 3))
    ack(world, read(world, 1, group="notify"), group="notify")

    assert trimmed(world).low == first + 1

    assert jobs(world) == "bc"


def test_what_is_too_old_goes_and_is_counted(world: World) -> None:
    seeded(world, *"abc")
    ack(world, read(world, 1))

    kept = trimmed(world, longest=-60)

    assert (kept.backlog, kept.dropped, kept.oldest, jobs(world)) == (0, 2, 0, "")
    assert world.state()["totals"]["journal_dropped"] == "2"


def test_the_oldest_event_kept_is_told(world: World) -> None:
    seeded(world, *"ab")

    kept = trimmed(world)

    assert world.time(kept.oldest) == "now"


def test_a_lane_without_a_journal_keeps_nothing(world: World) -> None:
    assert world.refused(trim_journal(world.lane, longest_us=3600 * S, gone_ms=1)) == Kept(0, 0, 0, 0)


@pytest.mark.parametrize(("holds", "left"), [(False, []), (True, [b"r.1"])])
def test_a_silent_reader_is_forgotten_unless_it_holds_something(world: World, holds: bool, left: list[bytes]) -> None:
    seeded(world, "a")
    entries = read(world, 1)
    if not holds:
        ack(world, entries)

    trimmed(world, gone_ms=-1)

    readers: Any = world.raw.xinfo_consumers(world.lane.journal, "archive")
    assert [reader["name"] for reader in readers] == left


def test_a_journal_at_its_bound_lets_the_oldest_go_and_counts_them(world: World) -> None:
    first = seeded(world, *"abcdefghij", most=5)

    kept = trimmed(world)

    assert (jobs(world), kept.backlog, kept.dropped) == ("ghij", 4, 6)
    assert kept.last == first + 10
