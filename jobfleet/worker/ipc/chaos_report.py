"""The faults of a worker with ``--chaos``, and how the jobs ended that they hit; logged when the worker ends."""

from __future__ import annotations

import logging
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

log = logging.getLogger("jobfleet.worker")
MOST = 10_000
"""The most jobs that are followed; later faults are counted only."""
SHOWN = 3
"""The most ids in the line of a fault."""
UNKNOWN = "(forgotten)"
"""The function of a job whose record is gone."""


class ChaosReport:
    """Collects the faults of a worker's children.

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
