from __future__ import annotations

from jobfleet.store.calls.presence import report_runs
from jobfleet.store.calls.samples import REPORTS, run_reports
from tests.lua.world import World


def test_reports_since_a_time_and_none_that_have_ended(world: World) -> None:
    world.raw.zadd(world.keys.reports, {"old": world.now - 10_000_000, "gone": world.now})
    world.raw.set(world.keys.report("old"), "before")
    world.run(report_runs(world.keys, "w1", b"r1"))

    found = world.refused(run_reports(world.keys, since_us=world.now - 5_000_000))

    assert found[1:] == ({"w1": b"r1"}, False)


def test_pages_of_reports(world: World) -> None:
    names = [f"w{number:02}" for number in range(REPORTS + 1)]
    world.raw.zadd(world.keys.reports, dict.fromkeys(names, world.now))
    world.raw.mset({world.keys.report(name): name for name in names})

    first = world.refused(run_reports(world.keys, since_us=0))
    second = world.refused(run_reports(world.keys, since_us=0, skip=REPORTS))

    assert (len(first.reports), first.more, second.more) == (REPORTS, True, False)
    assert {**first.reports, **second.reports} == {name: name.encode() for name in names}
