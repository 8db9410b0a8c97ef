"""Each row of the poison table, and what must go on behind it. The table is data: `tests/support/poisons.py`."""

from __future__ import annotations

import time

import pytest

from jobfleet import JobStatus, Priority
from jobfleet.operations.doctor.findings import Level
from tests.poisons.conftest import WAITS, Scene, Working
from tests.support.poisons import POISONS, Poison

each_poison = pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def test_the_table_has_sixty_rows_and_none_twice() -> None:
    assert len({poison.name for poison in POISONS}) == len(POISONS) >= 60


@each_poison
def test_every_honest_job_completes(poison: Poison, scene: Scene, working: Working) -> None:
    scene.seed()
    scene.poison(poison)
    after = [
        scene.enqueue("after"),
        scene.enqueue("urgent", priority=Priority.CRITICAL),
        scene.enqueue("grouped", group="acme"),
        scene.enqueue("unique", unique="only"),
    ]
    honest = [*scene.honest, *after] if poison.spares else [scene.runs, *after]
    wanted = dict.fromkeys(honest, "completed")
    if poison.victim:
        name, _, how = poison.victim.rpartition(":")
        wanted[scene.runs if name == "runs" else scene.victim] = how

    deadline = time.monotonic() + WAITS
    with working(scene.fleet):
        while (found := scene.ends(honest)) != wanted and len(found) < len(wanted) and time.monotonic() < deadline:
            scene.look()

    assert found == wanted


@each_poison
def test_every_command_answers(poison: Poison, scene: Scene) -> None:
    scene.seed()
    scene.poison(poison)
    told = "\n".join(f"{one.seen}" for one in scene.fleet.doctor().findings if one.level is not Level.OK)
    assert poison.told in told

    scene.poison(poison)
    listed = {row.id for row in scene.fleet.jobs(limit=100).jobs}
    is_known = any(queue.name == "default" for queue in scene.fleet.queues())
    assert not (poison.spares and is_known) or {scene.later, scene.victim} <= listed

    scene.poison(poison)
    scene.fleet.dead()
    scene.fleet.workers()

    scene.poison(poison)
    assert scene.fleet.poll(scene.enqueue("after")).status.is_waiting

    scene.poison(poison)
    if poison.spares:
        scene.fleet.cancel(scene.later)
        assert scene.fleet.poll(scene.later).status is JobStatus.CANCELLED
