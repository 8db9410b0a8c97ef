from __future__ import annotations

from jobfleet.store.calls.cron import Scheduled, add, pause, remove, resume, timetable
from tests.lua.world import World


def test_times_come_by_name_with_who_paused_them_and_without_the_call(world: World) -> None:
    world.run(add(world.keys, "b", "x", b"secret", times=b"t\nof two lines"))
    world.run(add(world.keys, "a", "x", b"secret", times=b"t"))
    world.raw.hset(world.keys.cron_paused, "b", "ann@99")

    _, rows = world.again(timetable(world.keys))

    since = [row.since for row in rows]
    assert rows == [Scheduled("a", since[0], b"t"), Scheduled("b", since[1], b"t\nof two lines", "ann", 99)]


def test_times_go_with_their_entry_and_begin_anew_after_a_pause(world: World) -> None:
    for name in ("a", "b"):
        world.run(add(world.keys, name, "x", b"r", times=b"t\nmore"))
    world.raw.hset(world.keys.cron_times, "b", "17\nt\nmore")
    world.run(pause(world.keys, "b", by=None))
    world.run(resume(world.keys, "b"))
    world.run(remove(world.keys, "a"))

    (row,) = world.again(timetable(world.keys))[1]
    assert (row.name, row.record) == ("b", b"t\nmore")
    assert row.since > 17
