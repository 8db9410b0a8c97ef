from __future__ import annotations

import pytest

from jobfleet.store.calls import dead
from jobfleet.store.calls.dead import note_rescue
from tests.lua.dead.rescuing import begin, group, open_call, plan
from tests.lua.world import World


def test_a_rescue_begins_with_its_plan(world: World) -> None:
    group(world)

    assert world.run(open_call(world)) == ("opened", "")

    assert set(world.state()) - set(world.before) == {"rescue:r", "rescues", "rescuing"}
    fields = world.state()["rescue:r"]
    assert (fields["state"], fields["by"], fields["canary"], fields["fp"]) == ("running", "ann", "1,10", "f1")
    assert world.state()["dead-group:f1"]["rescue"] == "r"


def test_an_unknown_group_has_no_rescue(world: World) -> None:
    assert world.refused(open_call(world)) == ("unknown", "")


def test_a_group_has_one_rescue_at_a_time(world: World) -> None:
    group(world)
    begin(world)

    assert world.refused(open_call(world, "s")) == ("running", "r")

    world.go(note_rescue(world.keys, "r", wish="stop"))
    assert world.run(open_call(world, "s")) == ("opened", "")


def test_the_last_rescues_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "RESCUES_MOST", 1)
    group(world)
    begin(world)
    plan(world)
    world.go(note_rescue(world.keys, "r", wish="stop"))

    begin(world, "s")

    assert list(world.state()["rescues"]) == ["s"]
    assert set(world.state()["rescuing"]) == {"r", "s"}  # r has jobs in flight
