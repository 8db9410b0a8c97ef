"""listen: say for a minute that somebody listens to a lane's events."""

from __future__ import annotations

import redis

from jobfleet.store.calls.control import listen
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.records import Entry
from tests.lua.world import World


def counts_listeners(raw: redis.Redis) -> bool:
    """Whether a server knows all listeners: a node of a cluster knows its own, and some do not say what they are."""
    try:
        info: dict[str, object] = raw.info("cluster")
    except redis.ResponseError:
        return False
    return not info["cluster_enabled"]


def test_the_mark_lasts_a_minute_and_may_be_left_again(world: World) -> None:
    world.run(listen(world.lane))
    world.run(listen(world.lane))

    assert world.state() == {"listeners": ("1" if counts_listeners(world.raw) else "uncounted", 60)}


def test_without_the_mark_nothing_is_published(world: World) -> None:
    with world.listening(world.id("a")) as heard:
        world.raw.delete(world.lane.listeners)
        world.run(enqueue(world.lane, [Entry(world.id("a"), 2, "", "", b"envelope")]))

    assert heard == []
