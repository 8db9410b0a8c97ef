from __future__ import annotations

from jobfleet.store.calls.control import purge, replay
from jobfleet.store.calls.dead import NEVER, Filing, count_letters, file_letters
from jobfleet.store.calls.ended import forget
from tests.lua.dead.filed import bury, entries
from tests.lua.world import World


def test_a_letter_is_filed_once_under_each_name(world: World) -> None:
    job_id = world.seed.dead("a")
    entry = entries(world)[job_id]
    call = file_letters(world.lane, NEVER, entry, [Filing(job_id, entry, ["g:1", "f:x"])])

    assert world.run(call) is True

    assert set(world.state()) - set(world.before) == {"filed", "filing"}
    assert len(world.state()["filed"]) == 2
    assert world.go(count_letters(world.lane, ["g:1", "f:x", "t:x"])) == [1, 1, 0]
    assert world.again(call) is False  # the mark has moved


def test_a_letter_that_is_gone_is_passed_over_and_the_mark_moves(world: World) -> None:
    job_id = world.seed.dead("a")
    entry = entries(world)[job_id]
    items = [Filing("mail.0.gone", entry, ["f:x"]), Filing(job_id, "1-1", ["f:x"])]

    assert world.run(file_letters(world.lane, NEVER, entry, items)) is True

    assert "filed" not in world.state()
    assert len(world.state()["filing"]) == 1


def test_a_lane_without_letters_gets_no_mark(world: World) -> None:
    assert world.refused(file_letters(world.lane, NEVER, "1-0", [])) is True


def test_a_later_letter_of_the_same_job_takes_the_place_of_the_earlier_one(world: World) -> None:
    (job_id,) = bury(world, "a", names=("f:x", "g:1"))
    before = entries(world)[job_id]
    world.seed.dead("a")
    entry = entries(world)[job_id]

    assert world.run(file_letters(world.lane, before, entry, [Filing(job_id, entry, ["f:x", "g:2"])]))

    assert world.go(count_letters(world.lane, ["f:x", "g:1", "g:2"])) == [1, 0, 1]


def test_a_letter_that_goes_is_filed_no_more(world: World) -> None:
    replayed, purged, forgotten, kept = bury(world, "a", "b", "c", "d")
    world.raw.delete(world.lane.result(replayed))

    assert world.go(replay(world.lane, [replayed], by=None)) == ["replayed"]
    assert world.go(purge(world.lane, [purged])) == 1
    assert world.go(forget(world.lane, forgotten, by=None, indexes=[], key="", dependants=0, is_archived=False))

    assert world.go(count_letters(world.lane, ["f:x"])) == [1]
    assert sorted(world.state()["filing"]) == sorted([kept, "mark"])
