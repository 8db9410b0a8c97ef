"""A fleet's main work on each server and topology. `scripts/test --on NAME` runs whole suites there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Flow, Job, JobStatus
from jobfleet.operations.doctor.findings import Level
from tests.support import topologies
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.server import RedisServer
from tests.support.tools import tool

ELSEWHERE = [
    pytest.param(name, marks=tool(topologies.tool_of(name)) if topologies.tool_of(name) else ())
    for name in topologies.TOPOLOGIES
    if name != "here"
]


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A server of one topology, for this test alone."""
    for variable, value in topologies.variables(request.param).items():
        monkeypatch.setenv(variable, value)
    with topologies.started(request.param) as server:
        yield server


@pytest.fixture
def there(elsewhere: RedisServer, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(elsewhere.url, tmp_path)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


@pytest.mark.first(3)
def test_a_fleet_does_its_work(there: Programs, tmp_path: Path) -> None:
    flow = Flow("line")
    flow.chain(*[Job(f"part {number}", "hist.rest", (0.0,)) for number in range(3)])

    there.ready("histories", "recurring", with_reaper=True)
    with Fleet(there.url) as fleet:
        many = [receipt.id for receipt in fleet.enqueue_many(Job("many", "hist.nap", (0.0,)) for _ in range(500))]
        stuck = fleet.enqueue(Job("stuck", "hist.gate", (str(tmp_path / "never"),)))
        line = fleet.flows.enqueue(flow)
        fleet.wait(many[-1], timeout=LONG)
        there.history.await_start(stuck)
        was_running = fleet.cancel(stuck, by="ann")

        assert fleet.wait(stuck, timeout=LONG).status is JobStatus.CANCELLED
        assert was_running
        assert {result.status for result in settle_all(fleet, many).values()} == {JobStatus.COMPLETED}
        assert fleet.flows.wait(line.id, timeout=LONG).status == "completed"
        said = fleet.enqueue(Job("say", "hist.say", (50,)))
        assert [chunk.value for chunk in fleet.stream(said)] == list(range(50))
        asked = fleet.enqueue(Job("ask", "hist.ask"))
        assert fleet.signal(asked, "answer", 42)
        assert fleet.wait(asked, timeout=LONG).result == 42
        # The servers of tests take writes without replicas, and doctor must say so where a replica may take over.
        faults = [one.check for one in fleet.doctor().findings if one.level is Level.FAULT]
        assert faults == (["replicas"] if fleet.config.fails_over else [])
