from __future__ import annotations

from jobfleet.store.calls.control import pause_function, paused, read_functions
from tests.lua.world import World


def test_what_is_paused_in_every_queue_is_kept_apart_from_what_a_lane_knows(world: World) -> None:
    assert world.refused(paused(world.keys)) == ""
    world.run(pause_function(world.keys, "mail.send", by="ann", reason="a bug"))
    world.run(pause_function(world.lane, "bill", by="bob"))

    told = read_functions(world.refused(paused(world.keys)))

    assert {name: (one.by, one.reason) for name, one in told.items()} == {"mail.send": ("ann", "a bug")}
