"""Faults on purpose, for staging: ``--chaos`` makes them in children, and reports how the jobs ended that they hit."""

from __future__ import annotations

import logging
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import drive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.link.watched import script_of

log = logging.getLogger("jobfleet.worker")

KILL = "kill"
CALLS: frozenset[str] = frozenset(("claim", "settle", "keep"))
"""The scripts whose replies may be lost."""
IDS_DUE = 5
"""The place of the ids in the reply to a claim."""
Report = Callable[[str, list[str]], None]


class Chaos:
    """Injects the faults of one child with ``--chaos``: it loses replies of Redis, and kills the process.

    It watches the exchanges of its store. A reply of a claim, a settle or a step is lost after Redis has executed the
    call, as if the connection had broken. A child dies before or after it settles a job. It reports each fault first.

    Args:
        rate: The share of settled jobs whose child is killed, and of calls whose reply is lost.
        seed: Chooses them; with the child's id it gives the same choices again. 0 for others each time.
        child: The id of the child.
        held: Returns the ids of the jobs that the child holds; they die with it.
        report: Called with the kind of each fault, and the ids of its jobs, before it happens.
    """

    def __init__(self, rate: float, seed: int, *, child: str, held: Callable[[], list[str]], report: Report) -> None:
        self._rate = rate
        self._held = held
        self._report = report
        number = child.rpartition(".")[2]
        self._random = random.Random(f"{seed}.{number}" if seed else None)

    def sending(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Kill the child before it settles its jobs."""
        settled = _jobs(commands, "settle")
        if settled and self._random.random() < self._share(len(settled)) / 2:
            self._kill()
        return commands

    def received(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """Kill the child after it has settled its jobs, or lose a reply."""
        settled = _jobs(commands, "settle")
        if settled and self._random.random() < self._share(len(settled)) / 2:
            self._kill()
        for number, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            script = script_of(command)
            if script is None or script.name not in CALLS or isinstance(reply, BaseException):
                continue
            ids = _granted(reply) if script.name == "claim" else _jobs((command,), script.name)
            if ids and self._random.random() < self._rate:
                self._report(script.name, ids)
                error = ConnectionError(f"--chaos has lost the reply to {script.name}")
                return [*replies[:number], *[error] * (len(replies) - number)]  # the connection is gone
        return replies

    def _share(self, jobs: int) -> float:
        """The probability that at least one of several jobs loses its process."""
        return float(1 - (1 - self._rate) ** jobs)

    def _kill(self) -> None:
        self._report(KILL, self._held())
        os.kill(os.getpid(), signal.SIGKILL)


def _jobs(commands: Sequence[Command], name: str) -> list[str]:
    """The ids of the jobs of the calls of a script."""
    ids: dict[str, None] = {}
    for command in commands:
        script = script_of(command)
        if script is None or script.name != name or command[0] == "SCRIPT":
            continue
        keys = command[3 : 3 + int(command[2])]
        for key in keys:
            text = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
            for part in ("}:job:", "}:steps:"):
                _, found, job_id = text.partition(part)
                if found:
                    ids[job_id] = None
    return list(ids)


def _granted(reply: Any) -> list[str]:
    """The ids of the jobs that a claim was granted."""
    if not isinstance(reply, list) or reply[0] not in (b"claimed", b"guarded"):
        return []
    return [raw.decode(errors="replace") for raw in bytes(reply[IDS_DUE]).split()[::2]]


MOST = 10_000
"""The most jobs that are followed; later faults are counted only."""
SHOWN = 3
"""The most ids in the line of a fault."""
UNKNOWN = "(forgotten)"
"""The function of a job whose record is gone."""


class ChaosReport:
    """Collects the faults of a worker's children, and how the jobs ended that they hit; logged when the worker ends.

    Args:
        config: The settings.
        merge: Adds counts to the metrics of the worker.
    """

    def __init__(self, config: JobConfig, merge: Callable[[Iterable[Sequence[Any]]], None]) -> None:
        self._config = config
        self._merge = merge
        self._faults: Counter[str] = Counter()
        self._jobs: dict[str, Counter[str]] = {}
        text = "chaos.on rate=%.3g%% seed=%d this worker kills its children and loses replies on purpose"
        log.warning(text, config.chaos * 100, config.chaos_seed)

    async def heard(self, child: str, reports: AsyncIterator[list[Any]]) -> AsyncIterator[list[Any]]:
        """Take the reports about faults out of the reports of a child; yield the others."""
        async for word, *rest in reports:
            if word == "chaos":
                self.hear(child, *rest)
            else:
                yield [word, *rest]

    def hear(self, child: str, kind: str, ids: Iterable[str]) -> None:
        """Note a fault that a child has reported."""
        jobs = list(ids)
        self._faults[kind] += 1
        self._merge([("chaos_faults_total", (kind,), 1)])
        for job_id in jobs:
            if job_id in self._jobs or len(self._jobs) < MOST:
                self._jobs.setdefault(job_id, Counter())[kind] += 1
        more = f" and {len(jobs) - SHOWN:,} more" if len(jobs) > SHOWN else ""
        log.warning("chaos.%s child=%s jobs=%s%s", kind, child, ",".join(jobs[:SHOWN]), more)

    async def end(self, store: AsyncStore) -> None:
        """Log what was injected and, per function, how its jobs ended."""
        injected = ", ".join(f"{kind} {count}" for kind, count in sorted(self._faults.items())) or "nothing"
        log.warning("chaos.report injected: %s", injected)
        try:
            found = await drive(store, poll_many(FleetContext(self._config), list(self._jobs), has_values=False))
        except JobfleetError as error:
            log.error("chaos.unread %s", error)
            return
        functions: defaultdict[str, list[tuple[Counter[str], JobResult[Any] | None]]] = defaultdict(list)
        for (_, faults), job in zip(self._jobs.items(), found, strict=True):
            functions[(job.function or UNKNOWN) if job is not None else UNKNOWN].append((faults, job))
        for function, rows in sorted(functions.items()):
            log.warning("chaos.report function=%s %s", function, described(rows))


def described(rows: list[tuple[Counter[str], JobResult[Any] | None]]) -> str:
    """Describe the jobs of a function that had faults: the faults, the states of the jobs, and their most attempts."""
    faults: Counter[str] = Counter()
    for one, _ in rows:
        faults.update(one)
    states = Counter(job.status.value for _, job in rows if job is not None)
    attempts = max((job.attempt for _, job in rows if job is not None), default=0)
    parts = [f"jobs={len(rows)}", *(f"{kind}={count}" for kind, count in sorted(faults.items()))]
    parts += [f"{state}={count}" for state, count in sorted(states.items())]
    return " ".join([*parts, f"most_attempts={attempts}"])
