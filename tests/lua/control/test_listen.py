"""listen: say for a minute that somebody listens to a lane's events."""

from __future__ import annotations

from jobfleet.store.calls.control import listen
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.records import Entry
from tests.lua.world import World


def test_the_mark_lasts_a_minute_and_may_be_left_again(world: World) -> None:
    world.run(listen(world.lane))
    world.run(listen(world.lane))

    is_cluster = world.raw.info("cluster")["cluster_enabled"]  # its nodes know only the listeners at themselves
    assert world.state() == {"listeners": ("uncounted" if is_cluster else "1", 60)}


def test_without_the_mark_nothing_is_published(world: World) -> None:
    with world.listening(world.id("a")) as heard:
        world.raw.delete(world.lane.listeners)
        world.run(enqueue(world.lane, [Entry(world.id("a"), 2, "", "", b"envelope")]))

    assert heard == []
