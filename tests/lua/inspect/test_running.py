from __future__ import annotations

from jobfleet.store.calls.inspect import running
from tests.lua.world import World
from tests.support.seed import S


def test_nothing_runs(world: World) -> None:
    assert world.refused(running(world.lane))[1] == []


def test_a_page_is_by_deadline_with_the_last_progress(world: World) -> None:
    world.seed.running("b", token=8, deadline=50)
    world.seed.running("a", deadline=-10, cancel="ann", tries="1:0:0:0:0")
    world.raw.set(world.lane.progress(world.id("a")), "half", ex=1000)

    _, (first, second) = world.refused(running(world.lane))

    assert (first.id, first.deadline, first.run.token) == (world.id("a"), world.now - 10 * S, 7)
    assert (first.run.cancel_by, first.tries) == ("ann", "1:0:0:0:0")
    assert (first.envelope, first.progress) == (b"envelope of a", b"half")
    assert (second.id, second.run.token, second.progress) == (world.id("b"), 8, b"")


def test_pages_follow_each_other(world: World) -> None:
    for n in range(5):
        world.seed.running(str(n), deadline=10 * n)

    pages = [world.refused(running(world.lane, skip=skip, limit=2))[1] for skip in (0, 2, 4, 6)]

    assert ["".join(row.id[-1] for row in page) for page in pages] == ["01", "23", "4", ""]


def test_a_bare_page_has_rows_of_jobs_without_a_run_too(world: World) -> None:
    world.seed.running("a", token=8, deadline=10, tries="1:0:0:0:0")
    world.seed.running("b", deadline=20)
    world.raw.hdel(f"{world.lane.tag}runs", world.id("b"))
    world.raw.set(world.lane.progress(world.id("a")), "half", ex=1000)

    _, (first, second) = world.refused(running(world.lane, bare=True))

    assert (first.id, first.deadline, first.run.token) == (world.id("a"), world.now + 10 * S, 8)
    assert (first.tries, first.envelope, first.progress, first.wrong) == ("", b"", b"", "")
    assert (second.id, second.run.child, bool(second.wrong)) == (world.id("b"), "-", True)
    assert world.refused(running(world.lane, skip=2, bare=True))[1] == []
