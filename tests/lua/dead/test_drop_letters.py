from __future__ import annotations

from jobfleet.store.calls.dead import Planned, drop_letters, keep_letters
from tests.lua.dead.filed import entries
from tests.lua.world import World


def test_copies_go_and_letters_stay(world: World) -> None:
    job_id = world.seed.dead("a")
    world.run(keep_letters(world.lane, [Planned(job_id, entries(world)[job_id])]))
    before = world.before

    assert world.run(drop_letters(world.lane, [job_id])) == 1
    assert world.state() == before
