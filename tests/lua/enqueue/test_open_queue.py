from __future__ import annotations

import pytest

from jobfleet.errors import ConfigError
from jobfleet.store.calls.control import close_queue
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.presence import queues_of
from jobfleet.store.rows import noting
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


@pytest.mark.parametrize("stored", ["0:0", "0:5", "5:1", "9:2", "1:1025", "1:9999", "", "x", "1:", "1_0:10", "+1:2"])
def test_a_damaged_number_of_lanes_is_replaced(stored: str, world: World) -> None:
    world.raw.hset(world.keys.queues, "mail", stored)

    assert world.run(open_queue(world.keys, "mail", 2)) == (2, 2, False)
    assert world.state() == {"queues": {"mail": "2:2"}}


@pytest.mark.parametrize("stored", ["0:5", "5:1", "1:1025", "1_0:10", "x"])
def test_lua_and_python_call_the_same_numbers_of_lanes_damaged(stored: str, world: World) -> None:
    world.raw.hset(world.keys.queues, "mail", stored)

    with noting() as problems:
        assert queues_of([b"mail", stored.encode()]) == {"mail": (1, 1)}
        assert world.run(close_queue(world.keys, "mail")) == (1, 1)
    assert list(problems) == [f"queues has b'mail': {stored.encode()!r}", f"queues has mail: {stored.encode()!r}"]


def test_the_most_lanes_are_sound(world: World) -> None:
    world.raw.hset(world.keys.queues, "mail", "1:1024")

    assert world.refused(open_queue(world.keys, "mail", 2)) == (1, 1024, False)
    assert queues_of([b"mail", b"1:1024"]) == {"mail": (1, 1024)}
