"""What a chaos run consists of: a server, workers, reapers and producers, and the means to harm each of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import redis

from jobfleet import Fleet, Job, JobfleetError, JobStatus
from jobfleet.errors import UnknownQueue
from jobfleet.store.keys import Keyspace
from tests.support.certificates import Certificates
from tests.support.chaos import aof
from tests.support.chaos.case import FINAL, RUN
from tests.support.chaos.history import Record, Recorder, read_history
from tests.support.chaos.producer import BULK, CAP, GROUPS, NARROW, SIDE
from tests.support.chaos.servers import AnyServer
from tests.support.fleet import ROOT, Program, Programs
from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.users import denials, url_as
from tests.support.waiting import wait_until

LEASE = 6.0
DRAIN = 90.0
QUEUES = ("default", SIDE)
SETTINGS: Mapping[str, object] = {
    "processes": 1, "slots": 8, "lease": LEASE, "grace": 2, "retry_delay": 0.2, "queues": f"default,{SIDE},ticks",
}  # fmt: skip
RETENTIONS = ("RESULT_TTL", "FAILED_RESULT_TTL", "DEAD_TTL", "OWN_ID_WINDOW", "DEDUPE_WINDOW", "JOURNAL_TTL")
OF_JOBS = {
    "job", "result", "value", "progress", "reported", "log", "steps", "chunks", "parents", "dependants", "rescued",
}  # fmt: skip
"""The kinds of keys that belong to one job. None is left once all jobs have ended and the retentions are over."""
MILLION = 1_000_000
JOBS_EACH = 2500


class Source(subprocess.Popen[bytes]):
    """A producer's process.

    Args:
        stage: Where it produces.
        number: Its number.
        jobs: How many jobs it enqueues.
        seconds: How long it takes over them.
    """

    def __init__(self, stage: Stage, number: int, jobs: int, seconds: float) -> None:
        self.jobs, self.seconds = jobs, seconds
        self.name, self.first = f"producer-{number}", number * MILLION
        given = {
            "url": stage.url, "folder": stage.folder, "name": self.name, "seed": stage.seed + number,
            "first": self.first, "jobs": jobs, "seconds": seconds, "durability": stage.level,
            "confirm": stage.confirm,
        }  # fmt: skip
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        if stage.has_users:
            words.append("--users")
        if stage.has_features:
            words += ["--features", "--payloads", stage.payloads]
        with (stage.folder / f"producer-{number}.log").open("ab") as out:
            super().__init__(
                [sys.executable, "-m", "tests.support.chaos.producer", *words],
                cwd=stage.root,
                env={**os.environ, "PYTHONPATH": str(stage.root), "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )


class Stage:
    """One run.

    Args:
        server: The server, the Sentinel group, or the cluster.
        folder: Where history, logs and the final state go.
        seed: Of every choice.
        proxy: Whether clients and workers reach the server through a proxy.
        has_users: Let each program connect as the Redis user of its role.
        has_tls: Let the proxy speak TLS with them, and ask for their certificates.
        root: The folder whose package runs.

    Attributes:
        windows: The times within which the fault may lose writes, as it was said to.
        settings: Of the workers that are started from now on.
        facts: Further facts for the checker.
        level: The durability of the jobs of producers.
        confirm: How many seconds producers wait for a confirmation.
        has_features: Whether half of the load uses the newer features.
        payloads: The payload store of that load.
        retention: Seconds for which everything that has ended is kept, and jobs are remembered; None for the defaults.
    """

    def __init__(
        self,
        server: AnyServer,
        folder: Path,
        seed: int,
        *,
        proxy: bool = False,
        has_users: bool = False,
        has_tls: bool = False,
        root: Path = ROOT,
    ) -> None:
        self.server, self.folder, self.seed, self.root = server, folder, seed, root
        self.dice = random.Random(seed)
        self.has_users = has_users
        tls = _Certified(folder) if has_tls else None
        self.proxy = Proxy(server.primary, tls=tls.context if tls else None) if proxy or has_tls else None
        self.url = (self.proxy.url if self.proxy else server.url) + (tls.query if tls else "")
        self.nemesis = Recorder(folder, "nemesis")
        self._own = Recorder(folder, "stage")
        self.windows: list[list[float]] = []
        self.settings: dict[str, object] = dict(SETTINGS)
        self.facts: dict[str, Any] = {"caps": dict.fromkeys(GROUPS, CAP)}
        self.level, self.confirm = "fast", 2.5
        self.has_features = False
        self.retention: float | None = None
        self._seen: dict[str, dict[str, Any]] = {}
        self._is_seen = threading.Event()
        self.payloads = f"file://{folder.resolve()}/payloads"
        self.is_over = threading.Event()
        self._mending: list[Callable[[], None]] = []
        self._made = 0
        self._calls = 0
        self._seconds = 0.0
        self.programs = Programs(
            self.url, folder, root, url_of=lambda role: url_as(self.url, role) if has_users else self.url
        )
        self.workers: list[Program] = []
        self.reapers: list[Program] = []
        self.sources: list[Source] = []

    def open(self, workers: int = 2, reapers: int = 2) -> None:
        """Start workers and reapers, and wait until they work."""
        self.reapers = [self.start_reaper() for _ in range(reapers)]
        self.workers = [self.start_worker() for _ in range(workers)]
        with Fleet(self.url, patience=60) as fleet:
            for group in GROUPS:
                fleet.limits.set("default", group=group, concurrency=CAP)
            fleet.limits.named("narrow", concurrency=NARROW)
            wait_until(lambda: sum(bool(one.queues) for one in fleet.workers()) >= workers, why="the workers are ready")

    def keep_for(self, seconds: float) -> None:
        """Let all programs keep what has ended for so many seconds only."""
        self.retention = seconds
        for name in RETENTIONS:
            self.programs.environment[f"JOBFLEET_{name}"] = f"{seconds}s"

    def start_worker(self, **settings: object) -> Program:
        """Start a worker."""
        if self.has_features:
            settings = {"payload_store": self.payloads, "payload_threshold": BULK // 2, **settings}
        return self.programs.worker("chaotic", **{**self.settings, **settings})

    def left_of(self, source: Source) -> int:
        """How many jobs a producer has not asked for yet."""
        calls = [
            call
            for record in read_history(self.folder)
            if record.process == source.name and record.kind == "invoke"
            for call in record.value.get("calls", [record.value.get("call", 0)])
        ]
        return source.jobs - (max(calls) + 1 - source.first if calls else 0)

    def start_reaper(self) -> Program:
        """Start a reaper."""
        return self.programs.start("reaper")

    def load(self, jobs: int, seconds: float) -> None:
        """Start producers: at least two, and so many that the waits of one do not slow the load down."""
        producers = max(2, jobs // JOBS_EACH)
        for _ in range(producers):
            self.produce(jobs // producers, seconds)
        if self.retention is not None:
            threading.Thread(target=self._watch, args=(self.retention / 4,), daemon=True).start()

    def _watch(self, every: float) -> None:
        """Note how jobs have ended before they are forgotten."""
        with Fleet(self.server.url, patience=60) as fleet:
            while not self._is_seen.wait(every):
                with suppress(JobfleetError):  # the server may be away
                    self._see(fleet)

    def _see(self, fleet: Fleet) -> None:
        ids = sorted(self._asked() - self._seen.keys())
        for one in fleet.poll_many(ids):
            if one is not None and one.status.is_final:
                self._seen[one.id] = _shown(one)

    def produce(self, jobs: int, seconds: float) -> None:
        """Start a producer."""
        self._made += 1
        self._seconds = max(self._seconds, seconds)
        self.sources.append(Source(self, self._made, jobs, seconds))

    @property
    def is_loading(self) -> bool:
        """Whether a producer still works."""
        return any(source.poll() is None for source in self.sources)

    def raw(self) -> redis.Redis:
        """A plain client of the primary that does not take the way of the proxy."""
        return self.server.primary.client()

    def pause(self, low: float, high: float) -> None:
        """Let a fault last, unless the run is over."""
        self.is_over.wait(self.dice.uniform(low, high))

    def mend_at_end(self, mend: Callable[[], None]) -> None:
        """Call this once the load is over, if the fault has not."""
        self._mending.append(mend)

    def replace_worker(self, worker: Program) -> None:
        """Start another worker in its place."""
        self.workers[self.workers.index(worker)] = self.start_worker()

    def children(self) -> list[int]:
        """The children of all workers."""
        return sorted(pid for worker in self.workers for pid in worker.children())

    def signal_child(self, number: signal.Signals) -> None:
        """Send a signal to some child."""
        found = wait_until(self.children, why="there are children")
        with suppress(ProcessLookupError):
            os.kill(self.dice.choice(found), number)

    def finish(self, fault: str, begun: float) -> None:
        """Mend everything, drain, and save the final state."""
        self.is_over.set()
        for mend in reversed(self._mending):
            with suppress(Exception):  # what was mended already
                mend()
        if self.proxy:
            self.proxy.pass_all()
        wait_until(lambda: not self.is_loading, timeout=DRAIN + 3 * self._seconds, why="the producers are done")
        final: dict[str, Any] = {}
        with Fleet(self.server.url, patience=60) as fleet:
            self._resume(fleet)
            self._probe(fleet)
            self._signal(fleet)
            asked: set[str] = set()
            waiting: set[str] = set()
            while more := self._asked() - asked:  # jobs that run add others to their flows
                asked |= more
                waiting.update(more)
                with suppress(AssertionError):  # the checker says what has not ended
                    wait_until(lambda: self._have_ended(fleet, waiting), timeout=DRAIN, why="all jobs have ended")
            ids = sorted(asked)
            guarded = self._guarded(waiting)
            with suppress(AssertionError):
                wait_until(lambda: sum(self._left().values()) <= len(guarded), timeout=15, why="nothing is left")
            now = {one.id: _shown(one) for one in fleet.poll_many(ids) if one is not None}
            final["jobs"] = {**now, **self._seen}
            final["chunks"] = {job_id: self._chunks(fleet, job_id) for job_id in self._emitting()}
        final["guarded"] = guarded
        final["left"] = self._left()
        if self.retention is not None:
            with suppress(AssertionError):
                wait_until(lambda: not of_jobs(self._keys()), timeout=3 * self.retention + 30, why="all is forgotten")
            final["keys"] = self._keys()
        final["totals"] = {queue: self._totals(_lane(queue).totals) for queue in QUEUES}
        self._save(fault, begun, final)
        # What producers leave to others is documented; a partition takes commands from the default user.
        told = [one for node in self._nodes() for one in _denials(node)]
        refused = [one for one in told if not one.startswith(("producer:", "default:"))]
        assert not refused, f"The server has refused: {refused}"

    def _save(self, fault: str, begun: float, final: Mapping[str, Any]) -> None:
        (self.folder / FINAL).write_text(json.dumps(final, default=str))
        run = {"fault": fault, "seed": self.seed, "windows": self.windows, "seconds": time.time() - begun, **self.facts}
        run["level"] = self.level
        (self.folder / RUN).write_text(json.dumps(run))
        if self.server.has_file:
            aof.save(self.server.data, self.folder)

    def enqueue(self, fleet: Fleet, function: str, *args: object) -> str:
        """Enqueue a job with a number of its own, and write it into the history."""
        self._calls += 1
        job = Job("own", function, (self._calls, *args))
        job_id = f"default.0.{job.suffix}"
        self._own.note("invoke", "enqueue", job_id, call=self._calls, function=function)
        try:
            self._own.note("ok", "enqueue", job_id, answer=str(fleet.enqueue(job)))
        except JobfleetError as error:
            self._own.note("unknown", "enqueue", job_id, error=str(error))
        return job_id

    def runs(self, job_id: str) -> list[Record]:
        """The starts of a job so far."""
        found = read_history(self.folder)
        return [one for one in found if one.id == job_id and one.op == "run" and one.kind == "invoke"]

    def _probe(self, fleet: Fleet) -> None:
        """A job after the faults: it must start soon."""
        at = time.time()
        self.facts["probe"] = {"id": self.enqueue(fleet, "chaos.work", 0.0), "at": at}

    def _resume(self, fleet: Fleet) -> None:
        """Resume the queue that a killed producer has left paused; the history says it, or its jobs ran too early.

        A queue that was lost with all data is not paused.
        """
        self._own.note("invoke", "resume", queue=SIDE)
        with suppress(UnknownQueue):
            fleet.resume(SIDE)
        self._own.note("ok", "resume", queue=SIDE)

    def _signal(self, fleet: Fleet) -> None:
        """Send the signals that a killed producer has not sent; a second one of a job changes nothing."""
        for record in read_history(self.folder):
            if record.kind == "invoke" and record.value.get("function") == "chaos.wait":
                with suppress(JobfleetError):  # it was not enqueued, or is forgotten
                    fleet.signal(record.id, "go", record.value["call"])

    def _asked(self) -> set[str]:
        found: set[str] = set()
        for record in read_history(self.folder):
            if (record.kind == "invoke" and record.op.startswith("enqueue")) or record.op == "added":
                found.update(record.value.get("ids", [record.id]))
        return found

    def _keys(self) -> dict[str, int]:
        """How many keys there are of each kind: the name after the tag, up to the id."""
        found: Counter[str] = Counter()
        for key in self.raw().scan_iter(count=1000):
            name = key.decode("utf-8", "replace").rpartition("}:")[2]
            found[name.partition(":")[0] if ":" in name else name] += 1
        return dict(found)

    def _emitting(self) -> list[str]:
        found = (one for one in read_history(self.folder) if one.op == "enqueue" and one.kind == "invoke")
        return sorted({one.id for one in found if one.value.get("chunks")})

    def _chunks(self, fleet: Fleet, job_id: str) -> list[int]:
        """The chunks of the last run of a job, as a reader has them in the end."""
        seen: list[int] = []
        with suppress(JobfleetError):  # the job was not enqueued, or is lost; others judge that
            if fleet.poll(job_id).status.is_final:
                for chunk in fleet.stream(job_id):
                    seen = [chunk.value] if chunk.is_restart else [*seen, chunk.value]
        return seen

    def _have_ended(self, fleet: Fleet, waiting: set[str]) -> bool:
        """Drop the jobs that have ended; whether the others are dependants that were written only in part."""
        found = fleet.poll_many(ids := sorted(waiting))
        still = {job_id: one.status for job_id, one in zip(ids, found, strict=True) if one and not one.status.is_final}
        waiting.intersection_update(still)
        return all(one is JobStatus.BLOCKED for one in still.values()) and len(self._guarded(waiting)) == len(waiting)

    def _guarded(self, waiting: set[str]) -> dict[str, str]:
        """The dependants whose guard was not lifted, with the key that each waits in."""
        found: dict[str, str] = {}
        for job_id in waiting:
            lane = Keyspace("jobfleet").lane_of(job_id)
            raw: Any = self.server.owner(lane.lease).client()
            if (raw.hget(lane.parents(job_id), ":guard") or b"").startswith(b"?"):
                for key in lane.ready:
                    if raw.zscore(key, job_id) is not None:
                        found[job_id] = key
        return found

    def _nodes(self) -> Sequence[RedisServer]:
        return [self.server] if isinstance(self.server, RedisServer) else self.server.nodes

    def _totals(self, key: str) -> dict[str, str]:
        found: Any = self.server.owner(key).client().hgetall(key)
        return {name.decode(): value.decode() for name, value in found.items()}

    def _left(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for queue in QUEUES:
            lane = _lane(queue)
            raw = self.server.owner(lane.lease).client()
            for name in ("lease", "expiry", "grouped", "ring", "gdue", "held", *lane.ready):
                key = name if name in lane.ready else f"{lane.tag}{name}"
                found[key] = int(raw.zcard(key))
            for name in ("runs", "tries", "meta", "unique"):
                found[f"{lane.tag}{name}"] = int(raw.hlen(f"{lane.tag}{name}"))
        return found

    def close(self) -> None:
        """End everything."""
        self.is_over.set()
        self._is_seen.set()
        for source in self.sources:
            source.kill()
            source.wait()
        self.programs.close()
        if self.proxy:
            self.proxy.close()
        for number, log in enumerate(self.server.logs):
            shutil.copy(log, self.folder / f"server-{number}.log")
        self.server.stop()
        self.nemesis.close()
        self._own.close()


class _Certified(Certificates):
    """Certificates of a proxy that asks for those of its clients."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.query = f"?{urlencode(self.options, safe='/')}"
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.options["ssl_ca_certs"])
        self.context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.context.verify_mode = ssl.CERT_REQUIRED


def _denials(node: RedisServer) -> list[str]:
    with redis.Redis.from_url(node.direct, decode_responses=True) as client:
        return denials(client)


def _lane(queue: str) -> Any:
    return Keyspace("jobfleet").lane(queue, 0)


def _shown(one: Any) -> dict[str, Any]:
    return {
        "status": one.status.value, "result": one.result, "fence": one.fence, "retry_count": one.retry_count,
        "error": one.error, "error_class": one.error_class,
    }  # fmt: skip


def of_jobs(keys: Mapping[str, int]) -> dict[str, int]:
    """Of the keys by kind, those that belong to one job."""
    return {kind: count for kind, count in keys.items() if kind in OF_JOBS}
