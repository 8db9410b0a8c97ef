from __future__ import annotations

from jobfleet.store.calls.flow import outbox
from tests.lua.world import World


def test_the_oldest_come_first(world: World) -> None:
    entries = [world.raw.xadd(world.lane.outbox, {"id": f"mail.0.{name}"}) for name in "abc"]

    assert (
        world.again(outbox(world.lane, limit=2))
        == [
            (entry.decode(), f"mail.0.{name}")  # type: ignore[union-attr]  # a server answers bytes
            for entry, name in zip(entries[:2], "ab", strict=True)
        ]
    )


def test_there_may_be_none(world: World) -> None:
    assert world.again(outbox(world.lane)) == []
