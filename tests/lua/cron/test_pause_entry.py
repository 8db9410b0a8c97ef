from __future__ import annotations

from jobfleet.store.calls.cron import entries, pause, resume
from tests.lua.world import World


def test_an_entry_is_paused_once_and_the_first_who_did_is_remembered(world: World) -> None:
    world.raw.hset(world.keys.cron, "a", "17 x\nr")

    assert world.run(pause(world.keys, "a", by="ann")) == "paused"

    assert world.state() == {"cron": {"a": "17 x\nr"}, "cron-paused": {"a": "ann@now"}}
    assert world.again(pause(world.keys, "a", by="bob", reason="x")) == "already"


def test_a_pause_keeps_its_reason(world: World) -> None:
    world.raw.hset(world.keys.cron, "a", "17 x\nr")

    assert world.run(pause(world.keys, "a", by=None, reason="the disk is full")) == "paused"

    assert world.state()["cron-paused"] == {"a": "-@now the disk is full"}
    ((held,),) = [world.run(entries(world.keys))[1]]
    assert (held.paused, held.paused_at > 0, held.paused_reason) == ("-", True, "the disk is full")


def test_what_was_planned_during_a_pause_does_not_fire(world: World) -> None:
    world.raw.hset(world.keys.cron, "a", "17 x\nr\nmore")
    world.raw.hset(world.keys.cron_paused, "a", "ann@1")

    assert world.run(resume(world.keys, "a")) == "resumed"

    since, _, rest = world.state()["cron"]["a"].partition(" ")
    assert (since, rest) == ("now", "x\nr\nmore") or int(since) >= world.now
    assert "cron-paused" not in world.state()
    assert world.again(resume(world.keys, "a")) == "already"


def test_an_entry_that_is_not_there_cannot_be_held(world: World) -> None:
    assert world.refused(pause(world.keys, "a", by=None)) == "unknown"
