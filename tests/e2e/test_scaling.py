"""Scaling with real processes: from zero to a worker that the endpoint asks for, and back by name, with a drain."""

from __future__ import annotations

import signal
from pathlib import Path

from jobfleet import Fleet, Job
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.scraping import Probed, probe
from tests.support.waiting import wait_until


def test_a_queue_wakes_from_zero_and_a_worker_that_is_named_drains_before_it_goes(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    reaper = programs.reaper(metrics_port=0)
    assert probe(reaper, "/scale/default").status == 404  # no job, no queue

    first = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))
    asked = _await_workers(reaper, 1)
    assert (asked.body["current"], asked.body["waiting"], asked.body["remove"]) == (0, 1, [])
    busy = programs.ready(metrics_port=0)
    settle_all(fleet, [first])

    gate = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "open"),)))
    programs.history.await_start(gate)
    idle = programs.ready()
    names = {one.pid: one.id for one in fleet.workers()}
    wait_until(lambda: _running(fleet) == {names[busy.pid]: 1, names[idle.pid]: 0}, timeout=LONG, why="both have told")
    assert probe(reaper, "/scale/default?most=1").body["remove"] == [names[idle.pid]]
    idle.send(signal.SIGTERM)
    assert idle.exit_code() == 0

    busy.send(signal.SIGTERM)
    busy.await_line("worker.stopping")
    (tmp_path / "open").touch()
    assert busy.exit_code() == 0
    assert settle_all(fleet, [gate])[gate].status.value == "completed"
    assert programs.history.starts()[gate] == 1


def _await_workers(reaper: Program, number: int) -> Probed:
    """Wait until the endpoint asks for so many workers."""
    found: list[Probed] = []

    def asks() -> bool:
        found[:] = [probe(reaper, "/scale/default")]
        return found[0].body.get("workers") == number

    wait_until(asks, timeout=LONG, why=f"it asks for {number}")
    return found[0]


def _running(fleet: Fleet) -> dict[str, int]:
    return {one.id: one.running for one in fleet.workers() if one.state == "running"}
