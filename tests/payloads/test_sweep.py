"""The reaper deletes objects that no job refers to, and no others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.payloads.payloads import Payloads
from jobfleet.services.duties import retention as duty
from jobfleet.services.duties.retention import PayloadSweep
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target_of
from tests.payloads.conftest import LARGE, end_of, objects
from tests.support.fleet import LONG, ROOT, Programs
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

DIES = """
import os, signal, sys
from jobfleet import Fleet, Job
from jobfleet.payloads.store import Folder

put = Folder.put

def put_and_die(self, key, data):
    put(self, key, data)
    if not key.startswith("."):
        os.kill(os.getpid(), signal.SIGKILL)

Folder.put = put_and_die
url, store = sys.argv[1:]
Fleet(url, payload_store=store, payload_threshold=1024).enqueue(Job("dies", "test.repeat", ("x" * 5000,), id="dies"))
"""


def age(root: Path) -> None:
    """Make all objects a week old."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 7 * 86_400))


def swept(fleet: Fleet) -> int:
    """One pass of a duty over the whole store; the number of objects that it deletes."""

    async def run() -> int:
        store = AsyncStore(target_of(fleet.config))
        try:
            sweep = PayloadSweep(store, fleet.context.keys, fleet.config)
            gone = await sweep.turn()
            while sweep._shard:
                gone += await sweep.turn()
            return gone
        finally:
            await store.close()

    return asyncio.run(run())


def test_a_kill_between_put_and_enqueue_leaves_debris_that_the_reaper_removes(
    fleet: Fleet, redis_url: str, root: Path, programs: Programs, settings: dict[str, Any]
) -> None:
    waiting = fleet.enqueue(Job("waits", "test.repeat", (LARGE,), delay=3600))
    (kept,) = objects(root)
    ended = subprocess.run(
        [sys.executable, "-c", DIES, redis_url, f"file://{root}"], cwd=ROOT, check=False, timeout=LONG
    )
    assert ended.returncode == -signal.SIGKILL
    assert [one.id for one in fleet.pending("default")] == [waiting]
    assert len(objects(root)) == 2
    age(root)

    programs.start("reaper", **settings)
    wait_until(lambda: objects(root) == [kept], timeout=LONG, why="the debris is deleted")

    assert fleet.details(waiting).args == (LARGE,)


def test_objects_of_jobs_that_need_them_stay_whatever_their_age(
    fleet: Fleet, registry: Registry, working: Working, root: Path
) -> None:
    def fail(text: str) -> None:
        raise ValueError

    registry.register(fail, name="test.fail")
    ids = [fleet.enqueue(Job("j", "test.repeat", (LARGE,), delay=3600, id="scheduled"))]
    ids += [fleet.enqueue(Job("j", name, (LARGE,))) for name in ("test.repeat", "test.fail")]
    with working():
        for job_id in ids[1:]:
            end_of(fleet, job_id)
    age(root)
    assert swept(fleet) == 1  # the arguments of the job that has completed
    assert fleet.poll(ids[1]).result == LARGE
    assert fleet.letter(ids[2]).args == (LARGE,)
    assert fleet.details(ids[0]).args == (LARGE,)

    assert fleet.edit(ids[0], [LARGE + "y"]) is True
    assert fleet.purge(ids[2]) is True
    age(root)
    assert swept(fleet) == 2
    assert fleet.details(ids[0]).args == (LARGE + "y",)


@pytest.mark.parametrize(("event", "after"), [("replay", 1), ("death", 2)])
def test_a_job_that_is_replayed_or_dies_while_the_sweep_reads_it_keeps_its_payload(
    fleet: Fleet,
    registry: Registry,
    working: Working,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    event: str,
    after: int,
) -> None:
    def fail(text: str) -> None:
        raise ValueError

    registry.register(fail, name="test.fail")
    job_id = fleet.enqueue(Job("j", "test.fail", (LARGE,)))

    def die() -> None:
        with working():
            end_of(fleet, job_id)

    events: list[Callable[[], object]] = [die]
    if event == "replay":
        die()
        events = [lambda: fleet.replay(job_id)]
    age(root)
    run_many = AsyncStore.run_many

    async def interrupted(store: AsyncStore, calls: Any, **options: Any) -> Any:
        if not events:
            return await run_many(store, calls, **options)
        first = await run_many(store, calls[:after], **options)
        await asyncio.to_thread(events.pop())
        return [*first, *(await run_many(store, calls[after:], **options))]

    monkeypatch.setattr(AsyncStore, "run_many", interrupted)
    assert swept(fleet) == 0
    assert events == []
    monkeypatch.undo()
    assert len(objects(root)) == 1


def test_young_objects_and_other_files_stay(fleet: Fleet, root: Path) -> None:
    job_id = fleet.enqueue(Job("j", "test.repeat", (LARGE,)))
    (key,) = objects(root)
    folder = (root / key).parent
    (folder / "mine.txt").write_text("somebody's")
    (folder / ".partial-0123456789abcdef").write_text("half")
    fleet.store.run(fleet.context.fleet_call())
    assert swept(fleet) == 0
    age(root)

    assert swept(fleet) == 1
    assert objects(root) == sorted([key, str((folder / "mine.txt").relative_to(root))])
    assert fleet.details(job_id).args == (LARGE,)


def test_a_turn_is_bounded_and_the_next_one_continues(
    fleet: Fleet, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = Payloads(fleet.config)
    payloads.found()
    payloads.stow("default.0.gone", "a", b"\x01\x00\x00\x00\x00\x01\x80" + b"x")
    age(root)
    monkeypatch.setattr(duty, "MOST", 100)

    async def run() -> list[int]:
        store = AsyncStore(target_of(fleet.config))
        sweep = PayloadSweep(store, fleet.context.keys, fleet.config)
        turns = [await sweep.turn() for _ in range(27)]
        await store.close()
        return turns

    turns = asyncio.run(run())

    assert sum(turns) == 1
    assert objects(root) == []


def test_a_forgotten_job_leaves_no_object(fleet: Fleet, working: Working, root: Path) -> None:
    ids = [fleet.enqueue(Job("j", "test.repeat", (LARGE,))) for _ in range(2)]
    with working():
        assert [end_of(fleet, job_id).result for job_id in ids] == [LARGE, LARGE]

    assert fleet.forget(ids[0]) is True

    assert len(objects(root)) == 2
    assert all(ids[1] in key for key in objects(root))
