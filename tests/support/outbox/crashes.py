"""Kill producers, relays, PostgreSQL and Redis at every step, and compare the jobs with the orders afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from jobfleet import Fleet
from jobfleet.contrib import outbox
from jobfleet.outbox.rows import open_engine
from tests.support.outbox.producer import EVERY_ROLLED_BACK
from tests.support.postgres import Postgres
from tests.support.server import RedisServer

ROOT = Path(__file__).parents[3]
LIMIT = 1800.0
"""Seconds after which a run that makes no end has failed."""
PAUSE = 0.02
PRODUCERS, RELAYS = 2, 2
STEPS = {"producer": ("begun", "written", "committed"), "relay": ("claimed", "enqueued", "deleted")}


@dataclass
class Report:
    """The result of a run.

    Attributes:
        orders: The orders that were committed.
        rolled_back: How many were rolled back on purpose.
        jobs: How many jobs each order has.
        enqueued: How many jobs Redis has counted.
        left: Rows that are still in the outbox.
        kills: Kills by victim and step.
    """

    orders: set[int]
    rolled_back: int
    jobs: Counter[int]
    enqueued: int
    left: int
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)

    def faults(self) -> list[str]:
        """What is wrong; empty if each order has exactly one job."""
        lost = self.orders - self.jobs.keys()
        extra = self.jobs.keys() - self.orders
        twice = sorted(number for number, times in self.jobs.items() if times > 1)
        found = {
            "orders without a job": sorted(lost), "jobs without an order": sorted(extra), "orders with two jobs": twice,
        }  # fmt: skip
        faults = [f"{what}: {numbers[:10]}" for what, numbers in found.items() if numbers]
        if self.enqueued != len(self.orders):
            faults.append(f"Redis has counted {self.enqueued} jobs for {len(self.orders)} orders")
        return [*faults, f"{self.left} rows are left"] if self.left else faults

    def __str__(self) -> str:
        lines = [
            f"{len(self.orders):,} orders committed, {self.rolled_back:,} rolled back; {self.jobs.total():,} jobs",
            *(f"killed {victim} at {step}: {times}" for (victim, step), times in sorted(self.kills.items())),
            f"{self.kills.total():,} kills; " + ("; ".join(self.faults()) or "exactly one job per order"),
        ]
        return "\n".join(lines)


class Stage:
    """The servers and the programs of a run."""

    def __init__(
        self, folder: Path, postgres: Postgres, redis: RedisServer, *, orders: int, seed: int, share: float
    ) -> None:
        self.folder = folder
        self.postgres = postgres
        self.redis = redis
        self.url = postgres.database()
        self._seed = seed
        self._started = 0
        self._share = share
        each = -(-orders // PRODUCERS)
        self._ranges = [(at + 1, min(at + each, orders)) for at in range(0, orders, each)]
        self._producers: dict[int, subprocess.Popen[bytes]] = {}
        self._relays: dict[int, subprocess.Popen[bytes]] = {}
        self._done: set[int] = set()
        self._note("redis", redis.pid)
        self._note("postgres", postgres.pid)
        outbox.create_tables(self.url)
        with self.engine() as connection:
            connection.execute(text("CREATE TABLE orders (number INTEGER PRIMARY KEY)"))

    @contextmanager
    def engine(self) -> Iterator[Connection]:
        """A transaction of the database."""
        engine = create_engine(open_engine(self.url).url)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def _note(self, server: str, pid: int) -> None:
        made = self.folder / f"{server}.new"
        made.write_text(str(pid))
        made.replace(self.folder / f"{server}.pid")

    def turn(self) -> bool:
        """Start again what has died; return whether all orders are written."""
        if not self.redis.is_running:
            self.redis.restart()
            self._note("redis", self.redis.pid)
        if not self.postgres.is_running:
            self.postgres.restart()
            self._note("postgres", self.postgres.pid)
        for place, (first, last) in enumerate(self._ranges):
            if place not in self._done and (ended := self._ended(self._producers, place)):
                if ended == "well":
                    self._done.add(place)
                else:
                    self._producers[place] = self._start("producer", first, last)
        for place in range(RELAYS):
            if self._ended(self._relays, place):
                self._relays[place] = self._start("relay")
        return len(self._done) == len(self._ranges)

    @staticmethod
    def _ended(processes: dict[int, subprocess.Popen[bytes]], place: int) -> str:
        process = processes.get(place)
        code = -1 if process is None else process.poll()
        return "" if code is None else "well" if code == 0 else "killed"

    def _start(self, program: str, *numbers: int) -> subprocess.Popen[bytes]:
        module = f"tests.support.outbox.{program}"
        self._started += 1
        values = [*map(str, numbers), str(self._seed * 100_000 + self._started), str(self._share)]
        command = [sys.executable, "-m", module, str(self.folder), self.url, self.redis.url, *values]
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def waiting(self) -> int:
        """The rows of the outbox; 1 while the database is away."""
        try:
            with self.engine() as connection:
                return int(connection.execute(text("SELECT count(*) FROM jobfleet_outbox")).scalar_one())
        except DBAPIError:
            return 1

    def calm(self) -> None:
        """Let no process kill any more."""
        (self.folder / "calm").touch()

    def close(self) -> None:
        """Kill the programs."""
        for process in (*self._producers.values(), *self._relays.values()):
            process.kill()
            process.wait(20)

    def report(self) -> Report:
        """Compare what is in the database with what is in Redis."""
        with self.engine() as connection:
            orders = set(connection.execute(text("SELECT number FROM orders")).scalars())
        every = sum(last - first + 1 for first, last in self._ranges)
        with Fleet(self.redis.url) as fleet:
            jobs: Counter[int] = Counter()
            cursor = ""
            while True:
                page = fleet.jobs(queue="orders", limit=500, cursor=cursor)
                jobs.update(int((fleet.details(one.id).args or (0,))[0]) for one in page.jobs)
                cursor = page.cursor
                if not cursor:
                    break
            enqueued = sum(queue.totals["enqueued"] for queue in fleet.queues())
        kills: Counter[tuple[str, str]] = Counter()
        if (self.folder / "kills").exists():
            for line in (self.folder / "kills").read_text().splitlines():
                victim, _, step = line.partition(" ")
                kills[victim, step] += 1
        return Report(orders, every // EVERY_ROLLED_BACK, jobs, enqueued, self.waiting(), kills)


def run(folder: Path, *, orders: int, seed: int, share: float) -> Report:
    """Write orders under kills, let the relays catch up in peace, and compare.

    Args:
        folder: For files of the run.
        orders: How many orders are tried; a fifth of them is rolled back.
        seed: Of the plan of kills.
        share: The probability of a kill per step.
    """
    ends_at = time.monotonic() + LIMIT
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres("fsync=off"))
        redis = stack.enter_context(RedisServer("--appendonly", "yes", "--appendfsync", "everysec"))
        stage = Stage(folder, postgres, redis, orders=orders, seed=seed, share=share)
        stack.callback(stage.close)
        while not stage.turn():
            _check(ends_at)
        stage.calm()
        while stage.waiting():
            stage.turn()
            _check(ends_at)
        stage.turn()
        return stage.report()


def _check(ends_at: float) -> None:
    if time.monotonic() > ends_at:
        raise TimeoutError(f"The run has made no end within {LIMIT:.0f} s.")
    time.sleep(PAUSE)
