"""Recurring jobs in a fleet whose reaper is missing, comes, or dies."""

from __future__ import annotations

import json
import signal
import threading
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.cron import to_us
from jobfleet.services.duties.cron import starts_of
from jobfleet.store.calls import inspect
from jobfleet.store.calls.cron import marks
from jobfleet.store.calls.presence import kinds
from jobfleet.worker.interruption import Stop
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

APP = """
from jobfleet import JobContext, job

@job(name="app.tick", cron="* * * * * *")
async def tick(ctx: JobContext):
    pass

@job(name="app.other")
async def other():
    pass
"""
QUICK = {"beat": 0.5, "gone_after": 2}


def fires(fleet: Fleet, name: str) -> int:
    """How often an entry has fired."""
    known = [info.name for info in fleet.cron()]
    return len(fleet.cron.history(name, limit=1000)) if name in known else 0


def await_fires(fleet: Fleet, name: str, more: int = 2) -> None:
    before = fires(fleet, name)
    wait_until(lambda: fires(fleet, name) >= before + more, timeout=LONG, why=f"{name} fires")


def roles(fleet: Fleet) -> set[str]:
    """Who fires recurring jobs, by role."""
    return {one.partition(" ")[0] for info in fleet.cron() for one in info.fired_by}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "recurring.py").write_text(APP)
    return tmp_path


def test_a_function_that_recurs_fires_although_only_a_worker_runs(programs: Programs, fleet: Fleet, app: Path) -> None:
    worker = programs.ready("recurring", app_dir=app, **QUICK)

    await_fires(fleet, "app.tick")

    assert roles(fleet) == {"worker"}
    assert worker.said.count("cron.taken") == 1


def test_an_entry_that_is_added_to_a_fleet_of_workers_fires_once_each_time(programs: Programs, fleet: Fleet) -> None:
    workers = [programs.ready(**QUICK) for _ in range(4)]
    fleet.cron.add("nap", "* * * * * *", Job("nap", "hist.nap", (0.0,)))

    await_fires(fleet, "nap", 4)

    history = sorted(fleet.cron.history("nap", limit=1000))
    assert {(later.at - earlier.at).total_seconds() for earlier, later in pairwise(history)} == {1.0}
    fired = [fire.job_id for fire in history if fire.outcome != "skipped"]  # as is what lay before somebody took over
    assert len(set(fired)) == len(fired) >= 1
    assert roles(fleet) == {"worker"}
    assert 1 <= sum(worker.said.count("cron.taken") for worker in workers) <= 2


def test_a_worker_leaves_it_to_a_reaper_that_comes_and_takes_it_when_that_dies(
    programs: Programs, fleet: Fleet, app: Path
) -> None:
    worker = programs.ready("recurring", app_dir=app, **QUICK)
    await_fires(fleet, "app.tick")

    reaper = programs.reaper(**QUICK)
    worker.await_line("cron.left")
    await_fires(fleet, "app.tick")
    assert roles(fleet) == {"reaper"}
    reaper.send_all(signal.SIGKILL)
    worker.await_line("cron.taken", times=2)

    await_fires(fleet, "app.tick")
    assert roles(fleet) == {"worker"}


def test_a_reaper_that_stops_says_so_and_a_worker_that_stops_gives_its_place_away(
    programs: Programs, fleet: Fleet, app: Path
) -> None:
    fleet.cron.add("nap", "0 0 1 1 *", Job("nap", "hist.nap", (0.0,)))
    reaper = programs.reaper()
    wait_until(lambda: roles(fleet) == {"reaper"}, timeout=LONG, why="it has announced itself")
    reaper.send(signal.SIGTERM)
    reaper.exit_code()
    assert roles(fleet) == set()

    worker = programs.ready("recurring", app_dir=app, **QUICK)
    worker.await_line("cron.taken")
    worker.send(signal.SIGTERM)
    worker.exit_code()

    assert roles(fleet) == set()


def test_a_worker_in_the_calling_process_fires_too(redis_url: str) -> None:
    stop = Stop()
    with Fleet(redis_url, beat=0.5, gone_after=2) as fleet:
        fleet.job(name="inside.tick", cron="* * * * * *")(lambda: None)
        thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop})
        thread.start()
        try:
            await_fires(fleet, "inside.tick")
        finally:
            stop.set()
            thread.join()

        assert roles(fleet) == set()


def test_cron_ls_and_doctor_name_who_fires(programs: Programs, fleet: Fleet, app: Path) -> None:
    def seen() -> tuple[str, str]:
        ls, doctor = (programs.start(*command) for command in (("cron", "ls"), ("doctor", "-o", "json")))
        ls.exit_code(), doctor.exit_code()
        (found,) = [one for one in json.loads(doctor.said)["findings"] if one["check"] == "cron"]
        return ls.said.strip().splitlines()[-1], f"{found['level']}: {found['seen']}"

    fleet.cron.add("nap", "0 0 1 1 *", Job("nap", "hist.nap", (0.0,)))
    nobody = "no reaper and no worker has announced itself."
    assert seen() == (
        f"Nothing fires them: {nobody} Start one: 'jobfleet reaper', or 'jobfleet worker MODULE'.",
        f"warning: Nobody fires 1 recurring job: {nobody}",
    )

    worker = programs.ready("recurring", app_dir=app, **QUICK)
    worker.await_line("cron.taken")
    await_fires(fleet, "app.tick")
    (name,) = [one.id for one in fleet.workers()]
    assert seen() == (
        f"Fired by worker {name}, since no reaper is alive.",
        f"ok: 2 recurring jobs are fired by worker {name}, since no reaper is alive.",
    )


STARTING = """
from jobfleet import job

@job(name="app.warm", cron="@startup")
def warm() -> None:
    pass
"""


@pytest.fixture
def starting(tmp_path: Path) -> Path:
    (tmp_path / "starting.py").write_text(STARTING)
    return tmp_path


def starts(fleet: Fleet, *, gone_after: float) -> list[datetime]:
    """When the live workers that know the function have started, by Redis's clock."""
    keys, gone_us = fleet.context.keys, round(gone_after * 1e6)
    seen = fleet.store.run(inspect.fleet(keys, most=0))
    known = starts_of(seen, fleet.store.run(kinds(keys, gone_us=gone_us)), gone_us=gone_us)
    return sorted(known.get("app.warm", ()))


def await_handled(fleet: Fleet, count: int) -> None:
    """Wait until so many workers have started, and whoever fires has decided about the last start."""
    lane = fleet.context.keys.lane("default", 0)

    def is_handled() -> bool:
        found = starts(fleet, gone_after=LONG)
        return len(found) == count and fleet.store.run(marks(lane, ["app.warm"]))[0][0] == to_us(found[-1])

    wait_until(is_handled, timeout=LONG, why=f"{count} starts are handled")


def test_workers_that_start_run_a_startup_job_once(programs: Programs, fleet: Fleet, starting: Path) -> None:
    """Whether a worker or a reaper sees the start.

    All live, and keep the default time until one counts as gone: the reaper announces itself each five seconds, so
    workers that take it for gone after two would fire in between.
    """
    programs.ready("starting", app_dir=starting, beat=0.5)
    wait_until(lambda: fires(fleet, "app.warm") == 1, timeout=LONG, why="the first start fires")
    programs.ready("starting", app_dir=starting, beat=0.5)
    await_handled(fleet, 2)
    programs.start("reaper")
    wait_until(lambda: roles(fleet) == {"reaper"}, timeout=LONG, why="the reaper fires")

    programs.ready("starting", app_dir=starting, beat=0.5)
    await_handled(fleet, 3)

    assert fires(fleet, "app.warm") == 1
    assert [job.status.value for job in fleet.jobs(queue="default").jobs] == ["completed"]


def test_a_start_after_all_workers_are_gone_runs_it_again(programs: Programs, fleet: Fleet, starting: Path) -> None:
    first = programs.ready("starting", app_dir=starting, **QUICK)
    wait_until(lambda: fires(fleet, "app.warm") == 1, timeout=LONG, why="the first start fires")
    first.send_all(signal.SIGKILL)
    wait_until(lambda: not starts(fleet, gone_after=QUICK["gone_after"]), timeout=LONG, why="the worker is gone")

    programs.ready("starting", app_dir=starting, **QUICK)

    wait_until(lambda: fires(fleet, "app.warm") == 2, timeout=LONG, why="the second start fires")
