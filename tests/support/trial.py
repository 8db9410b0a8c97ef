"""A worker that is put to the test: bad jobs beside good ones, and what has to be as before when they are over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
CONNECTIONS = 2
"""How many more connections to Redis a process may need at once than before; its pool closes those left idle."""

ISOLATED, LINES = "jobfleet.worker.executors.isolated.main", 3
"""An isolated process, and the descriptors that a child holds of each."""


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
        self.programs = Programs(self.server.url, folder, is_fresh=False)
        self.fleet = Fleet(self.server.url)
        self._warm = warm
        chosen: Mapping[str, object] = {"slots": SLOTS, "lease": 600, "grace": 1, **settings}
        self.worker = self.programs.ready(*modules, **chosen)
        self._before: list[Footprint] = []
        self._spares = 0
        wait_until(self._is_warm, timeout=LONG, why="no isolated process is started any more")
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
        """What the supervisor and its child take, once each thread and connection was needed.

        What the child holds of its isolated processes is left out: how many are kept depends on how jobs met. Nothing
        is answered if one of them came or went meanwhile.
        """
        ids = [self.enqueue(function, 0.1) for function in ("hist.rest", "hist.nap") for _ in range(2 * SLOTS)]
        ids += [self.enqueue("hist.chatty", 5) for _ in range(SLOTS)]
        ids += [self.enqueue(function, argument) for function, argument in self._warm for _ in range(SLOTS)]
        settle_all(self.fleet, ids)
        isolated = self.worker.children(ISOLATED)
        parent, *children = [footprint(pid) for pid in (self.worker.pid, *self.worker.children())]
        if len(children) != 1 or self.worker.children(ISOLATED) != isolated:
            return []
        (child,) = children
        return [parent, child._replace(descriptors=child.descriptors - LINES * len(isolated))]

    def check_calm(self, *, crashes: int | range = 0) -> None:
        """Nothing has leaked: process, thread, descriptor or lease.

        Args:
            crashes: How many children have died; a range where it depends on who still ran beside a culprit.
        """
        wait_until(self.worker.children, timeout=LONG, why="a child is there")
        found: list[Footprint] = []

        def is_as_before() -> bool:
            found[:] = self.footprints()
            return len(found) == len(self._before) and all(
                now.threads == was.threads and now.descriptors <= was.descriptors + CONNECTIONS
                for now, was in zip(found, self._before, strict=True)
            )

        try:
            wait_until(is_as_before, why="the worker takes what it took")
        except AssertionError as error:
            raise AssertionError(f"supervisor and child take {found}, took {self._before}") from error
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

    def _is_warm(self) -> bool:
        """Take down what is to be as before, and whether it was the same twice."""
        last, self._spares = self._before, self._strangers()
        self._before = self.footprints()
        pairs = list(zip(self._before, last, strict=False))
        return bool(pairs) and all(
            one.threads == was.threads and abs(one.descriptors - was.descriptors) <= CONNECTIONS for one, was in pairs
        )

    def _strangers(self) -> int:
        """How many processes there are beside supervisor and child: those that are kept warm, or were left behind."""
        return len(set(self.worker.family()) - {self.worker.pid, *self.worker.children()})

    def close(self) -> None:
        """End everything."""
        self.programs.close()
        self.fleet.close()
        self.server.stop()
