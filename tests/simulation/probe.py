"""Looks at the server of a run, which the ledger never asks: at leases after each script, and at what waits too long.

Waiting is judged only while nothing disturbs the fleet. Another process mends each lost wake-up soon, so the bounds are
those within which nobody else has to help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.store.script import load, names
from tests.simulation.ledger import FINAL, Known, Ledger, number, tag_of, text

if TYPE_CHECKING:
    from tests.simulation.world import World

LEASED, IDLE, LATE_NEWS = 47, 48, 49
LOOK_EVERY_US = 20_000
"""Virtual µs between two looks at what waits."""
CALM_US = 10_000_000
"""For so long after a fault a client may wait for a reply that never comes, or before it tries again."""
TELL_US = 100_000
"""Within this time the process that ended a job notifies the dependants: a stand-in looks on for `relay.WATCHED_FOR`
(0.05 s) and takes a record that stays for a sign that nobody does, and one round trip more may be on its way."""
CLAIM_US = 250_000
"""Within this time an idle child takes a job that was enqueued: the marker ends its wait at once. A tick, every
second, would set a lost marker again."""
DUE_US = 1_500_000
"""Within this time an idle child takes a job that has become due: a child waits only up to the next due time that it
knows, and for jobs that came later there is the tick, every second."""
GATED = ("limited", "broken")
"""Functions whose jobs also wait for a named limit or a circuit breaker."""
WRITERS = frozenset(name for name in names() if not load(name).read_only) - {"tick", "beat"}
"""Scripts after which leases are looked at. `tick` only returns what has expired."""


class Probe:
    """Looks at one run.

    Args:
        ledger: What is known of its jobs.

    Attributes:
        looks: How often something that waited was judged in calm.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._world: World | None = None
        self._touched: dict[str, None] = {}
        self._pending: dict[str, dict[str, int]] = {}
        self._idle: dict[str, int] = {}
        self._looked_us = self._disturbed_us = self._died_us = 0
        self._before = (0, 0)
        self._gated: set[str] = set()
        self.looks = 0

    def begin(self, world: World) -> None:
        """A run begins."""
        self._world = world
        steps = [one for step in world.plan.steps for one in (step.args, *step.args.get("jobs", ()))]
        self._gated = {one["id"] for one in steps if one.get("function") in GATED}

    def ends(self) -> None:
        """What is watched is over."""
        self._world = None

    def disturb(self, at_us: int) -> None:
        """A fault has come."""
        self._disturbed_us = max(self._disturbed_us, at_us)

    def saw(self, script: str, keys: Sequence[Any], args: Sequence[Any], reply: Any) -> None:
        """Take a script into account."""
        if script in WRITERS and any(text(key).endswith((":lease", ":runs")) for key in keys):
            self._touched[tag_of(text(keys[0]))] = None
        if script == "settle" and isinstance(reply, list) and text(reply[0]) == "settled" and number(reply[2]):
            self._pending.setdefault(text(args[0]), {})

    def after(self, us: int) -> None:
        """Look, after an exchange."""
        if self._world is None:
            return
        if self._touched:
            for tag in self._touched:
                self._look_at_leases(tag)
            self._touched.clear()
        if us - self._looked_us >= LOOK_EVERY_US:
            self._looked_us = us
            self._look_at_disturbances(us)
            self._look_at_idle(us)
        if self._pending:
            self._look_at_pending(us)

    # Leases

    def _look_at_leases(self, tag: str) -> None:
        """Each job with a run has a lease, and is known to run, under that token; no other job has either."""
        assert self._world is not None
        leases, runs = self._world.server.ask([("ZRANGE", tag + "lease", 0, -1), ("HGETALL", tag + "runs")])
        leased = set(map(text, leases))
        owned = {text(job_id): text(run).partition("|")[0] for job_id, run in zip(runs[::2], runs[1::2], strict=True)}
        for job_id in sorted(leased ^ owned.keys()):
            has, lacks = ("a lease", "run") if job_id in leased else ("a run", "lease")
            self._breach(LEASED, f"{job_id} has {has} and no {lacks}, and {self._state(job_id)}")
        for job_id, token in owned.items():
            job = self._ledger.jobs.get(job_id)
            if job is not None and job.is_sure and str(job.token) != token:
                self._breach(LEASED, f"{job_id} has a run under {token}, and {self._state(job_id)} under {job.token}")
        for job in self._ledger.jobs.values():
            if job.lane == tag and job.is_sure and job.token and job.id not in owned:
                self._breach(LEASED, f"{job.id} runs under {job.token}, and has no run")

    def _state(self, job_id: str) -> str:
        job = self._ledger.jobs.get(job_id)
        return (
            "is unknown" if job is None else f"is {job.state}" if job.state not in FINAL else f"has ended: {job.state}"
        )

    # Waiting

    def _has_ended_by_a_child(self, job_id: str) -> bool:
        job = self._ledger.jobs.get(job_id)
        return job is not None and job.is_sure and job.by == "child"

    def _look_at_disturbances(self, us: int) -> None:
        """Note whether anything disturbs the fleet now, or has since the last look."""
        assert self._world is not None
        network, server, loop = self._world.network, self._world.server, self._world.loop
        everyone = loop.processes.values()
        before, self._before = (
            self._before,
            (sum(one.count for one in network.armed), sum(not one.is_dead for one in everyone)),
        )
        if before[1] != self._before[1]:
            self._died_us = us
        if (
            before[0] != self._before[0]
            or network.cut
            or any(most for _, most in network.delays.values())
            or not network.is_up
            or server.refusal
            or not server.has_memory
            or network.has_stuck()
            or any(one.is_frozen and not one.is_dead for one in everyone)
        ):
            self._disturbed_us = us

    def _is_calm(self, since: int) -> bool:
        """Whether no process has come or gone since a time, and nothing else has disturbed the fleet for some time."""
        is_calm = self._disturbed_us + CALM_US < since and self._died_us < since
        self.looks += is_calm
        return is_calm

    def _look_at_pending(self, us: int) -> None:
        """Endings whose dependants are not notified."""
        assert self._world is not None
        for tag, seen in list(self._pending.items()):
            (rows,) = self._world.server.ask([("XRANGE", tag + "outbox", "-", "+", "COUNT", 100)])
            ended = [text(fields[1]) for _, fields in rows]
            begun = {name: seen.get(name, us) for name in ended if self._has_ended_by_a_child(name)}
            if not begun:
                del self._pending[tag]
                continue
            self._pending[tag] = begun
            for name, since in begun.items():
                if us - since > TELL_US and self._is_calm(since):
                    waited = (us - since) / 1e6
                    self._breach(LATE_NEWS, f"the dependants of {name} were not notified for {waited:.2f} s")
                    begun[name] = us + 10**15

    def _look_at_idle(self, us: int) -> None:
        """Jobs that could run, while a child waits for one on their lane."""
        assert self._world is not None
        listened = {tag_of(key) for keys in self._world.network.blocked() for key in keys}
        ready = {job.id: job for job in self._ledger.jobs.values() if job.lane in listened and self._is_ready(job)}
        self._idle = {name: since for name, since in self._idle.items() if name in ready}
        for name, job in ready.items():
            since = self._idle.setdefault(name, us)
            most = CLAIM_US if job.state == "queued" and not job.due else DUE_US
            if us - since > most and self._is_calm(since):
                waited = (us - since) / 1e6
                self._breach(IDLE, f"{name} was {job.state} for {waited:.2f} s while a child waited on its lane")
                self._idle[name] = us + 10**15

    def _is_ready(self, job: Known) -> bool:
        assert self._world is not None
        return (
            job.is_sure
            and job.state in {"queued", "scheduled", "retrying"}
            and job.due <= self._world.server.us()
            and not job.group
            and job.id.rpartition(".")[2] not in self._gated
            and not self._ledger.is_hindered(job.lane)
        )

    def _breach(self, invariant: int, what: str) -> None:
        self._ledger.breach(invariant, what)
