from __future__ import annotations

from jobfleet.store.calls.limits import MOST_GROUPS, pause_group
from tests.lua.world import World


def test_a_group_is_paused_once_and_who_and_why_are_kept(world: World) -> None:
    call = pause_group(world.lane, "acme", by="ann", reason="their database is down")

    assert world.run(call)

    assert world.state() == world.moved({"conf": {"paused:acme": "ann@now their database is down", "groups": "1"}})
    assert world.again(call) is False


def test_another_group_is_counted_too(world: World) -> None:
    world.seed.group_paused("acme")

    assert world.run(pause_group(world.lane, "zeta", by=None))

    assert world.state()["conf"] == {"paused:acme": "ann@now", "paused:zeta": "-@now", "groups": "2"}


def test_no_more_groups_are_paused_than_there_may_be(world: World) -> None:
    world.seed.group_paused("acme")
    world.raw.hset(world.lane.conf, "groups", MOST_GROUPS)

    assert world.refused(pause_group(world.lane, "zeta", by=None)) is None
    assert world.refused(pause_group(world.lane, "acme", by=None)) is False
