from __future__ import annotations

from typing import Any

from jobfleet.store.calls.run import Holder, acquire, release
from tests.lua.world import World

A, B = Holder(7, 1, "mail.0.a"), Holder(7, 2, "mail.0.a")


def test_a_place_is_freed_and_announced(world: World) -> None:
    world.run(acquire(world.keys, "crm", A, 2))
    world.run(acquire(world.keys, "crm", B, 2))
    raw: Any = world.raw
    heard = raw.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(world.keys.lock_freed("crm"))
    heard.get_message(timeout=5)

    assert world.run(release(world.keys, "crm", A)) is True

    assert world.raw.zrange(world.keys.lock("crm"), 0, -1) == [b"7 2 mail.0.a"]
    message = heard.get_message(timeout=5)
    heard.close()
    assert message is not None
    assert message["data"] == b"free"


def test_a_place_that_is_not_held_is_not_freed(world: World) -> None:
    world.run(acquire(world.keys, "crm", A, 2))

    assert world.refused(release(world.keys, "crm", B)) is False
    assert world.refused(release(world.keys, "other", A)) is False
