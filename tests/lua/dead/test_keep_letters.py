from __future__ import annotations

from jobfleet.store.calls.dead import Planned, drop_letters, keep_letters
from tests.lua.dead.filed import entries
from tests.lua.world import World


def test_a_letter_is_copied_if_it_is_the_one_that_is_meant(world: World) -> None:
    job_id, other = world.seed.dead("a", band=1, meta="u k"), world.seed.dead("b")
    call = keep_letters(world.lane, [Planned(job_id, entries(world)[job_id]), Planned(other, "1-0")])

    assert world.run(call) == 1

    copy = world.state()["rescued:mail.0.a"]
    assert copy.pop("died") == entries(world)[job_id].partition("-")[0]
    assert copy == {"reason": "error", "band": "1", "tries": "1:0:0:0:0", "meta": "u k", "record": "record of a"}
    assert "rescued:mail.0.b" not in world.state()
    assert world.again(call) == 1


def test_a_copy_is_dropped(world: World) -> None:
    job_id = world.seed.dead("a")
    world.go(keep_letters(world.lane, [Planned(job_id, entries(world)[job_id])]))

    assert world.run(drop_letters(world.lane, [job_id, "mail.0.x"])) == 1
    assert world.again(drop_letters(world.lane, [job_id])) == 0
