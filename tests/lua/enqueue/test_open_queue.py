from __future__ import annotations

import pytest

from jobfleet.errors import ConfigError
from jobfleet.store.calls.enqueue import open_queue
from tests.lua.world import World


def test_a_queue_is_opened_once_and_keeps_its_home_lanes(world: World) -> None:
    assert world.run(open_queue(world.keys, "mail", 3)) == (3, 3, True)

    assert world.state() == {"queues": {"mail": "3:3"}}
    assert world.again(open_queue(world.keys, "mail", 2)) == (3, 3, False)


def test_lanes_grow_and_home_lanes_stay(world: World) -> None:
    world.run(open_queue(world.keys, "mail", 3))

    assert world.run(open_queue(world.keys, "mail", 5)) == (3, 5, False)
    assert world.again(open_queue(world.keys, "mail", 5)) == (3, 5, False)
    assert world.state() == {"queues": {"mail": "3:5"}}


def test_a_queue_that_has_grown_answers_home_lanes_and_lanes(world: World) -> None:
    world.raw.hset(world.keys.queues, "mail", "2:8")

    assert world.refused(open_queue(world.keys, "mail", 1)) == (2, 8, False)


def test_no_more_queues_are_made_than_there_may_be(world: World) -> None:
    world.raw.hset(world.keys.queues, mapping={"mail": "1:1", "bulk": "1:1"})

    with pytest.raises(ConfigError) as refused:
        world.run(open_queue(world.keys, "new", 1, most=2))

    assert str(refused.value) == (
        "Queue 'new' was not created: max_queues allows 2, and there are at least as many. Remove those that are not "
        "needed with 'jobfleet queues rm QUEUE', or raise max_queues."
    )
    assert world.state() == {"queues": {"mail": "1:1", "bulk": "1:1"}}
    assert world.run(open_queue(world.keys, "mail", 3, most=2)) == (1, 3, False)
