"""Faults that choose others: a mixture of all that one server survives, and random SIGKILLs."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.chaos.fault import fault
from tests.support.chaos.faults import networks, processes, servers
from tests.support.chaos.stage import Stage

MIXTURE: tuple[Callable[[Stage], None], ...] = (
    processes.kill_child, processes.kill_child, processes.freeze_child, processes.kill_worker, processes.kill_reaper,
    processes.kill_supervisor, processes.stop_worker, processes.freeze_briefly, processes.kill_producer,
    servers.kill_redis, servers.freeze_redis, servers.script_flush, servers.client_kill, networks.net_drop,
    networks.swallow_reply, networks.half_open,
)  # fmt: skip
KILLS: tuple[Callable[[Stage], None], ...] = (
    processes.kill_producer, processes.kill_child, processes.kill_child, processes.kill_child,
    processes.kill_supervisor, processes.kill_worker, processes.kill_reaper, servers.kill_redis,
)  # fmt: skip


def _one_of(stage: Stage, acts: tuple[Callable[[Stage], None], ...]) -> None:
    act = stage.dice.choice(acts)
    stage.nemesis.note("info", act.__name__)
    act(stage)


@fault("mixed", "a random mixture of the faults that one server survives", proxy=True, times=4)
def mixed(stage: Stage) -> None:
    """Inject one of them."""
    _one_of(stage, MIXTURE)


def _many_slots(stage: Stage) -> None:
    stage.settings["slots"] = 40


@fault("kills", "SIGKILL to a random producer, child, supervisor, worker, reaper, or to Redis", times=8,
       prepare=_many_slots)  # fmt: skip
def kills(stage: Stage) -> None:
    """Kill one of them."""
    _one_of(stage, KILLS)
