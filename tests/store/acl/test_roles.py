"""Each role does its work as its user, and the server refuses nothing."""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from jobfleet import (
    AsyncFleet,
    Breaker,
    ConfigError,
    Fleet,
    Flow,
    Job,
    JobContext,
    JobStatus,
    Priority,
    RateLimited,
    undo,
)
from jobfleet.archive import JobRepository
from jobfleet.cli.main import main
from jobfleet.config import JobConfig, load
from jobfleet.functions.registry import Registry
from jobfleet.metrics.exporter import Exporter
from jobfleet.metrics.tally import Tally
from jobfleet.notify import JobNotificationManager, Notification, NotificationChannel, NotificationRule
from jobfleet.notify.registry import managers
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.scale import scale, scale_rule
from jobfleet.services.duties.archive import Archive
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.services.duties.dead import Dead, Rescues
from jobfleet.services.duties.leases import Leases
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.retention import Retention
from jobfleet.services.gauges import FleetGauges
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import journal
from jobfleet.store.journal import Journal
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target_of
from tests.store.acl.conftest import As
from tests.support import users
from tests.support.server import RedisServer
from tests.support.users import UrlOf, denials
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
KEYS = Keyspace("jobfleet")


def settings(url: str, **options: Any) -> JobConfig:
    """The settings of a program, with those of the environment."""
    return load({"url": url, **options}).config


@undo
def add(x: int, y: int) -> int:
    return x + y


def fail(message: str) -> None:
    raise ValueError(message)


async def busy(ctx: JobContext) -> str:
    await ctx.step("once", add, 1, 2, undo=add)
    await ctx.sleep(0)
    await ctx.emit("some output")
    ctx.progress(0.5, "half")
    ctx.log.info("a line")
    async with ctx.lock("place", limit=1):
        if ctx.attempt == 1:
            raise ConnectionError("again")
    return "done"


async def endless() -> None:
    await asyncio.Event().wait()


def refused() -> None:
    raise RateLimited(3600, limit="another")


def many(values: list[int]) -> list[int]:
    return [2 * value for value in values]


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(add, name="app.add", breaker=Breaker(0.5, minimum=1000))
    registry.register(fail, name="app.fail", max_retries=0)
    registry.register(busy, name="app.busy", retry_delay=0)
    registry.register(endless, name="app.endless")
    registry.register(many, name="app.many", batch=10, batch_wait=0.01)
    registry.register(add, name="app.limited", limits=["api"], breaker=Breaker(0.5))
    registry.register(refused, name="app.refused", limits=["api"])
    return registry


@pytest.fixture
def notified() -> Iterator[list[str]]:
    """What the program's channel has sent."""
    sent: list[str] = []

    class Recording(NotificationChannel):
        name = "recording"

        def send(self, notification: Notification) -> None:
            sent.append(str(notification))

    manager = JobNotificationManager()
    manager.add_channel(Recording())
    manager.add_rule(NotificationRule(channel="recording", events=("failed",), window=0))
    yield sent
    managers.remove(manager)


@contextmanager
def working(url: str, registry: Registry, *, with_reaper: bool = False, **settings: Any) -> Iterator[None]:
    """A worker as its user, while the block runs."""
    stop = threading.Event()
    options = {"stop": stop, "queues": ("default", "bulk"), "with_reaper": with_reaper}
    with Fleet(url, registry=registry, **settings) as fleet:
        thread = threading.Thread(target=fleet.run_worker, kwargs=options)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)


def produce(fleet: Fleet) -> dict[str, str]:
    """Enqueue, cancel and look in every way; return some of the jobs."""
    busy = Job("Busy", "app.busy", tags=["t"], group="g", unique="u", user="ann")
    first = fleet.enqueue(busy)
    assert fleet.enqueue(busy) == first
    assert fleet.enqueue(Job("Other", "app.add", (1, 1), delay=9, unique="u2", on_conflict="debounce"))
    assert fleet.enqueue(Job("Other", "app.add", (1, 2), delay=9, unique="u2", on_conflict="debounce"))
    flow = Flow("Both")
    flow.chain(Job("Parent", "app.add", (3, 4)), Job("Child", "app.add", (5, 6)))
    fleet.flows.enqueue(flow)
    after = fleet.enqueue(
        Job("After", "app.add", (1, 1), depends_on=[first], on_success=Job("Next", "app.add", (9, 9)))
    )
    many = [one.id for one in fleet.enqueue_many(Job("Many", "app.many", (n,), queue="bulk") for n in range(60))]
    dead = fleet.enqueue(Job("Fail", "app.fail", ("no",), priority=Priority.HIGH))
    fleet.enqueue(Job("Refused", "app.refused"))
    limited = [fleet.enqueue(Job("Limited", "app.limited", (n, n))) for n in range(3)]
    fleet.enqueue(Job("First", "app.add", (1, 1), group="strict", order="strict"))
    return {
        "busy": first, "flow": flow.id, "after": after, "many": many[-1], "dead": dead, "limited": limited[-1],
    }  # fmt: skip


def cancel(fleet: Fleet) -> None:
    """Cancel a waiting job and a running one, and replace the holder of a unique key."""
    assert fleet.cancel(fleet.enqueue(Job("Later", "app.add", (1, 1), delay=3600, tags=["t"])))
    assert fleet.enqueue(Job("Other", "app.add", (1, 1), delay=9, unique="u3"))
    assert fleet.enqueue(Job("Other", "app.add", (1, 2), delay=9, unique="u3", on_conflict="replace"))
    endless = fleet.enqueue(Job("Endless", "app.endless"))
    wait_until(lambda: fleet.poll(endless).status is JobStatus.RUNNING, why="it runs")
    assert fleet.cancel(endless)
    assert fleet.wait(endless, timeout=60).status is JobStatus.CANCELLED


def test_a_producer_enqueues_and_waits_for_what_a_worker_runs_and_a_canceller_cancels(
    url_of: UrlOf, registry: Registry, admin: redis.Redis
) -> None:
    with Fleet(url_of("operator"), registry=registry) as fleet:
        fleet.enqueue(Job("First", "app.add", (1, 1)))
        fleet.limits.set("default", concurrency=5)
        fleet.limits.set("default", group="g", concurrency=1, rate="100/s")
        fleet.limits.named("api", concurrency=1)
    with Fleet(url_of("producer"), registry=registry, patience=5) as fleet:
        jobs = produce(fleet)
        with Fleet(url_of("approver"), registry=registry) as approver:
            assert approver.signal(jobs["limited"], "approved")
            assert approver.poll(jobs["limited"]).status is JobStatus.QUEUED
        with working(url_of("worker"), registry):
            assert fleet.flows.wait(jobs.pop("flow"), timeout=60).is_done
            ended = {name: fleet.wait(job_id, timeout=60).status for name, job_id in jobs.items()}
            assert [line.text for line in fleet.logs(jobs["busy"])] == ["a line"] * 2
            assert [fleet.details(job_id).job.status for job_id in jobs.values()] == list(ended.values())
            with Fleet(url_of("canceller"), registry=registry) as canceller:
                cancel(canceller)

    assert ended == {
        "busy": JobStatus.COMPLETED, "after": JobStatus.COMPLETED, "many": JobStatus.COMPLETED,
        "dead": JobStatus.FAILED, "limited": JobStatus.COMPLETED,
    }  # fmt: skip
    assert denials(admin) == []


async def test_a_producer_leaves_to_others_what_it_may_not_do(
    url_of: UrlOf, registry: Registry, admin: redis.Redis
) -> None:
    """A job whose parent was cancelled, and the readers of a new lane's journal."""
    async with AsyncFleet(url_of("canceller"), registry=registry) as fleet:
        parent = await fleet.enqueue(Job("Parent", "app.add", (1, 1), delay=3600))
        assert await fleet.cancel(parent)
    reaper = AsyncStore(target_of(settings(url_of("reaper"))))
    await reaper.run(journal.enlist(KEYS, "archive", most=100))
    async with AsyncFleet(url_of("producer"), registry=registry) as fleet:
        child = await fleet.enqueue(Job("Child", "app.add", (1, 1), depends_on=[parent], queue="fresh"))
        assert (await fleet.poll(child)).status is JobStatus.BLOCKED
    assert {line.split(" ")[0] for line in denials(admin)} == {"producer:"}

    await Journal(reaper, KEYS, group="archive", consumer="one", most=100, longest=1).register()
    await Relay(reaper, KEYS, settings(url_of("reaper")), Tally()).turn()
    await reaper.close()
    async with AsyncFleet(url_of("producer"), registry=registry) as fleet:
        assert (await fleet.poll(child)).status is JobStatus.CANCELLED
    assert admin.hget(KEYS.lane("fresh", 0).conf, "journal") == "100"
    assert denials(admin) == []


async def test_a_reaper_does_all_duties_and_an_exporter_reads_the_metrics(
    url_of: UrlOf, registry: Registry, admin: redis.Redis, tmp_path: Path
) -> None:
    def fill() -> None:
        with Fleet(url_of("operator"), registry=registry) as fleet:
            fleet.cron.add("often", "* * * * * *", Job("Often", "app.add", (1, 1)))
            run_all(fleet, registry, url_of)
            fleet.enqueue(Job("Short", "app.add", (1, 1), expires_in=0.001))

    await asyncio.to_thread(fill)
    config = settings(url_of("reaper"), archive_url=f"sqlite:///{tmp_path}/jobs.db", result_ttl=0.001, dead_ttl=0.001)
    store = AsyncStore(target_of(config))
    tally = Tally()
    duties = [
        Leases(store, KEYS, config, tally), CronDuty(store, config, tally), Relay(store, KEYS, config, tally),
        Dead(store, KEYS, config, tally), Rescues(store, KEYS, config, tally),
        Retention(store, KEYS, config, tally), Archive(store, KEYS, config, tally),
    ]  # fmt: skip
    async with AsyncFleet(url_of("operator")) as fleet:
        for group in await fleet.dead_groups():
            await fleet.rescue(group.fingerprint)
        for duty in (*duties[3:5], *duties[3:5], *duties, *duties):
            await duty.turn()
        await duties[-1].stop()
        assert [rescue.replayed for rescue in await fleet.rescues()] == [1]
        for rescue in await fleet.rescues():
            await (await fleet.rescue_of(rescue.id)).undo()
        queue = (await fleet.queues())[0].name
    await drive(store, scale(FleetContext(config), queue, scale_rule()))  # what it answers to an autoscaler
    await store.close()

    exporter = AsyncStore(target_of(settings(url_of("exporter"))))
    await FleetGauges(exporter, config, Exporter(CollectorRegistry())).read()
    await exporter.close()

    assert denials(admin) == []


async def test_a_worker_does_the_duties_of_a_fleet_without_a_reaper(
    url_of: UrlOf, registry: Registry, admin: redis.Redis
) -> None:
    def fill() -> None:
        with Fleet(url_of("operator"), registry=registry) as fleet:
            fleet.cron.add("often", "* * * * * *", Job("Often", "app.add", (1, 1)))
            run_all(fleet, registry, url_of)

    await asyncio.to_thread(fill)
    config = settings(url_of("worker"))
    store = AsyncStore(target_of(config))
    tally = Tally()
    duties = [Leases(store, KEYS, config, tally), CronDuty(store, config, tally), Relay(store, KEYS, config, tally)]
    for duty in (*duties, *duties):
        await duty.turn()
    await store.close()

    assert denials(admin) == []


def test_a_host_is_a_worker_and_has_the_duties_of_a_reaper(
    url_of: UrlOf, registry: Registry, admin: redis.Redis, tmp_path: Path, notified: list[str]
) -> None:
    archive = f"sqlite:///{tmp_path}/jobs.db"
    with Fleet(url_of("operator"), registry=registry) as fleet:
        jobs = produce(fleet)
        fleet.cron.add("often", "* * * * * *", Job("Often", "app.add", (1, 1)))
        with working(url_of("host"), registry, with_reaper=True, archive_url=archive):
            flow = fleet.flows.wait(jobs.pop("flow"), timeout=60)
            ended = {name: fleet.wait(job_id, timeout=60).status.value for name, job_id in jobs.items()}
            wait_until(lambda: fleet.cron.history("often"), why="the recurring job is enqueued")
            with JobRepository(archive) as archived:
                fails = Job("Fail", "app.fail", ("no",))  # a channel and an archive see what ends after they begin
                wait_until(lambda: fleet.wait(fleet.enqueue(fails), timeout=60) and notified, why="it is notified")
                wait_until(lambda: archived.search(function="app.fail"), why="the job is archived")

    assert flow.is_done
    assert ended == {
        "busy": "completed", "after": "completed", "many": "completed", "dead": "failed", "limited": "completed",
    }  # fmt: skip
    assert denials(admin) == []


def run_all(fleet: Fleet, registry: Registry, url_of: UrlOf) -> None:
    """Leave what a fleet leaves: ended jobs, dead letters, waiting ones."""
    produce(fleet)
    with Fleet(url_of("worker"), registry=registry) as worker:
        worker.run_worker(burst=True)


def test_an_exporter_reads_no_argument(url_of: UrlOf, registry: Registry, admin: redis.Redis, as_role: As) -> None:
    """It tries every command that reads on every key."""
    with Fleet(url_of("operator"), registry=registry) as fleet:
        secret = Job("Secret", "app.fail", ("my-secret",))
        fleet.cron.add("often", "@daily", secret)
        run_all(fleet, registry, url_of)
        for options in ({}, {"delay": 3600}, {"queue": "bulk", "unique": "u9"}):
            fleet.enqueue(Job("Secret", "app.fail", ("my-secret",), **options))
        with Fleet(url_of("worker"), registry=registry) as worker:
            worker.run_worker(burst=True, queues=("default",))
        fleet.dead_groups()
    asked: Any = as_role("exporter").execute_command
    every: Any = admin.keys("*")

    seen = {str(answer) for key in every for words in READS if (answer := heard(asked, [words[0], key, *words[1:]]))}

    assert [text for text in seen if "my-secret" in text] == []
    assert any("ready" not in text and "default" in text for text in seen)  # it does read something


READS = [line.strip().split(" ") for line in """
    GET|GETRANGE 0 -1|STRLEN|HGETALL|HVALS|HSCAN 0|LRANGE 0 -1|ZRANGE 0 -1|XRANGE - +|XREVRANGE + -|DUMP|MGET|TYPE
    EXISTS|HRANDFIELD 9 WITHVALUES|ZREVRANGE 0 -1|SMEMBERS|GETEX
""".strip().replace("\n", "|").split("|")]  # fmt: skip


def heard(execute: Any, words: list[str]) -> Any:
    """The reply to a command; None if the server refuses it."""
    try:
        return execute(*words)
    except redis.ResponseError:
        return None


OPERATED = """
queues pause default | queues resume default | queues ls | limits set default --concurrency 3 | limits ls
limits named api --concurrency 2 | limits named | limits close api | limits open api | breakers ls | groups ls
breakers open function:app.add | breakers close function:app.add
workers ls | jobs | dead ls | dead ls --tag none | dead groups | dead rescues
dead show DEAD | dead replay DEAD --yes | top --once | cron ls
status DEAD | explain DEAD | reschedule LATER --delay 2h | move LATER --to bulk --yes | cancel TAGGED
cron add often '@daily' app.add 1 2 | cron pause often | cron resume often | cron history often | cron rm often --yes
archive detach --yes | doctor | flow ls | queues purge bulk --yes | dead purge --all --yes
"""


def test_an_operator_runs_the_commands_and_a_viewer_reads(
    url_of: UrlOf, registry: Registry, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Fleet(url_of("operator"), registry=registry) as fleet:
        fleet.enqueue(Job("Fail", "app.fail", ("too",)))
        run_all(fleet, registry, url_of)
        dead, _ = fleet.dead()
        later = fleet.enqueue(Job("Later", "app.add", (1, 1), delay=3600))
        tagged = fleet.enqueue(Job("Tagged", "app.add", (1, 1), delay=3600, tags=["t"]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBFLEET_URL", url_of("operator"))
    names = {"DEAD": dead.id, "LATER": later, "TAGGED": tagged}
    for line in OPERATED.replace("|", "\n").strip().splitlines():
        words = [names.get(word, word) for word in shlex.split(line)]
        result = CliRunner().invoke(main, words, prog_name="jobfleet")
        assert result.exit_code == 0, f"{line}: {result.output}"

    with Fleet(url_of("web"), registry=registry) as fleet:
        assert all([fleet.statistics(), fleet.jobs(limit=5).jobs, fleet.queues(), fleet.doctor().findings])
        fleet.explain(later)
        with pytest.raises(ConfigError, match="refuses"):
            fleet.cancel(later)
        (refused,) = denials(admin)
    assert refused.startswith("web: ")


@pytest.mark.filterwarnings("ignore:The server took:UserWarning")  # a disk may be slow
def test_roles_may_wait_for_confirmations(registry: Registry) -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        users.create(server.client())
        registry.register(add, name="app.durable", durability="fsync")
        with Fleet(users.url_as(server.url, "producer"), registry=registry) as fleet:
            receipt = fleet.submit(Job("Sum", "app.durable", (1, 2)))
            assert receipt.durability == "fsync"
            with working(users.url_as(server.url, "worker"), registry):
                assert fleet.wait(receipt.id, timeout=60).result == 3

        assert denials(server.client()) == []
