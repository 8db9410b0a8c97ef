from __future__ import annotations

import pytest

from jobfleet.store.calls.dead import mark_group, note_groups
from tests.lua.dead.test_note_groups import seen
from tests.lua.world import World


@pytest.mark.parametrize("state", ["resolved", "ignored", "known"])
def test_a_decision_is_recorded_with_its_author(world: World, state: str) -> None:
    world.go(note_groups(world.keys, [seen(world)]))

    assert world.run(mark_group(world.keys, "f1", state, by="ann")) is True

    fields = world.state()["dead-group:f1"]
    assert (fields["state"], fields["by"], fields["at"]) == (state, "ann", "now")
    assert ("dead-ignored" in world.state()) == (state == "ignored")
    assert world.again(mark_group(world.keys, "f1", state, by="bob")) is False


def test_a_group_can_be_opened_again(world: World) -> None:
    world.go(note_groups(world.keys, [seen(world)]))
    world.go(mark_group(world.keys, "f1", "ignored", by=None))

    assert world.run(mark_group(world.keys, "f1", "known", by=None)) is True

    assert "dead-ignored" not in world.state()


def test_a_decision_about_a_regressed_group_ends_its_notice(world: World) -> None:
    world.go(note_groups(world.keys, [seen(world)]))
    world.go(mark_group(world.keys, "f1", "resolved", by=None))
    world.go(note_groups(world.keys, [seen(world, age=-60)]))

    assert world.run(mark_group(world.keys, "f1", "ignored", by=None)) is True

    assert "dead-regressed" not in world.state()


def test_an_unknown_group_gets_no_state(world: World) -> None:
    assert world.refused(mark_group(world.keys, "f1", "resolved", by=None)) is None
