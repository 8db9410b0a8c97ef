"""A worker that is put to the test: bad jobs beside good ones, and what has to be as before when they are over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from jobfleet import Fleet, Job, JobResult, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.footprint import Footprint, footprint
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
SLOTS = 8
NEIGHBOURS = (("hist.nap", 0.5), ("hist.rest", 0.5), ("hist.nap", 0.6), ("hist.rest", 0.6))
PASSING = 2
"""Isolated processes that may come or go while they are counted."""
CONNECTIONS = 2
"""How many more connections to Redis a process may need at once than before; its pool closes those left idle."""

LINES = 3
"""Descriptors that a child holds of an isolated process."""


class Trial:
    """A server with one worker of one child.

    Args:
        folder: Where logs and the history go.
        modules: What the worker loads.
        warm: Further functions, with an argument, whose threads or processes are kept for the next run.
        settings: Of the worker.

    Attributes:
        is_calm: Whether all was well when it was looked at last, and nothing was tried since.
    """

    def __init__(
        self, folder: Path, *modules: str, warm: Sequence[tuple[str, object]] = (), **settings: object
    ) -> None:
        self.server = RedisServer()
        self.programs = Programs(self.server.url, folder)
        self.fleet = Fleet(self.server.url)
        self._warm = warm
        chosen: Mapping[str, object] = {"slots": SLOTS, "lease": 600, "grace": 1, **settings}
        self.worker = self.programs.ready(*modules, **chosen)
        self._before = self.footprints()
        self._spares = self._strangers()
        self.is_calm = True

    def enqueue(self, function: str, *args: object, **options: object) -> str:
        """Enqueue a job."""
        return self.fleet.enqueue(Job(function, function, args, **options))  # type: ignore[arg-type]  # checked by Job

    def run(self, function: str, *args: object, **options: object) -> JobResult[object]:
        """Run a job to its end."""
        return self.fleet.wait(self.enqueue(function, *args, **options), timeout=LONG)

    @contextmanager
    def neighbours(self, *, runs: int = 1) -> Iterator[None]:
        """Good jobs that run while the block does: they end as if nothing were, charged nothing.

        Args:
            runs: How often each may be started at most: more than once where their process dies.
        """
        self.is_calm = False
        ids = [self.enqueue(function, seconds, max_retries=0) for function, seconds in NEIGHBOURS]
        for job_id in ids:
            self.programs.history.await_start(job_id)
        yield
        results = settle_all(self.fleet, ids)
        starts = self.programs.history.starts()
        for job_id, result in results.items():
            assert (result.status, result.retry_count) == (JobStatus.COMPLETED, 0), result
            assert starts[job_id] <= runs, f"{job_id} was started {starts[job_id]} times"
            assert result.result == result.fence == self.programs.history.fences(job_id)[-1]

    def footprints(self) -> list[Footprint]:
        """What the supervisor and its child take, once each thread and connection was needed."""
        ids = [self.enqueue(function, 0.1) for function in ("hist.rest", "hist.nap") for _ in range(2 * SLOTS)]
        ids += [self.enqueue("hist.chatty", 5) for _ in range(SLOTS)]
        ids += [self.enqueue(function, argument) for function, argument in self._warm for _ in range(SLOTS)]
        settle_all(self.fleet, ids)
        return [footprint(pid) for pid in (self.worker.pid, *self.worker.children())]

    def check_calm(self, *, crashes: int | range = 0) -> None:
        """Nothing has leaked: process, thread, descriptor or lease.

        Args:
            crashes: How many children have died; a range where it depends on who still ran beside a culprit.
        """
        wait_until(self.worker.children, timeout=LONG, why="a child is there")
        found: list[Footprint] = []

        def is_as_before() -> bool:
            found[:] = self.footprints()
            (parent, child), (parent_before, child_before) = found, self._before
            lines = LINES * (PASSING + max(0, self._strangers() - self._spares))
            return (
                (parent.threads, child.threads) == (parent_before.threads, child_before.threads)
                and parent.descriptors <= parent_before.descriptors + CONNECTIONS
                and child.descriptors <= child_before.descriptors + CONNECTIONS + lines
            )

        with suppress(AssertionError):
            wait_until(is_as_before, why="the worker takes what it took")
        assert is_as_before(), f"supervisor and child take {found}, took {self._before}"
        most = self._spares + (
            2 * SLOTS if self._warm else 0
        )  # isolated processes are kept as the last jobs needed them
        wait_until(lambda: self._strangers() <= most, timeout=LONG, why="no process is left behind")
        raw = self.server.client()
        assert raw.zcard(LANE.lease) == raw.hlen(LANE.runs) == raw.hlen(LANE.tries) == 0
        assert not self.worker.is_over
        died = self.worker.said.count("child.died")
        assert died in (crashes if isinstance(crashes, range) else (crashes,))
        os.truncate(self.worker.log, 0)
        self.is_calm = True

    def _strangers(self) -> int:
        """How many processes there are beside supervisor and child: those that are kept warm, or were left behind."""
        return len(set(self.worker.family()) - {self.worker.pid, *self.worker.children()})

    def close(self) -> None:
        """End everything."""
        self.programs.close()
        self.fleet.close()
        self.server.stop()
