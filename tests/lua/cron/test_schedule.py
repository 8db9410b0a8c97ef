from __future__ import annotations

from jobfleet.store.calls.cron import MOST_ENTRIES, add
from tests.lua.world import World


def kept(world: World) -> tuple[str, str]:
    since, _, rest = world.raw.hget(world.keys.cron, "nightly").decode().partition(" ")  # type: ignore[union-attr]
    return world.time(int(since)), rest


def test_an_entry_is_kept_once(world: World) -> None:
    call = add(world.keys, "nightly", "abc", b"record")

    assert world.run(call) == "added"

    assert kept(world)[1] == "abc\nrecord"
    assert world.again(call) == "unchanged"


def test_another_record_takes_its_place_and_its_times_go_on(world: World) -> None:
    world.raw.hset(world.keys.cron, "nightly", "17 abc\nold")

    assert world.run(add(world.keys, "nightly", "abc", b"new")) == "changed"

    assert world.raw.hget(world.keys.cron, "nightly") == b"17 abc\nnew"


def test_other_times_begin_anew(world: World) -> None:
    world.raw.hset(world.keys.cron, "nightly", "17 abc\nold")

    world.run(add(world.keys, "nightly", "def", b"new"))

    assert kept(world)[1] == "def\nnew"
    assert kept(world)[0] != "17"


def test_whoever_only_adds_leaves_another_entry_alone(world: World) -> None:
    world.raw.hset(world.keys.cron, "nightly", "17 abc\nold")

    assert world.refused(add(world.keys, "nightly", "def", b"new", is_new=True)) == "taken"
    assert world.refused(add(world.keys, "nightly", "abc", b"old", is_new=True)) == "unchanged"


def test_no_more_entries_are_kept_than_there_may_be(world: World) -> None:
    world.raw.hset(world.keys.cron, mapping={f"e{number}": "17 abc\nold" for number in range(MOST_ENTRIES)})

    assert world.refused(add(world.keys, "nightly", "abc", b"record")) == "full"
    assert world.run(add(world.keys, "e7", "abc", b"record")) == "changed"
