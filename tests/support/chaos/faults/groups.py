"""Faults of a Sentinel group: its primary dies, freezes, or is cut off, under jobs of any durability level."""

from __future__ import annotations

import time

from tests.support.chaos.fault import fault
from tests.support.chaos.servers import Group
from tests.support.chaos.stage import Stage
from tests.support.sentinel import SERVICE
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

APART = 3.0
"""Seconds for which writes reach no replica."""


def _group(stage: Stage) -> Group:
    """The group. No fault here may lose a job that a replica has confirmed."""
    if not isinstance(stage.server, Group):
        raise TypeError("this fault needs a Sentinel group")
    stage.facts["keeps"] = ["replicated"]
    return stage.server


def _replicated(stage: Stage) -> None:
    stage.level, stage.confirm = "replicated", 0.3  # so that many calls end while no replica confirms any


@fault("failover", "SIGKILL to the primary of a Sentinel group; it comes back as a replica", server=Group, times=1)
def failover(stage: Stage) -> None:
    """Kill the primary. What had not reached a replica is lost: at most the last moment."""
    group = _group(stage)
    before = group.primary
    since = time.time() - 1
    before.kill()
    group.await_other_primary(before)
    before.restart()
    _reunited(stage, before, since)


def _reunited(stage: Stage, before: RedisServer, since: float) -> None:
    """Wait until the Sentinels have demoted the old primary. What it accepts before is lost."""
    wait_until(lambda: before.role == "slave", timeout=60, why="the old primary follows the new one")
    _group(stage).await_whole()  # on a busy machine, one failover may follow another
    stage.windows.append([since, time.time() + 1])


@fault("failover-lost-writes", "replication breaks for 3 s, then the primary dies: acknowledged writes are lost",
       server=Group, times=1)  # fmt: skip
def failover_lost_writes(stage: Stage) -> None:
    """Cut the replicas off, let the primary go on alone, and kill it."""
    group = _group(stage)
    before = group.primary
    since = time.time()
    for node in group.nodes:
        if node is not before:
            node.client().replicaof("127.0.0.1", "1")
    stage.is_over.wait(APART)
    before.kill()
    group.await_other_primary(before)
    before.restart()
    _reunited(stage, before, since)


@fault("replicated-failover", "the same under jobs with durability='replicated': none that was confirmed is lost",
       server=Group, times=1, prepare=_replicated)  # fmt: skip
def replicated_failover(stage: Stage) -> None:
    """Lose the writes that no replica has."""
    failover_lost_writes(stage)


@fault("freeze-primary", "SIGSTOP to the primary until another one is there, then SIGCONT: two primaries",
       server=Group, times=1)  # fmt: skip
def freeze_primary(stage: Stage) -> None:
    """Two nodes hold themselves for the primary for a while."""
    group = _group(stage)
    before = group.primary
    since = time.time() - 1
    before.pause()
    stage.mend_at_end(before.resume)
    group.await_other_primary(before)
    before.resume()
    _reunited(stage, before, since)


@fault("wake-primary", "SIGSTOP to the primary, and SIGCONT in the moment in which a replica takes over: the other "
       "replica follows the old one still", server=Group, times=1)  # fmt: skip
def wake_primary(stage: Stage) -> None:
    """Wake the old primary while one of its replicas still confirms its writes."""
    group = _group(stage)
    before = group.primary
    since = time.time() - 1
    heirs = [node for node in group.nodes if node is not before]
    before.pause()
    stage.mend_at_end(before.resume)
    wait_until(lambda: any(heir.role == "master" for heir in heirs), timeout=60, why="a replica takes over")
    before.resume()
    group.await_other_primary(before)
    _reunited(stage, before, since)


@fault("planned-failover", "SENTINEL FAILOVER: the chosen replica stops following first", server=Group, times=1)
def planned_failover(stage: Stage) -> None:
    """Let an operator's command promote a replica while the primary works."""
    group = _group(stage)
    before = group.primary
    since = time.time() - 1
    group.sentinels[0].asked("SENTINEL", "FAILOVER", SERVICE)
    group.await_other_primary(before)
    _reunited(stage, before, since)


@fault("replicated-planned", "the same under jobs with durability='replicated': none that was confirmed is lost",
       server=Group, times=1, prepare=_replicated)  # fmt: skip
def replicated_planned(stage: Stage) -> None:
    """Promote a replica."""
    planned_failover(stage)


@fault("replicated-wake", "a frozen primary wakes, under jobs with durability='replicated': none that was confirmed is "
       "lost", server=Group, times=1, prepare=_replicated)  # fmt: skip
def replicated_wake(stage: Stage) -> None:
    """Wake the old primary."""
    wake_primary(stage)


FROM_OTHERS = ("ping", "publish", "psync", "sync", "replconf")
"""What Sentinels and replicas send, and clients of jobfleet do not."""


@fault("partition-primary", "Sentinels and replicas lose the primary, and clients do not: both sides accept writes",
       server=Group, times=1)  # fmt: skip
def partition_primary(stage: Stage) -> None:
    """Let the primary refuse what Sentinels and replicas send, until 3 s after another one was made."""
    group = _group(stage)
    before = group.primary
    raw = before.client()

    def mend() -> None:
        raw.acl_setuser("default", enabled=True, categories=["+@all"])

    since = time.time() - 1
    raw.acl_setuser("default", enabled=True, commands=[f"-{name}" for name in FROM_OTHERS])
    stage.mend_at_end(mend)
    raw.client_kill_filter(_type="replica")
    group.await_other_primary(before)
    stage.is_over.wait(APART)
    mend()
    _reunited(stage, before, since)


@fault("replicated-partition", "the same under jobs with durability='replicated': none that was confirmed is lost",
       server=Group, times=1, prepare=_replicated)  # fmt: skip
def replicated_partition(stage: Stage) -> None:
    """Cut the primary off."""
    partition_primary(stage)
