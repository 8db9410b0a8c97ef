"""A fleet that has at least one key of each kind in the key table, and everything that reads it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis

from jobfleet import Breaker, Cron, Fleet, Flow, Job, JobContext, JobStatus, Priority
from jobfleet.codec import encode, seal_record
from jobfleet.cron import FireOutcomes
from jobfleet.cron.outcomes import End, FiredJob
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import JobDecorator, Registry
from jobfleet.metrics.tally import Mute
from jobfleet.notify import Notification, NotificationChannel
from jobfleet.notify.registry import Channels
from jobfleet.operations.fleet_context import Published
from jobfleet.samples import COMPLETED, FAILED, FIRST_GAUGE, RUN, TOTAL, WAIT
from jobfleet.services.main import _duties
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.run import Holder
from jobfleet.store.calls.settle import complete, settle
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE
from jobfleet.store.keys import Keyspace
from tests.support.sampled import store_samples
from tests.support.state import server_now
from tests.support.waiting import wait_until

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
GONE = "gone:1:a.0"
NOT_POISONED = {f"{of} {name}" for of in ("lane", "fleet") for name in ("aside:<name>", "answer:<call>")}
"""What a repair has moved away, and replies that are kept for a minute under a name that nobody else knows."""


class Deaf(NotificationChannel):
    """Refuses every notification, so that deliveries stay."""

    name = "ops"

    def send(self, notification: Notification) -> Any:
        raise RuntimeError(f"{notification.event} is refused")


def functions(fleet: Fleet, registry: Registry, ran: Callable[[str], None]) -> None:
    """Jobs that use every feature once."""
    job = JobDecorator(registry, fleet=fleet)

    @job(name="w.full", keep_last=2, limits=["gpt"], breaker=Breaker(0.5, minimum=3))
    async def full(ctx: JobContext, n: int) -> dict[str, int]:
        ctx.progress(0.5, "half")
        ctx.log.info("line of %d", n)
        await ctx.emit({"chunk": n})
        async with ctx.lock("ledger"):
            return {"n": await ctx.step("double", lambda: 2 * n)}

    @job(name="w.waits", max_retries=0)
    async def waits(ctx: JobContext) -> object:
        await ctx.step("ask", lambda: ctx.token("approved"))
        return await ctx.wait_for("approved", timeout="2d")

    @job(name="w.fails", max_retries=0)
    def fails(kind: str) -> None:
        if kind == "a":
            raise ValueError("no luck")
        raise KeyError("no key")

    @job(name="w.again", max_retries=3, retry_delay=3600)
    def again() -> None:
        raise ConnectionError("later")

    @job(name="w.brief", result_ttl=600)
    def brief() -> int:
        return 1

    @job(name="w.adds", max_retries=0)
    async def adds(ctx: JobContext) -> None:
        await ctx.flow.add(Job("added", "w.one", id="added", delay=3000))

    @job(name="w.counted")
    def counted(name: str) -> None:
        ran(name)

    @job(name="w.one")
    def one(n: int = 0) -> int:
        return n


class World:
    """The fleet, a copy of all its keys, and a raw client."""

    def __init__(self, url: str, raw: redis.Redis, archive: str) -> None:
        self.raw = raw
        self.registry = Registry()
        self.fleet = Fleet(
            url, registry=self.registry, archive_url=f"sqlite:///{archive}", patience=5, lease=6,
            web_open_role="admin", web_open_access=True, retry_delay=0.05,
        )  # fmt: skip
        functions(self.fleet, self.registry, lambda name: self.runs.update({name: self.runs.get(name, 0) + 1}))
        self.channels = Channels()
        self.channels.add_notification_channel(Deaf())
        self.runs: dict[str, int] = {}
        self.mute = Mute()
        self.readers: dict[str, list[str]] = {}
        self.shown: dict[str, frozenset[str]] = {}
        self.tokens: tuple[str, ...] = ()
        self.running: list[str] = []
        self.rescues: list[str] = []
        self.presence: dict[bytes, bytes] = {}
        self.names: dict[str, str] = {}
        self.copy: dict[bytes, tuple[bytes, int]] = {}

    # ------------------------------------------------------------------ building

    def build(self) -> None:
        """Let jobs of each kind run, fail, wait and be held, and the duties turn."""
        self.turn_all()  # the readers of the journal are registered first
        fleet = self.fleet
        fleet.limits.named("gpt", concurrency=5, rate="100/s", by="ann")
        fleet.limits.set("default", group="acme", concurrency=3, rate="100/s", weight=2, by="ann")
        fleet.set_durability("default", "fast", by="ann")
        done = [fleet.enqueue(self._job(f"done{n}", "w.full", n, tags=["eu"], user="bob")) for n in (1, 2)]
        dead = [fleet.enqueue(self._job(f"dead{n}", "w.fails", kind, tags=["eu"], user="bob")) for n, kind in
                ((1, "a"), (2, "b"), (3, "a"), (4, "b"))]  # fmt: skip
        again, brief = (fleet.enqueue(self._job(name, f"w.{name}")) for name in ("again", "brief"))
        growing = Flow("growing")
        growing.add(self._job("adds", "w.adds"))
        grown = fleet.flows.enqueue(growing).id
        parked = fleet.enqueue(self._job("parked", "w.waits"))
        with self._working():
            wait_until(lambda: all(r is not None and r.status.is_final for r in fleet.poll_many([*done, *dead])),
                       why="jobs end", timeout=60)  # fmt: skip
            wait_until(lambda: self.raw.hlen(LANE.steps(parked)) >= 2, why="one waits", timeout=60)
            wait_until(lambda: self.raw.exists(LANE.value(brief)) == 1, why="a record", timeout=60)
            wait_until(lambda: bool(self.raw.hexists(LANE.tries, again)), why="a retry", timeout=60)
            self.turn_all()
            self.turn_all()
            self._keep_presence()
        fleet.signal(parked, "other", 1, by="ann")
        flow = Flow("import")
        first = flow.add(self._job("first", "w.one", delay=3000))
        flow.add(self._job("second", "w.one"), after=first)
        info = fleet.flows.enqueue(flow)
        other = Flow("export")
        other.add(self._job("third", "w.one", delay=3000))
        info2 = fleet.flows.enqueue(other)
        for name in ("nightly", "weekly"):
            fleet.cron.add(name, Cron("0 3 * * *"), Job(name, "w.one", queue="default"), by="ann")
        fleet.cron.run("nightly", by="ann")
        fleet.cron.pause("weekly", by="ann")
        fleet.breakers.open("function:w.full", seconds=600, reason="bank called", by="ann")
        (a, b) = sorted(fleet.dead_groups(), key=lambda one: one.fingerprint)
        rescue = fleet.rescue(a.fingerprint, canary=(1,), by="ann")
        fleet.rescue(b.fingerprint, canary=(1,), by="ann")
        self.turn_all()
        self.turn_all()
        fleet.pause(function="w.again", by="ann")
        fleet.pause("default", function="w.fails", by="ann", reason="they fail")
        held = [fleet.enqueue(self._job(f"held{n}", "w.one", group="acme", order="strict")) for n in (1, 2)]
        for n in (1, 2):
            fleet.enqueue(self._job(f"grouped{n}", "w.one", group=f"g{n}"))
        after = fleet.enqueue(self._job("ender", "w.one", priority=Priority.CRITICAL))
        fleet.enqueue(self._job("child", "w.one", depends_on=[after]))
        call = claim(LANE, child=GONE, nonce=1, lease_us=3_600_000_000, limit=3)
        grants = fleet.store.run(call).grants
        fleet.store.run(settle(LANE, [
            complete(grant.id, grant.token, record=seal_record({"value": 1}), ttl_ms=600_000, duration_us=5)
            for grant in grants if grant.id == after
        ], child=GONE, nonce=1))  # fmt: skip
        self.raw.hset(LANE.lane, "hold", 0)
        for n in (1, 2):
            fleet.enqueue(self._job(f"wait{n}", "w.one", tags=["eu"], user="bob"))
            fleet.enqueue(
                self._job(f"later{n}", "w.one", delay=3600, expires_in=7200, unique=f"key{n}", unique_for=600)
            )
        fleet.enqueue(Job("urgent", "w.one", id="urgent", priority=Priority.CRITICAL))
        self.names |= {
            "flow3": grown, "flow": info.id, "flow2": info2.id, "group": a.fingerprint, "group2": b.fingerprint,
            "done": done[0], "dead": dead[1], "parked": parked, "held": held[0], "rescue": str(rescue),
        }  # fmt: skip
        self.names |= {"brief": brief, "again": again, "child": "default.0.child", "later": "default.0.later1"}
        self.rescues = sorted(one.id for one in fleet.rescues())
        self._fill()
        self.names["worker"] = cast("list[bytes]", self.raw.zrange(KEYS.workers, 0, -1))[0].decode()
        self.running = [job.decode() for job in cast("list[bytes]", self.raw.hkeys(LANE.runs))]
        for key in cast("list[bytes]", self.raw.keys("*")):
            if b":answer:" not in key:
                self.copy[key] = cast(bytes, self.raw.dump(key)), self.raw.pttl(key)

    def _keep_presence(self) -> None:
        """Copy the keys of a worker, which it deletes when it ends."""
        for pattern in ("worker:*", "workers", "knowers:*", "kinds", "kind:*", "functions", "report*"):
            for key in cast("list[bytes]", self.raw.keys(KEYS.tag.replace("{", "[{]").replace("}", "[}]") + pattern)):
                self.presence[key] = cast(bytes, self.raw.dump(key))

    def _fill(self) -> None:
        """Write what only an unlucky moment leaves."""
        raw = self.raw
        raw.set(KEYS.payload_store, "0123456789abcdef")
        for key, value in self.presence.items():
            raw.restore(key, 0, value, replace=True)
        (worker,) = cast("list[bytes]", raw.zrange(KEYS.workers, 0, -1))
        raw.zadd(KEYS.workers, {worker: server_now(raw) + 3_600_000_000})
        (knowers,) = cast("list[bytes]", raw.keys("*:knowers:*"))
        raw.zadd(knowers, {worker: server_now(raw) + 3_600_000_000})
        raw.zadd(
            KEYS.kinds,
            dict.fromkeys(cast("list[bytes]", raw.zrange(KEYS.kinds, 0, -1)), server_now(raw) + 3_600_000_000),
        )
        runs = cast("dict[bytes, bytes]", raw.hgetall(LANE.runs))
        run = next(iter(runs)).decode()
        holder = Holder(1, 1, run)
        raw.zadd(KEYS.lock("ledger"), {holder.text(): 7})
        raw.set(KEYS.lock_wait(run), "ledger 1 5")
        raw.zadd(KEYS.inside("limit:gpt"), {f"{run} 1": server_now(raw)})
        raw.set(KEYS.stacks("n1"), b"\xc0")
        raw.zadd(KEYS.cron_duty, {"reaper:box:1:aa": server_now(raw)})
        failed = End(1, "default.0.x", JobStatus.FAILED, 1)
        numbers = FireOutcomes(until=2, fires=5, failures=4, open=(FiredJob(2, "default.0.y"),), last=failed)
        raw.hset(KEYS.cron_outcomes, "nightly", encode(numbers.dump()))
        raw.zadd(KEYS.cron_ledger("nightly"), {"1 fired default.0.x 1": 1, "2 fired default.0.y 2": 2})
        raw.zadd(KEYS.dead_ignored, {self.names["group"]: 5})
        raw.zadd(KEYS.dead_regressed, {self.names["group2"]: 5})
        raw.hset(LANE.fired, "nightly", "1700000000000000 default.0.x")
        raw.hset(KEYS.functions, "w.full", function_record(cast(Any, self.registry.get("w.full"))))
        raw.zadd(LANE.gdue, {"2g2": server_now(raw)})
        point = {COMPLETED: 3, FAILED: 1, FIRST_GAUGE: 2, WAIT: {10: 3}, RUN: {20: 3}}
        store_samples(raw, self.fleet, {TOTAL: point, "q:default": point, "f:w.full": point}, ago=60)
        raw.set(LANE.barrier, "1")
        raw.set(LANE.listeners, "1")
        raw.zadd(LANE.wake_of("k"), {"1": 1})
        raw.zadd(KEYS.versions, {"0.1.0": 1_700_000_000_000_000})

        self.tokens = (
            *(f"{name}{n}" for name in ("done", "dead", "held", "grouped", "wait", "later") for n in (1, 2)), "parked",
            "urgent", "again", "brief", "child", "nightly", "weekly", "acme", "gpt", *self.rescues,
            *self.names.values(),
        )  # fmt: skip

    def duty_names(self) -> list[str]:
        """The names of all duties of a reaper with these settings."""
        store = AsyncStore(self.fleet.store.at)
        return [duty.name for duty in self.duties(store)]

    def restore(self) -> None:
        """Give the server its keys back."""
        pipe = self.raw.pipeline(transaction=False)
        pipe.flushdb()
        for key, (value, ttl) in self.copy.items():
            pipe.restore(key, max(3_600_000, ttl) if ttl > 0 else 0, value)
        pipe.execute()
        self.fleet.context.queues.clear()
        self.fleet.context.published = Published()

    def kinds(self) -> dict[str, list[bytes]]:
        """The keys of each row of the key table."""
        found: dict[str, list[bytes]] = {}
        for key in sorted(self.copy):
            found.setdefault(kind_of(key.decode()), []).append(key)
        return found

    def _job(self, name: str, function: str, *args: object, **options: Any) -> Job:
        return Job(name, function, args, id=name, **options)

    @contextmanager
    def _working(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.fleet.run_worker, kwargs={"stop": stop}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)

    def turn_all(self) -> None:
        """Turn every duty once."""

        async def turn() -> None:
            store = AsyncStore(self.fleet.store.at, patience=5)
            for duty in self.duties(store):
                await duty.turn()
                await duty.stop()
            await store.close()

        asyncio.run(turn())

    def duties(self, store: AsyncStore) -> list[Service]:
        """The duties of a reaper."""
        return _duties(store, KEYS, self.fleet.config, self.mute, self.channels)


def kind_of(key: str) -> str:
    """The row of the key table that a key belongs to."""
    is_lane = ":default:" in key.partition("}")[0] or key.count(":", 0, key.index("}")) >= 2
    name = key.partition("}:")[2]
    for row in KEY_TABLE if is_lane else FLEET_KEY_TABLE:
        if re.fullmatch(re.sub(r"<[a-z]+>", ".+", re.escape(row.name).replace(r"\<", "<").replace(r"\>", ">")), name):
            return ("lane " if is_lane else "fleet ") + row.name
    return f"unknown {key}"
