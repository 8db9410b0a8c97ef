"""Faults of the way between clients and the server."""

from __future__ import annotations

from tests.support.chaos.fault import fault
from tests.support.chaos.stage import LEASE, Stage
from tests.support.proxy import Proxy


def _proxy(stage: Stage) -> Proxy:
    if stage.proxy is None:
        raise TypeError("this fault needs a proxy")
    return stage.proxy


@fault("net-drop", "all connections are closed", proxy=True, times=6)
def net_drop(stage: Stage) -> None:
    """Close them."""
    _proxy(stage).cut()


@fault("net-delay", "everything passes 0.2 s late for 4 s", proxy=True)
def net_delay(stage: Stage) -> None:
    """Delay both directions."""
    _proxy(stage).delay(0.2)
    stage.is_over.wait(4)
    _proxy(stage).pass_all()


@fault("half-open", "all connections go silent without an end; new ones work", proxy=True)
def half_open(stage: Stage) -> None:
    """Forget them, as a firewall does."""
    _proxy(stage).silence()


@fault("swallow-reply", "a script runs, and its reply is lost with the connection", proxy=True, times=25)
def swallow_reply(stage: Stage) -> None:
    """Swallow the next reply to any script, or to a claim: most scripts are others, and a claim may grant jobs."""
    _proxy(stage).swallow(stage.dice.choice(("EVALSHA", ":claim:")))


@fault("one-way-up", "nothing reaches the server for 4 s, its replies pass", proxy=True)
def one_way_up(stage: Stage) -> None:
    """Hold requests back."""
    _held(stage, 4, "up")


@fault("one-way-down", "requests reach the server for 4 s, no reply comes back", proxy=True)
def one_way_down(stage: Stage) -> None:
    """Hold replies back."""
    _held(stage, 4, "down")


@fault("partition", "nothing passes for longer than a lease", proxy=True, times=1)
def partition(stage: Stage) -> None:
    """Hold everything back: requests arrive late, after the end of the leases."""
    _held(stage, LEASE * 1.4, "up", "down")


def _held(stage: Stage, seconds: float, *directions: str) -> None:
    _proxy(stage).hold(*directions)
    stage.is_over.wait(seconds)
    _proxy(stage).pass_all()
