"""Which payload store a worker reports: it may look before the first process writes to the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from jobfleet import Fleet, Job
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.operations.doctor.findings import Finding, Level
from jobfleet.payloads.payloads import IDENTITY
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from jobfleet.worker.supervisor.heartbeat import Heartbeat
from tests.support.waiting import await_until

KEYS = Keyspace("jobfleet")


def repeated(text: bytes) -> bytes:
    return text * 2


async def test_a_worker_that_looked_before_the_first_write_is_no_fault(
    redis_url: str, registry: Registry, tmp_path: Path
) -> None:
    ours, empty = (tmp_path / name for name in ("ours", "empty"))
    for folder in (ours, empty):
        folder.mkdir()
    store = AsyncStore(target(redis_url))
    right, wrong = (
        Heartbeat(store, KEYS, JobConfig(url=redis_url, payload_store=folder.as_uri()), f"worker:{n}:a")
        for n, folder in enumerate((ours, empty))
    )

    async def are_seen(by_right: str, by_wrong: str) -> bool:
        for heart in (right, wrong):
            await heart.beat(queues=(), slots=1, running=0, children=1, state="running", processes=())
        found = {one.id: one.payloads for one in (await asyncio.to_thread(fleet.workers))}
        return found == {"worker:0:a": by_right, "worker:1:a": by_wrong}

    async def payloads() -> Finding:
        found = await asyncio.to_thread(fleet.doctor)
        return next(one for one in found.findings if one.check == "payloads")

    with Fleet(redis_url, registry=registry, payload_store=ours.as_uri(), payload_threshold=1024) as fleet:
        registry.register(repeated, name="app.repeated", fleet=fleet)
        await await_until(lambda: are_seen("empty", "empty"))
        await asyncio.to_thread(fleet.enqueue, Job("large", "app.repeated", (b"x" * 5000,)))
        assert (await payloads()).level is Level.OK, "they have not looked since"
        await await_until(lambda: are_seen((ours / IDENTITY).read_text(), "unmounted"))
        finding = await payloads()
        assert (finding.level, finding.seen.endswith("or an empty one: worker:1:a.")) == (Level.FAULT, True)
    await store.close()
