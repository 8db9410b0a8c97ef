from __future__ import annotations

from jobfleet.store.calls.presence import Attendant, attendants
from tests.lua.world import World
from tests.support.seed import S


def test_attendants_are_named_with_how_long_they_have_been_silent(world: World) -> None:
    assert world.run(attendants(world.keys)) == []
    world.raw.zadd(world.keys.cron_duty, {"reaper:h:1:a": world.seed.at(-30), "worker:h:2:b": world.seed.at(-1)})

    found = world.again(attendants(world.keys))

    assert [one._replace(silent=round(one.silent / S)) for one in found] == [
        Attendant("reaper", "h:1:a", 30),
        Attendant("worker", "h:2:b", 1),
    ]
