"""What workers report of their processes: memory, processor time, slots and state, also of a child that hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.operations.workers import WorkerInfo
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fresh  # an executed child has memory of its own

MIB = 1024**2
APP = """
from pathlib import Path
from jobfleet import job

@job(name="app.spin")
async def spin(path: str) -> None:
    while not Path(path).exists():
        pass
"""


def test_each_child_is_shown_with_what_it_uses(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    worker = programs.ready("app", app_dir=tmp_path, processes=2, slots=4, beat=0.2, hang_after=0.5)
    children = worker.await_children(2)

    def seen() -> WorkerInfo | None:
        (info,) = fleet.workers()
        known = [one for one in info.processes if one.memory and one.cpu is not None and one.state == "running"]
        return info if len(known) == 2 and info.cpu is not None else None

    before = wait_until(seen, timeout=LONG, why="both children report")
    assert before is not None
    assert {one.pid for one in before.processes} == set(children)
    assert {one.id.rpartition(".")[0] for one in before.processes} == {before.id}
    assert [(one.state, one.slots, one.busy) for one in before.processes] == 2 * [("running", 4, 0.0)]
    assert before.memory is not None
    assert 20 * MIB < sum(one.memory or 0 for one in before.processes) < before.memory < 2048 * MIB

    fleet.enqueue(Job("spin", "app.spin", (str(tmp_path / "gate"),)))

    def hangs() -> WorkerInfo | None:
        (info,) = fleet.workers()
        found = [one for one in info.processes if one.state == "hung" and (one.cpu or 0) > 0.05]
        return info if found else None

    after = wait_until(hangs, timeout=LONG, why="one child takes processor time, and hangs")
    assert after is not None
    (tmp_path / "gate").touch()
    (hung,) = [one for one in after.processes if one.state == "hung"]
    assert hung.memory is not None
    assert (after.cpu or 0) >= (hung.cpu or 0)
