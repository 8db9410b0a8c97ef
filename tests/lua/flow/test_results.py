from __future__ import annotations

from jobfleet.store.calls.flow import results
from tests.lua.world import World


def test_how_jobs_ended_comes_in_the_order_asked_for(world: World) -> None:
    world.raw.set(world.lane.result("mail.0.a"), b"completed 17 7\nrec\xffrd")

    assert world.again(results(world.lane, ["mail.0.b", "mail.0.a"])) == [b"", b"completed 17 7\nrec\xffrd"]
