from __future__ import annotations

import pytest

from jobfleet.store.calls import dead
from jobfleet.store.calls.dead import GroupSeen, mark_group, note_groups
from tests.lua.world import World


def seen(world: World, fingerprint: str = "f1", *, age: int = 0, version: str = "1") -> GroupSeen:
    """A letter of a group, `age` seconds old."""
    at = world.now - age * 1_000_000
    return GroupSeen(fingerprint, at, at, "demo.add", version, "ValueError", "no luck", f"mail.0.{age}")


def test_a_new_group_is_recorded(world: World) -> None:
    call = note_groups(world.keys, [seen(world, age=5), seen(world, "f2", age=9)])

    assert world.run(call) == "nn"

    assert set(world.state()) - set(world.before) == {"dead-groups", "dead-group:f1", "dead-group:f2"}
    assert world.state()["dead-group:f1"]["state"] == "new"
    assert world.state()["dead-group:f1"]["example"] == "mail.0.5"
    assert world.again(call) == "kk"


def test_times_and_versions_are_merged(world: World) -> None:
    world.go(note_groups(world.keys, [seen(world, age=5)]))

    assert world.go(note_groups(world.keys, [seen(world, age=9, version="2")])) == "k"

    _, ((stored),) = world.go(dead.groups(world.keys))
    assert (stored.last, int(stored.fields["first"])) == (world.now - 5_000_000, world.now - 9_000_000)
    assert (stored.fields["versions"], stored.fields["example"]) == ("1\n2", "mail.0.5")


@pytest.mark.parametrize(("state", "answer", "after"), [("resolved", "r", "regressed"), ("ignored", "k", "ignored")])
def test_a_resolved_group_comes_back_once(world: World, state: str, answer: str, after: str) -> None:
    world.go(note_groups(world.keys, [seen(world, age=5)]))
    world.go(mark_group(world.keys, "f1", state, by="ann"))

    assert world.go(note_groups(world.keys, [seen(world, age=1)])) == "k"  # it died before the decision
    assert world.go(note_groups(world.keys, [seen(world, age=-3600)])) == answer
    assert world.go(note_groups(world.keys, [seen(world, age=-3601)])) == "k"

    assert world.state()["dead-group:f1"]["state"] == after
    assert ("dead-regressed" in world.state()) == (after == "regressed")


def test_only_the_groups_with_the_newest_letters_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "GROUPS_MOST", 2)

    world.go(note_groups(world.keys, [seen(world, f"f{age}", age=age) for age in (1, 2, 3)]))

    assert set(world.state()) == {"dead-groups", "dead-group:f1", "dead-group:f2"}
