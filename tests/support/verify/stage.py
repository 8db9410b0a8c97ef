"""Where features are checked: a namespace of its own on a server, with a worker and a reaper upon it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import redis

from jobfleet import Fleet, Job, JobFailed, JobResult
from jobfleet.fleet import default
from tests.support.fleet import Program, Programs
from tests.support.waiting import wait_until

T = TypeVar("T")
PATIENCE = 60.0
WINDOW = 1.0
"""Seconds for which an id is remembered here at least, so that cleaning up can be seen."""
SETTINGS: dict[str, Any] = {"lease": 2, "patience": 0.5, "dedupe_window": WINDOW, "own_id_window": WINDOW}


class Check(NamedTuple):
    """A feature and how it is checked.

    Attributes:
        row: Its row in the user's list.
        feature: What it is.
        see: Checks it; answers how it was seen, and raises what is amiss.
    """

    row: int
    feature: str
    see: Callable[[Stage], str]


CHECKS: list[Check] = []


def check(row: int, feature: str) -> Callable[[Callable[[Stage], str]], Callable[[Stage], str]]:
    """Add a feature to the list."""

    def add(see: Callable[[Stage], str]) -> Callable[[Stage], str]:
        CHECKS.append(Check(row, feature, see))
        return see

    return add


class Stage:
    """A fleet to check features on.

    Args:
        url: Its server.
        folder: Where logs go.

    Attributes:
        fleet: The default fleet meanwhile.
        worker: A worker of ``tests/e2e/apps/seeds.py``.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.namespace = f"verify-{secrets.token_hex(4)}"
        self.programs = Programs(url, folder)
        self.fleet = Fleet(url, namespace=self.namespace)
        self._before = default.set_default_fleet(self.fleet)
        self.raw = redis.Redis.from_url(url, protocol=2, decode_responses=True)
        self._files = 0
        self.worker = self.start_worker(log_format="json", metrics_port=0)
        self.reaper = self.start("reaper")
        self.reaper.await_line("reaper.started")

    def start(self, *arguments: str, **settings: object) -> Program:
        """Start a program of jobfleet's in this namespace."""
        return self.programs.start(*arguments, **{"namespace": self.namespace, **SETTINGS, **settings})

    def start_worker(self, **settings: object) -> Program:
        """Start a worker and wait until it is there."""
        worker = self.start("worker", "seeds", **{"processes": 1, "slots": 10, **settings})
        self.until(
            lambda: any(one.pid == worker.pid and one.queues for one in self.fleet.workers()) or worker.is_over,
            "the worker is there",
        )
        if worker.is_over:
            raise AssertionError(worker.said)
        return worker

    def path(self) -> Path:
        """A file that is not there yet."""
        self._files += 1
        return self.folder / f"file-{self._files}"

    def until(self, condition: Callable[[], T], why: str) -> T:
        """Wait for something, but not for ever."""
        return wait_until(condition, timeout=PATIENCE, why=why)

    def enqueue(self, function: str, *args: object, **options: Any) -> str:
        """Put a job into the fleet."""
        return self.fleet.enqueue(Job(options.pop("name", function), function, args, **options))

    def run(self, function: str, *args: object, **options: Any) -> JobResult[Any]:
        """Put a job into the fleet and wait for its end."""
        return self.fleet.wait(self.enqueue(function, *args, **options), timeout=PATIENCE)

    def environment(self, **more: str) -> dict[str, str]:
        """What a program of the user's needs to reach this namespace."""
        settings = {"JOBFLEET_URL": self.url, "JOBFLEET_NAMESPACE": self.namespace}
        return {**os.environ, **settings, **more}

    def keys(self, namespace: str) -> list[str]:
        """The keys of a namespace."""
        found: set[str] = set()
        for pattern in (f"{{{namespace}}}:*", f"{{{namespace}:*"):
            found |= set(self.raw.scan_iter(pattern, count=1000))
        return sorted(found)

    def forget(self, namespaces: Iterable[str]) -> None:
        """Let all keys of some namespaces go."""
        for namespace in namespaces:
            for key in self.keys(namespace):
                self.raw.unlink(key)

    def close(self) -> None:
        """End everything, and leave the server as it was."""
        self.programs.close()
        default.set_default_fleet(self._before)
        self.fleet.close()
        with suppress(redis.RedisError):
            self.forget([self.namespace, f"{self.namespace}-manager", f"{self.namespace}-examples"])
        self.raw.close()


def expect(is_so: object, what: str) -> None:
    """Raise when something is not so.

    Raises:
        JobFailed: It is not.
    """
    if not is_so:
        raise JobFailed(what)
