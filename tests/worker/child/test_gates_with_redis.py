"""The gates of a child, with Redis: places of runs that pass twice, and of runs that have died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from jobfleet.functions.limiting import Breaker, Gates, Limit
from jobfleet.model.limits import Demand
from jobfleet.outcome import Refused
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import limits
from jobfleet.store.calls.limits import Leaving
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from jobfleet.worker.child.gates import ChildGates
from tests.worker.child.test_gates import run_of

KEYS = Keyspace("jf-gates")
LANE = KEYS.lane("mail", 0)
LIMIT = "limit:x"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(target(redis_url))
    yield store
    await store.close()


def made(store: AsyncStore) -> ChildGates:
    ladder: Any = None
    return ChildGates(store, KEYS, child="c", slots=200, ladder=ladder)


def handler_of(gates: Gates) -> Any:
    return SimpleNamespace(function=SimpleNamespace(name="f", gates=gates, parameters=()))


async def test_a_run_that_passes_again_keeps_its_place_although_many_runs_leave(
    store: AsyncStore, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.run(limits.define_limit(KEYS, LIMIT, most=200, count=1_000_000, period_us=1_000_000, rate="1000000/1s"))
    gates = made(store)
    in_time, hand_out = limits.RUN_IN_US, gates._trips._passed
    monkeypatch.setattr(limits, "RUN_IN_US", 1e-9)  # the first answers come too late
    old = [Leaving(f"1 0 mail.0.old{n}", (Demand(LIMIT),), "ok", "", 0) for n in range(60)]

    def late(asked: Any, answer: Any) -> None:
        hand_out(asked, answer)
        while old:  # these runs end in the same turn of the event loop
            gates._trips.leave(old.pop())
            asyncio.get_running_loop().call_later(0, setattr, limits, "RUN_IN_US", in_time * 1e9)

    monkeypatch.setattr(gates._trips, "_passed", late)
    handler = handler_of(Gates((Limit("x"),)))

    outcomes = await asyncio.gather(*(gates.passed(run_of(f"r{n}"), handler, (), {}) for n in range(45)))

    await gates.close()
    assert outcomes == [None] * 45
    assert raw.zcard(KEYS.inside(LIMIT)) == 45


async def test_the_place_of_a_dead_run_is_freed_behind_a_thousand_older_runs(
    store: AsyncStore, raw: redis.Redis
) -> None:
    await store.run(limits.define_limit(KEYS, LIMIT, most=1002))
    ids = [f"{LANE.id_prefix}live{n}" for n in range(1001)]
    raw.hset(LANE.runs, mapping=dict.fromkeys(ids, "7|2|0|c|"))
    raw.zadd(KEYS.inside(LIMIT), {f"7 0 {job_id}": 1000 + n for n, job_id in enumerate(ids)})
    raw.zadd(KEYS.inside(LIMIT), {f"7 0 {LANE.id_prefix}dead": 9000})
    gates = made(store)

    for _ in range(2):  # as a child that waits does each second
        await gates._ask_for_room([LIMIT])

    await gates.close()
    assert raw.zcard(KEYS.inside(LIMIT)) == 1001


async def test_a_trial_of_a_groups_breaker_whose_process_has_died_counts_as_failed(
    store: AsyncStore, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    gate = "breaker:group:mail:acme"
    raw.hset(KEYS.gate(gate), mapping={"state": "half", "ok": "0", "until": "0"})
    raw.zadd(KEYS.inside(gate), {f"7 0 {LANE.id_prefix}dead": 9000})
    gates, run = made(store), run_of("a")
    run.grant.meta = "g acme"
    handler = handler_of(Gates((), Breaker(0.5, half_open=1, per="group")))

    assert isinstance(await gates.passed(run, handler, (), {}), Refused)
    await gates._ask_for_room([gate])
    await gates.close()

    assert raw.hmget(KEYS.gate(gate), "state", "why") == [
        b"open", b"a run of its trial failed: the death of its process",
    ]  # fmt: skip
    assert raw.exists(KEYS.inside(gate)) == 0
    assert not [line for line in caplog.messages if line.startswith("limit.undefined")]
