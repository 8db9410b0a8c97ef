from __future__ import annotations

from jobfleet.store.calls.cron import history
from tests.lua.world import World


def test_the_newest_fires_come_first(world: World) -> None:
    world.raw.zadd(world.keys.cron_ledger("a"), {f"{n} fired job-{n} {n}": n for n in range(5)})

    assert world.again(history(world.keys, "a", limit=2)) == [(4, "fired job-4 4"), (3, "fired job-3 3")]


def test_an_entry_that_has_not_fired(world: World) -> None:
    assert world.again(history(world.keys, "a", limit=2)) == []
