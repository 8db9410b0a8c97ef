"""Backfill: planned times of the past as a flow, and runs by hand for a time; with a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet import Cron, Fleet, InvalidJob, Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.operations.backfill import MOST, Backfill
from tests.support.each import each

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
MARCH = tuple(map(datetime.fromisoformat, ("2026-03-28", "2026-03-31")))
"""In the time zone of the entry, whose clocks go forward on the 29th."""
Rows = list[tuple[str | None, int, int]]


@pytest.fixture
def ran() -> Rows:
    """The runs: the nominal time, and how many ran then, begun and at once at most."""
    return []


@pytest.fixture
def fleet(redis_url: str, ran: Rows) -> Iterator[Fleet]:
    registry = Registry()
    running: set[str] = set()

    def report(ctx: JobContext) -> None:
        running.add(ctx.job_id)
        ran.append((ctx.nominal_time.isoformat() if ctx.nominal_time else None, len(ran), len(running)))
        running.discard(ctx.job_id)
        if len(ran) == 2:
            raise ValueError("the second one fails")

    registry.register(report, name="app.report", max_retries=0)
    with Fleet(redis_url, registry=registry) as fleet:
        fleet.cron.add("nightly", Cron("30 2 * * *", "Europe/Berlin"), Job("report", "app.report"))
        yield fleet


def times(found: Backfill) -> list[tuple[str, str, str]]:
    return [(one.at.isoformat(), one.note, one.status) for one in found.times]


def test_a_dry_run_shows_the_times_and_the_flow_runs_each_once_oldest_first(fleet: Fleet, ran: Rows) -> None:
    wanted = [
        ("2026-03-28T01:30:00+00:00", "", ""),
        ("2026-03-29T01:00:00+00:00", "2026-03-29 02:30 does not exist in Europe/Berlin: fires 03:00", ""),
        ("2026-03-30T00:30:00+00:00", "", ""),
    ]
    looked = fleet.cron.backfill("nightly", *MARCH, dry_run=True, by="ann")
    assert (times(looked), looked.flow, looked.is_new) == (wanted, None, False)
    assert (fleet.jobs().jobs, [one.action for one in fleet.audit().entries]) == ([], ["cron.add"])

    made = fleet.cron.backfill("nightly", *MARCH, max_parallel=1, by="ann")
    again = fleet.cron.backfill("nightly", *MARCH, by="ann")
    assert (times(made), made.is_new, made.flow == again.flow, again.is_new) == (wanted, True, True, False)
    fleet.run_worker(burst=True, with_reaper=True)

    assert ran == [(one.nominal.isoformat(), place, 1) for place, one in enumerate(looked.times)]
    flow = fleet.flows.get(str(made.flow))
    assert [(job.id, job.label, job.status, job.parents) for job in flow.jobs] == [
        (made.times[0].job_id, "2026-03-28 02:30", "completed", ()),
        (made.times[1].job_id, "2026-03-29 03:00", "failed", (0,)),
        (made.times[2].job_id, "2026-03-30 02:30", "completed", (1,)),  # though the one before has failed
    ]
    later = fleet.cron.backfill("nightly", MARCH[0], MARCH[1] + timedelta(days=1), by="bob")
    assert [one.status for one in later.times] == ["completed", "failed", "completed", ""]
    assert [job.id for job in fleet.flows.get(str(later.flow)).jobs] == [later.times[3].job_id]
    done = [one for one in fleet.audit().entries if one.action == "cron.backfill"]
    assert [(one.target, one.by, one.outcome, one.after.get("jobs")) for one in reversed(done)] == [
        ("nightly", "ann", "done", 3), ("nightly", "ann", "unchanged", None), ("nightly", "bob", "done", 1),
    ]  # fmt: skip


def test_a_run_by_hand_is_for_now_or_for_a_time_in_the_zone_of_the_entry(fleet: Fleet, ran: Rows) -> None:
    before = datetime.now(UTC)
    fleet.cron.run("nightly")
    fleet.run_worker(burst=True)
    fleet.cron.run("nightly", nominal=datetime.fromisoformat("2026-03-30T02:30"))
    fleet.run_worker(burst=True)
    fleet.cron.run("nightly", nominal=datetime(2026, 3, 30, 2, 30, tzinfo=UTC))
    fleet.run_worker(burst=True)

    now, *given = [at for at, _, _ in ran]
    assert abs(datetime.fromisoformat(str(now)) - before) < timedelta(minutes=1)
    assert given == ["2026-03-30T00:30:00+00:00", "2026-03-30T02:30:00+00:00"]


DAY = datetime(2026, 3, 1, tzinfo=UTC)


@each(
    "name, since, until, more, error",
    [
        ("nightly", DAY, DAY, {}, "not after since"),
        ("nightly", DAY, datetime(2200, 1, 1, tzinfo=UTC), {}, "lies ahead; give a time up to now"),
        ("nightly", "2026-03-01", DAY, {}, "since is '2026-03-01'; give a datetime"),
        ("nightly", DAY, DAY + timedelta(days=1), {"max_parallel": 0}, "give a whole number from 1"),
        ("often", DAY, DAY + timedelta(days=1), {}, f"more than {MOST:,} planned times.*2026-03-01T16:40:00"),
        ("warm", DAY, DAY + timedelta(days=1), {}, "has no planned times"),
        ("single", DAY, DAY + timedelta(days=1), {}, "unique key.*jobfleet cron run single --for TIME"),
    ],
)
def test_what_cannot_be_filled_is_refused_with_a_remedy(
    fleet: Fleet, name: str, since: datetime, until: datetime, more: dict[str, Any], error: str
) -> None:
    fleet.cron.add("often", "* * * * *", Job("report", "app.report"), replace=True)
    fleet.cron.add("warm", "@startup", Job("report", "app.report"), replace=True)
    fleet.cron.add("single", "@daily", Job("report", "app.report", unique="one"), replace=True)

    with pytest.raises(InvalidJob, match=error):
        fleet.cron.backfill(name, since, until, **more)
    assert fleet.jobs().jobs == []


def test_the_jobs_of_an_entry_that_must_not_overlap_run_one_by_one(fleet: Fleet) -> None:
    fleet.cron.add("skips", Cron("@hourly", overlap="skip"), Job("report", "app.report"))

    found = fleet.cron.backfill("skips", DAY, DAY + timedelta(hours=3))

    assert found.max_parallel == 1
    assert [job.parents for job in fleet.flows.get(str(found.flow)).jobs] == [(), (0,), (1,)]
    assert fleet.cron.backfill("nightly", DAY, DAY + timedelta(days=2), dry_run=True).max_parallel is None
