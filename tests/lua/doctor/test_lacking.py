from __future__ import annotations

from jobfleet.store.calls.doctor import lacking
from tests.lua.world import World


def test_what_the_user_may_run_is_not_lacking(world: World) -> None:
    assert world.refused(lacking(world.keys, ["TIME", "PING"])) in ((), None)  # None: fakeredis


def test_what_the_user_may_not_run_is_named_by_its_number(world: World, floor: str) -> None:
    commands = ["TIME", f"HGET\n{world.lane.runs}\nx", "FLUSHALL", "XGROUP\nCREATE\nother\nx\nx"]

    answer = world.refused(lacking(world.keys, commands))

    assert answer == ((1, 2, 3) if "as_granted" in floor else ())
