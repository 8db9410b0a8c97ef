from __future__ import annotations

from jobfleet.store.calls.flow import CHUNK, children
from tests.lua.world import World


def test_all_who_wait_are_named_page_by_page(world: World) -> None:
    names = [f"mail.0.c{n:03}" for n in range(CHUNK + 7)]
    world.raw.zadd(world.lane.dependants("mail.0.p"), dict.fromkeys(names, 0))

    assert world.again(children(world.lane, "mail.0.p")) == names[:CHUNK]
    assert world.again(children(world.lane, "mail.0.p", skip=CHUNK)) == names[CHUNK:]
    assert world.again(children(world.lane, "mail.0.q")) == []
