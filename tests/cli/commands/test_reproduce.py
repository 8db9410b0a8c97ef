"""`jobfleet reproduce`: the code of a job runs here, and Redis stays as it is, byte for byte."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import insert

from jobfleet import After, Fleet, Job
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.archive.models import JobModel
from jobfleet.codec import encode
from jobfleet.functions.registry import REGISTRY
from jobfleet.store.calls.run import keep
from jobfleet.store.trip import WriteRefused, refuse_writes
from tests.cli.hand import Cli, Hand, Shell
from tests.support.state import exact

MODULE = """
import asyncio
from dataclasses import dataclass
from typing import Annotated

from jobfleet import Discard, Fleet, Flow, Job, JobContext, Resource, Snooze, hooks, job
from jobfleet.fleet.default import default_fleet


@dataclass
class Order:
    number: int


async def open_pool():
    return "pool"


@hooks.around(functions=["shop_jobs.whole"])
async def around(ctx, call_next):
    ctx.log.info("around")
    return await call_next()


@job
async def whole(ctx: JobContext, n: int, pool: Annotated[str, Resource(open_pool)]):
    charged = await ctx.step("charge", lambda: "charged again")
    again = await ctx.checkpoint("row", default=0)
    await ctx.checkpoint("row", again + 1)
    ctx.progress(0.5, "half", {"charged": charged})
    ctx.log.info("attempt %d of %s", ctx.attempt, ctx.job_id)
    ctx.extend(5)
    async with ctx.lock("crm"):
        await simple.aenqueue(3)
    raise ConnectionError(f"no mail server for {n} in {pool}")


@job
def simple(n: int) -> dict:
    follow = whole.enqueue(n + 1)
    return {"n": n, "follow": str(follow)[:9]}


@job(version=2, upcast={1: lambda args, kwargs: ((args[0] * 100,), kwargs)})
def versioned(cents: int) -> int:
    return cents


@job(batch=10)
def batched(values: list[int]) -> list[int]:
    return [value * 2 for value in values]


@job(batch=10)
def orders(values: list[Order]) -> list[Order]:
    return [Order(value.number * 2) for value in values]


@job
def many() -> list:
    fleet = default_fleet()
    receipts = list(fleet.enqueue_many([simple.job(1), versioned.job(1, "too many")], chunk=1))
    flow = Flow("night")
    first = flow.add(simple.job(1))
    flow.add(whole.job(2), after=first)
    info = fleet.flows.enqueue(flow)
    values = list(fleet.map(simple, [1, 2], return_exceptions=True))
    names = [[one.name.partition(".")[2], list(one.parents)] for one in info.jobs]
    return [[type(one.error).__name__ for one in receipts], names, [type(value).__name__ for value in values]]


@job
async def many_awaited() -> list:
    fleet = default_fleet().for_running_loop()
    receipts = [await fleet.enqueue_many([simple.job(1)]), [one async for one in fleet.enqueue_many([simple.job(2)])]]
    flow = Flow("night")
    flow.add(simple.job(3))
    info = await fleet.flows.enqueue(flow)
    values = [value async for value in fleet.map(simple, [4], return_exceptions=True)]
    return [[one[0].created for one in receipts], len(info.jobs), [type(value).__name__ for value in values]]


@job
def writes(url: str) -> None:
    with Fleet(url) as fleet:
        fleet.enqueue(simple.job(1))


@job
def snoozes() -> None:
    raise Snooze(60)


@job
def unencodable() -> object:
    return object()


@job
def after_parents(ctx: JobContext) -> list:
    return [parent.result for parent in ctx.parents.values()]


@job(run_in="process")
def isolated(n: int) -> int:
    return n + 1


def undecorated() -> None:
    pass
"""


KNOWN = (
    "whole", "simple", "versioned", "batched", "orders", "many", "many_awaited", "writes", "snoozes", "unencodable",
    "after_parents", "isolated",
)  # fmt: skip


@pytest.fixture(autouse=True)
def module(here: Path, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module with jobs, in the current folder; this process forgets it afterwards."""
    others = ("demo.add", "elsewhere.jobs.send", "json.dumps", "shop_jobs.undecorated")
    hand.knows(*others, *(f"shop_jobs.{name}" for name in KNOWN))
    (here / "shop_jobs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(here))
    level, hooks = logging.getLogger("jobfleet.job").level, [list(kind) for kind in REGISTRY.hooks.of_runs]
    yield
    sys.modules.pop("shop_jobs", None)
    logging.getLogger("jobfleet.job").setLevel(level)
    for name in [name for name in REGISTRY.functions if name.startswith("shop_jobs.")]:
        del REGISTRY.functions[name]
    for kind, before in zip(REGISTRY.hooks.of_runs, hooks, strict=True):
        kind[:] = before


def dead(hand: Hand, name: str, *args: Any, **options: Any) -> str:
    """A job that has failed for good."""
    job_id = hand.fleet.enqueue(Job(name, name, args, **options))
    grant = hand.claims(job_id)
    lane = hand.fleet.context.keys.lane_of(job_id)
    hand.run(keep(lane, job_id, grant.token, ttl_ms=60_000, step="s:charge", record=encode("charged before")))
    hand.run(keep(lane, job_id, grant.token, ttl_ms=60_000, step="c:row", record=encode(41)))
    hand.fails(grant)
    return job_id


def test_a_dead_job_raises_again_and_redis_stays_as_it_is(
    cli: Cli, hand: Hand, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = dead(hand, "shop_jobs.whole", 7)
    before = exact(raw, 0)

    done = cli("reproduce", job_id)

    assert exact(raw, 0) == before
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert lines[0] == f"Running shop_jobs.whole of {job_id} here; nothing is written to Redis."
    assert lines[1] == "Stored by earlier runs: checkpoint 'row', step 'charge'."
    assert lines[2] == "checkpoint 'row' has run here; its value is not stored"
    assert lines[3] == 'progress 50% half {"charged": "charged before"}'
    assert lines[4] == "simulated: time limits extended by 5 s"
    assert lines[5] == "simulated: lock 'crm' taken, although others may hold it"
    assert lines[6].startswith("simulated: shop_jobs.simple enqueued as default.0.")
    assert lines[7] == "Traceback (most recent call last):"
    assert lines[-1] == "ConnectionError: no mail server for 7 in pool"
    assert [record.message for record in caplog.records if record.name.startswith("jobfleet.job")] == [
        "around",
        f"attempt 1 of {job_id}",
    ]


def test_the_debugger_opens_where_the_job_raised(
    shell: Shell, hand: Hand, raw: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBFLEET_URL", redis_url)
    job_id = dead(hand, "shop_jobs.whole", 7)
    before = exact(raw, 0)

    done = shell("reproduce", job_id, "--pdb", input="p charged\nq\n")

    assert "(Pdb) 'charged before'" in done.stdout
    assert (done.returncode, exact(raw, 0)) == (1, before)


def test_a_waiting_job_that_returns_ends_with_zero(cli: Cli, fleet: Fleet, raw: redis.Redis) -> None:
    job_id = fleet.enqueue(Job("x", "shop_jobs.simple", (5,), delay=3600))
    before = exact(raw, 0)

    done = cli("reproduce", job_id)

    assert (done.exit_code, done.stdout) == (0, '{"n": 5, "follow": "default.0"}\n')
    assert "simulated: shop_jobs.whole enqueued as default.0." in done.stderr
    assert exact(raw, 0) == before


@pytest.mark.parametrize(
    ("name", "args", "shown"),
    [
        ("versioned", (3,), "300"),
        ("batched", (4,), "8"),
        ("orders", ({"number": 4},), '{"number": 8}'),
        ("isolated", (1,), "2"),
        ("snoozes", (), ""),
    ],
)
def test_every_kind_of_function_runs(cli: Cli, hand: Hand, name: str, args: tuple[Any, ...], shown: str) -> None:
    job_id = dead(hand, f"shop_jobs.{name}", *args)

    done = cli("reproduce", job_id)

    assert (done.exit_code, done.stdout.strip()) == (0, shown), done.stderr
    assert ("snoozes for 60 s" in done.stderr) == (name == "snoozes")


def test_enqueues_of_many_jobs_are_simulated(cli: Cli, hand: Hand, raw: redis.Redis) -> None:
    blocking, awaited = dead(hand, "shop_jobs.many"), dead(hand, "shop_jobs.many_awaited")
    before = exact(raw, 0)

    answers = [cli("reproduce", job_id) for job_id in (blocking, awaited)]

    assert [(one.exit_code, one.stdout) for one in answers] == [
        (0, '[["NoneType", "InvalidJob"], [["simple", []], ["whole", [0]]], ["JobNotFound", "JobNotFound"]]\n'),
        (0, '[[true, true], 1, ["JobNotFound"]]\n'),
    ], [one.stderr for one in answers]
    simulated = [
        [line.split(" enqueued")[0] for line in one.stderr.splitlines() if "simulated" in line] for one in answers
    ]
    assert simulated == [
        [f"simulated: shop_jobs.{name}" for name in ("simple", "simple", "whole", "simple", "simple")],
        ["simulated: shop_jobs.simple"] * 4,
    ]
    assert exact(raw, 0) == before


def test_damage_is_left_as_it_is(cli: Cli, hand: Hand, raw: redis.Redis) -> None:
    job_id = dead(hand, "shop_jobs.simple", 5)
    raw.set(f"{hand.fleet.context.keys.lane_of(job_id).tag}steps:{job_id}", "not a hash")
    before = exact(raw, 0)

    done = cli("reproduce", job_id)

    assert exact(raw, 0) == before
    assert (done.exit_code, "WRONGTYPE" in done.stderr) == (1, True), done.stderr


def test_results_of_parents_are_there(cli: Cli, hand: Hand, raw: redis.Redis) -> None:
    parent = hand.fleet.enqueue(Job("demo.add", "demo.add"))
    child = hand.fleet.enqueue(Job("x", "shop_jobs.after_parents", depends_on=[After(parent, "wait")]))
    hand.completes(hand.claims(parent), {"sum": 3})
    before = exact(raw, 0)

    done = cli("reproduce", child)

    assert (done.exit_code, done.stdout) == (0, '[{"sum": 3}]\n'), done.stderr
    assert exact(raw, 0) == before


def test_another_fleet_in_the_code_cannot_write_either(cli: Cli, hand: Hand, redis_url: str, raw: redis.Redis) -> None:
    job_id = dead(hand, "shop_jobs.writes", redis_url)
    before = exact(raw, 0)

    done = cli("reproduce", job_id)

    assert done.exit_code == 1
    assert "is refused: 'jobfleet reproduce' writes nothing to Redis. A worker would have done it." in done.stderr
    assert exact(raw, 0) == before


def test_a_result_that_cannot_be_stored_is_a_failure(cli: Cli, hand: Hand) -> None:
    done = cli("reproduce", dead(hand, "shop_jobs.unencodable"))

    assert done.exit_code == 1
    assert "EncodingError: result: object" in done.stderr


def test_what_is_not_here_is_named(cli: Cli, hand: Hand, fleet: Fleet) -> None:
    elsewhere = dead(hand, "elsewhere.jobs.send")
    plain = dead(hand, "shop_jobs.undecorated")
    standard = dead(hand, "json.dumps", {})
    parent = fleet.enqueue(Job("demo.add", "demo.add"))
    hand.completes(hand.claims(parent), 3)

    answers = {name: cli("reproduce", name) for name in (elsewhere, plain, standard, parent, "default.0.nothing")}

    assert [answer.exit_code for answer in answers.values()] == [2, 2, 2, 3, 3]
    assert "No module for 'elsewhere.jobs.send' below '.'" in answers[elsewhere].stderr
    assert "'shop_jobs.undecorated' is a function of this worker's modules, but it is not" in answers[plain].stderr
    assert "No module for 'json.dumps' below '.'" in answers[standard].stderr
    assert "is completed, and its arguments are not stored any more" in answers[parent].stderr


def test_the_name_of_a_job_imports_nothing_from_elsewhere(
    cli: Cli, hand: Hand, here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [tmp_path_factory.mktemp("elsewhere"), here / ".venv" / "site-packages"]
    for number, folder in enumerate(packages):
        (folder / f"strange{number}").mkdir(parents=True)
        (folder / f"strange{number}" / "__init__.py").write_text("")
        (folder / f"strange{number}" / "jobs.py").write_text("")
        monkeypatch.syspath_prepend(str(folder))
    (here / "grouped").mkdir()
    (here / "grouped" / "jobs.py").write_text("from shop_jobs import isolated")
    names = ("strange0.jobs.send", "strange1.jobs.send", "time.sleep", "grouped.jobs.Kind.send")
    hand.knows(*names)
    ids = [dead(hand, name) for name in names]

    answers = [cli("reproduce", job_id) for job_id in ids]

    assert [answer.exit_code for answer in answers] == [2, 2, 2, 2]
    assert ["No module for" in answer.stderr for answer in answers] == [True, True, True, False]
    imported = [name for name in ("strange0", "strange1", "grouped.jobs") if sys.modules.pop(name, None)]
    assert imported == ["grouped.jobs"]


def test_redis_that_is_away_is_reported(cli: Cli) -> None:
    assert cli("--url", "redis://127.0.0.1:1", "reproduce", "default.0.x").exit_code == 4


def test_a_store_that_must_not_write_refuses_and_reads(redis_url: str) -> None:
    refuse_writes("this is a test.")
    try:
        with Fleet(redis_url) as fleet:
            assert fleet.queues() == []
            for enqueue in (fleet.enqueue, lambda job: list(fleet.enqueue_many([job]))):
                fleet.context.remember("default", (1, 1))
                with pytest.raises(WriteRefused, match=r"is refused: this is a test\."):
                    enqueue(Job("x", "demo.add"))
    finally:
        refuse_writes("")
    with Fleet(redis_url) as fleet:
        assert fleet.enqueue(Job("x", "demo.add"))


def test_a_completed_job_runs_with_the_arguments_that_the_archive_has(
    cli: Cli, hand: Hand, raw: redis.Redis, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    init_job_tables(url)
    job_id = hand.fleet.enqueue(Job("x", "shop_jobs.simple", (5,)))
    grant = hand.claims(job_id)
    hand.completes(grant, 3)
    row = {"namespace": "jobfleet", "id": job_id, "seq": 1, "status": "completed", "queue": "default"}
    with JobRepository(url) as archive, archive.engine.begin() as connection:
        connection.execute(insert(JobModel).values(**row, function="shop_jobs.simple", envelope=grant.envelope))
    before = exact(raw, 0)

    done = cli("reproduce", job_id, "--archive-url", url)

    assert (done.exit_code, done.stdout) == (0, '{"n": 5, "follow": "default.0"}\n'), done.stderr
    assert exact(raw, 0) == before
