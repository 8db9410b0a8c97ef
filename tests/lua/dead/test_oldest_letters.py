from __future__ import annotations

from jobfleet.store.calls.dead import oldest_letters
from tests.lua.dead.filed import bury, entries
from tests.lua.world import World


def test_the_oldest_letters_after_an_entry_come_first(world: World) -> None:
    ids = bury(world, "a", "b", "c")
    bury_ms = [int(entries(world)[job_id].partition("-")[0]) for job_id in ids]

    first = world.refused(oldest_letters(world.lane, "f:x", after="0-0", upto_ms=bury_ms[2], limit=2))
    rest = world.refused(oldest_letters(world.lane, "f:x", after=first[-1].entry, upto_ms=bury_ms[2], limit=2))

    assert [row.id for row in (*first, *rest)] == ids
    assert first[0].tries == "1:0:0:0:0"


def test_later_letters_are_left_out(world: World) -> None:
    ids = bury(world, "a", "b")
    upto = int(entries(world)[ids[0]].partition("-")[0])

    found = world.refused(oldest_letters(world.lane, "f:x", after="0-0", upto_ms=upto, limit=5))

    assert [row.id for row in found] == ids[:1]
