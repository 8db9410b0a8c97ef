from __future__ import annotations

from jobfleet.store.calls.control import close_queue
from tests.lua.world import World


def test_a_queue_is_not_known_any_more(world: World) -> None:
    world.raw.hset(world.keys.queues, mapping={"mail": "2:8", "bulk": "1:1"})
    call = close_queue(world.keys, "mail")

    assert world.run(call) == (2, 8)

    assert world.state() == {"queues": {"bulk": "1:1"}}
    assert world.again(call) is None


def test_one_that_is_not_known_changes_nothing(world: World) -> None:
    assert world.refused(close_queue(world.keys, "mail")) is None
