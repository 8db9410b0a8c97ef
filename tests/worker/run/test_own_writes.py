"""A job that exists may always go on: what its run writes for itself is not refused, and is not charged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, FleetFull, Flow, Job, JobContext, JobStatus, StoreUnavailable
from jobfleet import undo as declared
from jobfleet.functions.registry import Registry
from jobfleet.store.call import Call
from jobfleet.store.script import load
from tests.support.replicated import ReplicatedServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []
BEGIN: list[Callable[[], object]] = []
"""What happens when a job has begun."""


@pytest.fixture(autouse=True)
def clear() -> None:
    RAN.clear()
    BEGIN.clear()


@pytest.fixture(scope="module")
def group() -> Iterator[ReplicatedServer]:
    with ReplicatedServer() as group:
        yield group


@pytest.fixture
def servers(group: ReplicatedServer) -> Iterator[ReplicatedServer]:
    group.primary.flush()
    group.await_replicas(1)
    yield group
    group.raw.config_set("maxmemory", 0)
    group.replica.resume()
    group.link.pass_all()


def begin() -> None:
    if BEGIN:
        BEGIN.pop()()


def do(what: str) -> None:
    RAN.append(f"do {what}")


@declared
def undo(what: str) -> None:
    RAN.append(f"undo {what}")


async def saga(ctx: JobContext) -> None:
    await asyncio.to_thread(begin)
    await ctx.step("pay", do, "pay", undo=undo)
    raise ValueError("too late")


def saga_in_a_thread(ctx: JobContext) -> None:
    begin()
    ctx.step_sync("pay", do, "pay", undo=undo)
    raise ValueError("too late")


async def grow(ctx: JobContext, size: int = 0) -> None:
    await asyncio.to_thread(begin)
    flow = Flow("more")
    flow.chain(Job("left", "test.do", ("left" + " " * size,)), Job("right", "test.do", ("right",)))
    await ctx.flow.add(flow, join=True)
    await ctx.flow.add(Job("grouped", "test.do", ("grouped",), group="a"))


@contextmanager
def a_fleet(url: str, registry: Registry, **settings: Any) -> Iterator[Fleet]:
    with Fleet(url, registry=registry, lease=6, retry_delay=0.05, patience=5, **settings) as fleet:
        functions: dict[str, Callable[..., Any]] = {"saga": saga, "thread": saga_in_a_thread, "grow": grow}
        for name, function in {**functions, "do": do, "undo": undo}.items():
            registry.register(function, name=f"test.{name}", fleet=fleet, max_retries=0)
        yield fleet


def memory_is_full(servers: ReplicatedServer, fleet: Fleet) -> None:
    servers.raw.config_set("maxmemory", 1)
    with pytest.raises(FleetFull):
        fleet.enqueue(Job("refused", "test.do", ("nothing",)))


def replica_is_away(servers: ReplicatedServer, fleet: Fleet) -> None:
    servers.link.hold("up", "down")
    servers.link.cut()
    servers.await_replicas(0)
    fleet.context.facts.clear()
    with pytest.raises(StoreUnavailable, match="replicated"):
        fleet.enqueue(Job("refused", "test.do", ("nothing",)))


def replica_is_frozen(servers: ReplicatedServer, _: Fleet) -> None:
    servers.replica.pause()


def come_back(servers: ReplicatedServer) -> None:
    servers.replica.resume()
    servers.link.pass_all()


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("thread", memory_is_full), ("saga", memory_is_full), ("saga", replica_is_away), ("saga", replica_is_frozen),
        ("grow", memory_is_full), ("grow", replica_is_away), ("grow", replica_is_frozen),
    ],
)  # fmt: skip
def test_a_run_continues_while_new_jobs_are_refused(
    servers: ReplicatedServer, registry: Registry, name: str, trouble: Callable[[ReplicatedServer, Fleet], None]
) -> None:
    level = {} if trouble is memory_is_full else {"durability": "replicated", "durability_timeout": 0.2}
    with a_fleet(servers.url, registry, **level) as fleet:
        if name == "grow":
            flow = Flow("growing")
            flow.chain(Job("grow", "test.grow"), Job("total", "test.do", ("total",)))
            (job_id, *_) = [job.id for job in fleet.flows.get(fleet.flows.enqueue(flow).id).jobs]
            done = {"do left", "do right", "do grouped", "do total"}
        else:
            job_id = fleet.enqueue(Job("saga", f"test.{name}"))
            done = {"do pay", "undo pay"}
        # A durable step waits until it is confirmed, so the replica comes back while the run goes on.
        back = threading.Timer(1.0, come_back, (servers,))

        def begin() -> None:
            trouble(servers, fleet)
            back.start()

        BEGIN.append(begin)

        def ended() -> bool:
            fleet.run_worker(burst=True)
            return set(RAN) >= done

        wait_until(ended, timeout=30, why=f"{done} have run")
        back.join()
        end = fleet.poll(job_id)

    assert sorted(RAN) == sorted(done)
    assert (end.status, end.attempt, end.retry_count) == (
        JobStatus.COMPLETED if name == "grow" else JobStatus.FAILED,
        1,
        0,
    )
    assert name == "grow" or end.error == "too late"


def test_a_run_whose_jobs_cannot_be_written_is_put_back_and_not_charged(
    redis_url: str, registry: Registry, tmp_path: Path
) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    store.mkdir()
    starts: list[str] = []

    def take_away() -> None:
        starts.append("without the store")
        store.rename(away)
        store.touch()
        BEGIN.append(bring_back)

    def bring_back() -> None:
        starts.append("with the store")
        store.unlink()
        away.rename(store)

    with a_fleet(redis_url, registry, payload_store=store.as_uri(), payload_threshold=10_000) as fleet:
        flow = Flow("growing")
        flow.chain(Job("grow", "test.grow", (20_000,)), Job("total", "test.do", ("total",)))
        (job_id, *_) = [job.id for job in fleet.flows.get(fleet.flows.enqueue(flow).id).jobs]
        BEGIN.append(take_away)

        def ended() -> bool:
            fleet.run_worker(burst=True)
            return fleet.poll(job_id).status.is_final

        wait_until(ended, timeout=30, why="the job has ended")
        end = fleet.poll(job_id)

    assert starts == ["without the store", "with the store"]
    assert (end.status, end.attempt, end.retry_count) == (JobStatus.COMPLETED, 1, 0)


def test_a_call_is_exempt_in_one_form_only() -> None:
    plain: Call[Any] = Call(
        load("block"), ("k",), (), lambda _: None, instead=lambda: Call(load("enqueue"), ("k",), (), str)
    )

    exempt = plain.exempt()

    assert exempt.script.source == b"#!lua flags=allow-oom\n" + plain.script.plain
    assert exempt.instead is not None
    assert exempt.instead().script.source.startswith(b"#!lua flags=allow-oom\n")
    assert exempt.exempt().script is exempt.script
    assert Call(load("steps"), ("k",), (), str).exempt().script == load("steps")
