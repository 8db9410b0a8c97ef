"""Faults of a cluster: slots move, and a node dies. They need no trail: the history and the final state are judged."""

from __future__ import annotations

import time

from tests.support.chaos.fault import fault
from tests.support.chaos.servers import Grid
from tests.support.chaos.stage import Stage
from tests.support.waiting import wait_until

LANE = "{jobfleet:default:0}:lease"


def _grid(stage: Stage) -> Grid:
    if not isinstance(stage.server, Grid):
        raise TypeError("this fault needs a cluster")
    return stage.server


@fault("slot-migration", "the slot of the busiest queue moves to another node, a few keys at a time", server=Grid,
       times=3)  # fmt: skip
def slot_migration(stage: Stage) -> None:
    """Move it while its jobs run."""
    grid = _grid(stage)
    owner = grid.owner(LANE)
    target = stage.dice.choice([node for node in grid.nodes if node is not owner and node.is_primary])
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
    since = time.time() - 1
    before.kill()
    wait_until(lambda: grid.owner(LANE) is not before, timeout=60, why="the replica has taken over")
    stage.windows.append([since, time.time() + 1])
    before.restart()
    wait_until(lambda: not before.is_primary, timeout=60, why="the old primary is a replica")
