"""Faults of a cluster: slots move, and a node dies. They need no trail: the history and the final state are judged."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from jobfleet import Fleet, Job, StoreUnavailable
from jobfleet.model.option_types import Durability
from tests.support.chaos.fault import fault
from tests.support.chaos.history import Recorder
from tests.support.chaos.producer import SIDE
from tests.support.chaos.servers import Grid
from tests.support.chaos.stage import MILLION, Stage
from tests.support.waiting import wait_until

LANE = "{jobfleet:default:0}:lease"
EVERY = 0.05
"""Seconds between two enqueues of a beat."""
AFTER = 1.0
"""Seconds for which beats go on after the fault."""
_first = itertools.count(900 * MILLION, MILLION)
"""The number of the first call of each beat: no producer has it."""


def _grid(stage: Stage) -> Grid:
    if not isinstance(stage.server, Grid):
        raise TypeError("this fault needs a cluster")
    return stage.server


@contextmanager
def beating(stage: Stage) -> Iterator[None]:
    """Enqueue into each queue all the time, so that the history shows how long each was away."""
    ends = threading.Event()
    beats = [threading.Thread(target=_beat, args=(stage, queue, ends)) for queue in ("default", SIDE)]
    for beat in beats:
        beat.start()
    try:
        yield
        stage.is_over.wait(AFTER)
    finally:
        ends.set()
        for beat in beats:
            beat.join()


def _beat(stage: Stage, queue: str, ends: threading.Event) -> None:
    call = next(_first)
    recorder = Recorder(stage.folder, f"beat-{queue}-{call}")
    with Fleet(stage.url, patience=60, durability=cast(Durability, stage.level)) as fleet:
        while not ends.wait(EVERY):
            call += 1
            job = Job("beat", "chaos.work", (call, 0.0), queue=queue)
            job_id = f"{queue}.0.{job.suffix}"
            recorder.note("invoke", "enqueue", job_id, call=call, function=job.function)
            try:
                recorder.note("ok", "enqueue", job_id, answer=str(fleet.enqueue(job)))
            except StoreUnavailable as error:
                recorder.note("unknown", "enqueue", job_id, error=type(error).__name__)
    recorder.close()


@fault("slot-migration", "the slot of the busiest queue moves to another node, a few keys at a time", server=Grid,
       times=3)  # fmt: skip
def slot_migration(stage: Stage) -> None:
    """Move it while its jobs run."""
    grid = _grid(stage)
    owner = grid.owner(LANE)
    target = stage.dice.choice([node for node in grid.nodes if node is not owner and node.is_primary])
    with beating(stage):
        migration = grid.migration(LANE, target).begin()
        while migration.move(20):
            stage.is_over.wait(0.05)
        migration.end()


@fault("kill-node", "SIGKILL to the primary of the busiest queue; its replica takes over", server=Grid, times=1)
def kill_node(stage: Stage) -> None:
    """Kill it. What had not reached the replica is lost: at most the last moment."""
    grid = _grid(stage)
    stage.facts["keeps"] = ["replicated"]
    before = grid.owner(LANE)
    with beating(stage):
        since = time.time() - 1
        before.kill()
        wait_until(lambda: grid.owner(LANE) is not before, timeout=60, why="the replica has taken over")
    stage.windows.append([since, time.time() + 1])
    before.restart()
    wait_until(lambda: not before.is_primary, timeout=60, why="the old primary is a replica")
