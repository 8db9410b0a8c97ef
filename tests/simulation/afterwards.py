"""What is asked of a run when all is quiet: why its open jobs wait, and what is left once all retentions are over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.errors import StoreUnavailable
from tests.simulation.ledger import FINAL, Known, Ledger, text
from tests.simulation.server import PREFIX
from tests.support.state import exact

if TYPE_CHECKING:
    from tests.simulation.world import World

EXPLAINED = 50
AFTER = 0.5
"""Seconds after the end of all faults."""
DAY_US = 86_400_000_000
JUMPS = 2
"""How often time passes: what ends may leave something with a retention of its own."""
AGE_US = 100 * DAY_US
"""Longer than every retention."""
TURNS = 70.0
"""Virtual seconds between two jumps: a turn of the duty `retention`, which has one a minute."""
SHARE = 5
"""Of so many seeds, one is run on until the retentions are over."""
STAYS: tuple[tuple[str, str], ...] = (
    (r"\{sim\}:(queues|functions|gates|gate:limit:.*)", "a queue, a function, a limit that somebody has defined"),
    (r"\{sim\}:payload-store", "which payload store is the fleet's"),
    (r"\{sim\}:(audit|dead-groups|flows|rescues)", "a list of bounded length: `audit_max`, the last 1,000"),
    (r"\{sim\}:workers", "workers that have died, until the next one beats"),
    (r".*:(lane|totals|conf|filing)", "a few fields per lane: its clock and tokens, counts, settings, a mark"),
    (r".*:(done|dlq|outbox)", "a stream without entries, whose last number must not be given again"),
)
"""Keys that stay for good, as patterns, each with the reason."""
HELD = {"limit-closed", "limit-full", "limit-rate", "breaker-open", "gate-unreadable", "suspect", "parked"}
LATER = {"scheduled": {"scheduled", *HELD}, "retrying": {"retrying", *HELD}}
ANY = {
    "paused", "paused-function", "group-paused", "group-full", "group-rate", "queue-full", "queue-rate", "elsewhere",
    "unserved", "quiet", "unknown-function", "newer-schema", "hung", "busy", "behind", "next", "expiring", *HELD,
}  # fmt: skip
PERMITTED = {
    "blocked": {"blocked", "sequence"},
    "sleeping": {"sleeping", "awaiting-signal"},
    "running": {"running", "lock", "blocking", "suspect", "cancelling", "worker-gone", "lease-expired"},
}
"""The codes of which the first reason of a job must be one, by its state; see `right_codes`."""


class Afterwards:
    """Asks about one run.

    Args:
        ledger: What is known of its jobs.

    Attributes:
        asked: How many jobs `explain` was asked about.
        left: What is left after the retentions; None if that was not tried.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._right: dict[str, set[str]] = {}
        self.asked = 0
        self.left: dict[str, Any] | None = None

    def begin(self, world: World) -> None:
        """Ask about all open jobs as soon as the faults are over."""
        world.loop.call_at(world.plan.ends_us / 1e6 + AFTER, self._begin, world)

    def _begin(self, world: World) -> None:
        client = world.client("operator")
        self._task = world.loop.create_task(self._ask(client.fleet), context=world.mains["operator"].context.copy())

    async def _ask(self, fleet: Any) -> None:
        for job in list(self._ledger.jobs.values()):
            if job.state not in FINAL and job.is_sure:
                self._right.pop(job.id, None)
                try:
                    found = await fleet.explain(job.id)
                except StoreUnavailable:
                    continue
                right, codes = self._right.get(job.id), [reason.code.value for reason in found.reasons]
                if right is None:
                    continue
                self.asked += 1
                if not codes or codes[0] not in right:
                    wanted = ", ".join(sorted(right))
                    self._ledger.breach(EXPLAINED, f"{job.id} is explained by {codes}, and not by one of {wanted}")

    def saw(self, script: str, args: Sequence[Any], now: int) -> None:
        """Note what is right at the moment when `explain` reads a job."""
        job = self._ledger.jobs.get(text(args[1])) if script == "explain" else None
        if job is not None and job.is_sure:  # a failover after the question may have lost what is known of it
            self._right[job.id] = right_codes(job, now, is_paused=self._ledger.is_paused(job.lane))

    async def age(self, world: World) -> None:
        """Stop the workers, let all retentions pass, and note what is left."""
        for name, process in world.mains.items():
            if name.startswith("worker"):
                process.signal(15)
        await asyncio.sleep(20.0)
        for _ in range(JUMPS):
            world.server.ahead_us += AGE_US
            for process in world.loop.processes.values():
                process.machine.ahead_us = world.server.ahead_us
            await asyncio.sleep(TURNS)
        for process in list(world.loop.processes.values()):
            process.signal(15)
        await asyncio.sleep(20.0)
        world.server.ahead_us += AGE_US
        world.server.execute([("TIME",), ("EXISTS", "x")])
        client: Any = world.server.raw_client()
        self.left = {name: value for name, value in exact(client).items() if not name.startswith(PREFIX)}


def right_codes(job: Known, now: int, *, is_paused: bool) -> set[str]:
    """The codes of which the first reason of a job must be one."""
    if job.state in FINAL:
        return {job.state, "moved", "undoing"}
    if job.is_cancelling and job.state == "running":
        return PERMITTED["running"]
    if job.state in PERMITTED and (job.state != "sleeping" or job.due > now):
        return PERMITTED[job.state]
    if job.due > now:
        return LATER.get(job.state, LATER["scheduled"] | ANY)
    if is_paused and not job.group:
        return {"paused"} | HELD
    return (ANY if is_paused else ANY - {"paused"}) | ({"sequence"} if job.place is not None else set())


def not_gone(left: Mapping[str, Any]) -> Iterator[str]:
    """What is left after all retentions, and has no reason to be."""
    for key, value in sorted(left.items()):
        is_list = key.endswith((":done", ":dlq", ":outbox"))
        if (is_list and value) or not any(re.fullmatch(pattern, key) for pattern, _ in STAYS):
            yield f"{key} is left after all retentions: {str(value)[:120]}"
