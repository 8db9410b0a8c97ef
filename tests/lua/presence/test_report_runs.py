from __future__ import annotations

from jobfleet.store.calls.presence import report_runs
from tests.lua.world import World


def test_a_report_replaces_the_one_before(world: World) -> None:
    world.run(report_runs(world.keys, "w1", b"first", ttl_ms=1_000_000))

    world.run(report_runs(world.keys, "w1", b"second", ttl_ms=1_000_000))

    assert world.state() == {"reports": {"w1": "now"}, "report:w1": ("second", 1000)}


def test_workers_whose_reports_have_ended_are_deleted(world: World) -> None:
    world.raw.zadd(world.keys.reports, {"old": world.now - 2_000_000_000, "w1": world.now})

    world.run(report_runs(world.keys, "w2", b"r", ttl_ms=1_000_000))

    assert world.state()["reports"] == {"w1": "now", "w2": "now"}
