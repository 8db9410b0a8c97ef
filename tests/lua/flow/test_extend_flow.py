from __future__ import annotations

from jobfleet.store.call import Call
from jobfleet.store.calls.flow import ADDED_MOST, BEGUN, DONE, WHOLE, Addition, extend_flow
from tests.lua.world import World


def extending(world: World, name: str, stage: int, count: int, record: bytes) -> Call[Addition | int | None]:
    return extend_flow(world.keys, "f", name, stage=stage, count=count, record=record, ttl_ms=60_000)


def test_an_addition_goes_through_its_stages_and_never_back(world: World) -> None:
    world.raw.set(world.keys.flow("f"), b"flow")

    assert world.run(extending(world, "a", BEGUN, 3, b"one")) == Addition(0)
    assert world.again(extending(world, "a", BEGUN, 3, b"one")) == Addition(BEGUN, b"one")
    assert world.run(extending(world, "a", WHOLE, 3, b"two")) == Addition(BEGUN, b"one")
    assert world.run(extending(world, "a", DONE, 3, b"three")) == Addition(WHOLE, b"two")
    assert world.again(extending(world, "a", BEGUN, 3, b"four")) == Addition(DONE, b"three")
    assert world.run(extending(world, "b", BEGUN, 2, b"other")) == Addition(0)

    assert world.state() == {"flow:f": ("flow", 60), "flow-more:f": {"": "5", "a": "3three", "b": "1other"}}
    assert world.raw.pttl(world.keys.flow_more("f")) > 0


def test_nothing_is_added_to_a_flow_that_is_not_known(world: World) -> None:
    assert world.refused(extending(world, "a", BEGUN, 3, b"")) is None


def test_more_than_a_flow_may_get_is_refused(world: World) -> None:
    world.raw.set(world.keys.flow("f"), b"flow", px=60_000)
    world.run(extending(world, "a", BEGUN, ADDED_MOST - 1, b""))

    assert world.refused(extending(world, "b", BEGUN, 2, b"")) == ADDED_MOST - 1
    assert world.run(extending(world, "b", BEGUN, 1, b"")) == Addition(0)
