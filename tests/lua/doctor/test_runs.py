from __future__ import annotations

from jobfleet.store.calls.doctor import LEASES, runs
from tests.lua.world import World
from tests.support.seed import S


def test_nothing_runs(world: World) -> None:
    seen = world.refused(runs(world.lane))

    assert (seen.hold, seen.leases, seen.runs, seen.rows) == (0, 0, 0, ())


def test_leases_come_by_deadline_with_their_runs(world: World) -> None:
    world.seed.running("b", token=8, deadline=50)
    world.seed.running("a", deadline=-10, claimed=-100)
    world.seed.ticked(hold=30)

    seen = world.refused(runs(world.lane))

    assert (seen.hold, seen.leases, seen.runs) == (world.seed.at(30), 2, 2)
    first, second = seen.rows
    assert (first.id, first.deadline, first.has_envelope) == (world.id("a"), world.now - 10 * S, True)
    assert first.run is not None
    assert (first.run.child, first.run.claimed) == ("w.1", world.seed.at(-100))
    assert (second.id, second.run and second.run.token) == (world.id("b"), 8)


def test_what_lacks_its_other_half_is_told(world: World) -> None:
    lost, bare, lone = (world.seed.running(name) for name in ("lost", "bare", "lone"))
    world.raw.delete(world.lane.job(lost))
    world.raw.zrem(world.lane.lease, bare)
    world.raw.hdel(world.lane.runs, lone)

    seen = world.refused(runs(world.lane))

    told = {row.id: (bool(row.deadline), row.run is not None, row.has_envelope) for row in seen.rows}
    assert told == {lost: (True, True, False), bare: (False, True, True), lone: (True, False, True)}
    assert (seen.leases, seen.runs) == (2, 2)


def test_pages_follow_each_other(world: World) -> None:
    for n in range(LEASES + 2):
        world.seed.running(f"{n:02}", deadline=10 * n)

    pages = [world.refused(runs(world.lane, skip=skip)).rows for skip in (0, LEASES, 2 * LEASES)]

    assert [len(page) for page in pages] == [LEASES, 2, 0]
    assert [row.id for page in pages for row in page] == [world.id(f"{n:02}") for n in range(LEASES + 2)]
