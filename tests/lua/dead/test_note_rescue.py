from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobfleet.store.calls.dead import NotedRescue, note_rescue
from tests.lua.dead.rescuing import JOBS, begin, group, plan
from tests.lua.world import World


def started(world: World, *, stop_after: int = 1, is_read: bool = False) -> None:
    group(world)
    begin(world, stop_after=stop_after)
    plan(world, is_read=is_read)


def test_what_became_of_a_job_is_counted_once(world: World) -> None:
    started(world, is_read=True)
    call = note_rescue(world.keys, "r", [(JOBS[0], "completed"), (JOBS[1], "s")])

    assert world.run(call) == NotedRescue("running", "running", 1, ["completed"])

    assert world.state()["rescue:r"]["completed"] == "1"
    assert world.go(call) == NotedRescue("running", "running", 1, [])
    assert world.go(note_rescue(world.keys, "r", [(JOBS[1], "left")])) == NotedRescue(
        "running", "completed", 0, ["left"]
    )
    assert "rescuing" not in world.state()


@pytest.mark.parametrize(("stop_after", "state"), [(1, "stopped"), (2, "running")])
def test_failures_stop_it(world: World, stop_after: int, state: str) -> None:
    started(world, stop_after=stop_after)

    noted = world.go(note_rescue(world.keys, "r", [(JOBS[0], "failed")]))

    assert noted == NotedRescue("running", state, 1, ["failed"])
    assert world.state()["rescue:r"].get("why") == ("failures" if state == "stopped" else None)
    assert "rescuing" in world.state()  # one job is in flight


@pytest.mark.parametrize(
    ("wishes", "states"),
    [
        (["stop", "stop"], ["stopped", "stopped"]),
        (["undo", "stop"], ["undoing", "undoing"]),
        (["stop", "undo", "undo"], ["stopped", "undoing", "undoing"]),
    ],
)
def test_a_state_only_goes_on(world: World, wishes: Sequence[str], states: Sequence[str]) -> None:
    started(world)

    assert [world.go(note_rescue(world.keys, "r", wish=wish, by="ann")).state for wish in wishes] == states

    assert world.state()["rescue:r"]["ended_by"] == "ann"


def test_an_undo_ends_with_its_last_job(world: World) -> None:
    started(world)
    world.go(note_rescue(world.keys, "r", wish="undo", by="ann"))

    noted = world.go(note_rescue(world.keys, "r", [(JOBS[0], "undone"), (JOBS[1], "started")]))

    assert noted == NotedRescue("undoing", "undone", 0, ["undone", "started"])
    assert "rescuing" not in world.state()


def test_an_unknown_rescue_is_named(world: World) -> None:
    assert world.refused(note_rescue(world.keys, "r", wish="stop")) == NotedRescue("")
