"""Large arguments and results: in the store, and everywhere as if they were in Redis."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet import (
    AsyncFleet,
    EncodingError,
    Fleet,
    Job,
    JobContext,
    JobStatus,
    PayloadLost,
    PayloadUnavailable,
)
from jobfleet.functions.registry import Registry
from jobfleet.payloads.payloads import IDENTITY
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.payloads.conftest import LARGE, end_of, objects
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until
from tests.trust.conftest import OLD, spelled
from tests.worker.conftest import Working

KEYS = Keyspace("jobfleet")


def envelope_of(raw: redis.Redis, job_id: str) -> bytes:
    envelope: Any = raw.get(KEYS.lane_of(job_id).job(job_id))
    assert isinstance(envelope, bytes)
    return envelope


def test_redis_holds_a_reference_and_all_readers_the_whole(
    fleet: Fleet, working: Working, raw: redis.Redis, root: Path
) -> None:
    job_id = fleet.enqueue(Job("large", "test.repeat", (LARGE,), {"times": 2}))
    small = fleet.enqueue(Job("small", "test.repeat", ("x" * 500,)))
    assert (len(envelope_of(raw, job_id)) < 400, len(objects(root))) == (True, 1)
    assert fleet.details(job_id).args == (LARGE,)
    assert fleet.explain(job_id).details.args == (LARGE,)  # type: ignore[union-attr]

    with working():
        ended = end_of(fleet, job_id)
        assert end_of(fleet, small).result == "x" * 500

    assert ended.result == LARGE * 2
    assert fleet.poll(job_id).result == LARGE * 2
    assert [one.result for one in fleet.poll_many([small, job_id]) if one] == ["x" * 500, LARGE * 2]
    assert len(raw.get(KEYS.lane_of(job_id).result(job_id))) < 600  # type: ignore[arg-type]
    assert len(objects(root)) == 2


async def test_an_awaited_client_and_many_at_once(
    redis_url: str, registry: Registry, settings: dict[str, Any], fleet: Fleet, working: Working
) -> None:
    async with AsyncFleet(redis_url, registry=registry, **settings) as client:
        texts = [LARGE[: 100 if number % 3 else 2000 + number] for number in range(20)]
        ids = [one.id for one in await client.enqueue_many([Job("j", "test.repeat", (text,)) for text in texts])]
        ids += await asyncio.gather(*(client.enqueue(Job("j", "test.repeat", (text,))) for text in texts))
        with working():
            ended = await client.gather(ids, timeout=LONG)
        assert ended == texts * 2
        details = await client.details(await client.enqueue(Job("j", "test.repeat", (LARGE,), delay=60)))

    assert details.args == (LARGE,)


def test_flows_retries_edits_moves_and_replays(
    fleet: Fleet, registry: Registry, working: Working, root: Path, raw: redis.Redis
) -> None:
    def join(ctx: JobContext, own: str) -> int:
        return len(own) + sum(len(str(parent.result)) for parent in ctx.parents.values())

    def fail(text: str) -> int:
        if text != "mended":
            raise OSError(text[:5])
        return len(text)

    registry.register(join, name="test.join")
    registry.register(fail, name="test.fail", max_retries=1)
    parent = fleet.enqueue(Job("parent", "test.repeat", (LARGE,)))
    child = fleet.enqueue(Job("child", "test.join", (LARGE,), depends_on=[parent]))
    edited = fleet.enqueue(Job("edited", "test.repeat", (LARGE,), {"times": 1}, delay=3600))
    failing = fleet.enqueue(Job("failing", "test.fail", (LARGE,)))
    assert fleet.edit(edited, kwargs={"times": 3}) is True
    assert fleet.details(edited).args == (LARGE,)
    moved = fleet.move(edited, "other")
    assert moved is not None
    assert fleet.reschedule(moved, delay=0) is not None

    with working(queues=["default", "other"]):
        assert end_of(fleet, child).result == 10_000
        assert end_of(fleet, moved).result == LARGE * 3
        assert end_of(fleet, failing).status is JobStatus.FAILED
        assert fleet.letter(failing).args == (LARGE,)
        assert fleet.replay(failing, args=["mended"]) is True
        assert end_of(fleet, failing).result == 6


def test_processes_of_their_own_get_and_return_large_values(
    programs: Programs, redis_url: str, settings: dict[str, Any]
) -> None:
    (programs.folder / "large.py").write_text(
        "from jobfleet import job\n\n\n"
        "@job(name='large.twice', run_in='process')\ndef twice(text: str) -> str:\n    return text * 2\n"
    )
    programs.ready("large", app_dir=programs.folder, **settings)
    text = "y" * 1_500_000

    with Fleet(redis_url, registry=Registry(), **settings) as fleet:
        assert end_of(fleet, fleet.enqueue(Job("j", "large.twice", (text,)))).result == text * 2


def test_the_limit_is_that_of_the_store(redis_url: str, registry: Registry, settings: dict[str, Any]) -> None:
    settings |= {"payload_max": 8192, "max_payload": 2048}
    with Fleet(redis_url, registry=registry, **settings) as fleet:
        fleet.enqueue(Job("j", "test.repeat", ("x" * 8000,)))
        with pytest.raises(EncodingError, match=r"the limit is 8,192; .* raise the setting payload_max\."):
            fleet.enqueue(Job("j", "test.repeat", ("x" * 9000,)))
        with pytest.raises(EncodingError, match=r"the arguments of a recurring job stay in Redis, .* limit is 2,048"):
            fleet.cron.add("hourly", "@hourly", Job("j", "test.repeat", ("x" * 5000,)))
        fleet.cron.add("hourly", "@hourly", Job("j", "test.repeat", ("x" * 1500,)))


def test_a_store_that_is_away_parks_the_job_and_charges_nothing(
    fleet: Fleet, working: Working, root: Path, redis_url: str, registry: Registry, tmp_path: Path
) -> None:
    job_id = fleet.enqueue(Job("large", "test.repeat", (LARGE,)))
    root.rename(tmp_path / "elsewhere")
    with working():
        wait_until(lambda: fleet.poll(job_id).parked_since, timeout=LONG, why="it is parked")
        parked = fleet.poll(job_id)
        with Fleet(redis_url, registry=registry) as other, working(of=other):
            without = other.enqueue(Job("small", "test.repeat", ("x",)))
            assert end_of(other, without).result == "x"
        (tmp_path / "elsewhere").rename(root)
        assert end_of(fleet, job_id).result == LARGE

    assert "payload_store leads this process to an empty one" in str(parked.error)
    assert (parked.retry_count, parked.attempt) == (0, 0)


def test_a_producer_without_its_store_enqueues_nothing(fleet: Fleet, root: Path, raw: redis.Redis) -> None:
    fleet.enqueue(Job("small", "test.repeat", ("x",)))
    root.write_text("a file in place of the folder")

    with pytest.raises(PayloadUnavailable, match=r"cannot be reached \(setting payload_store\): NotADirectoryError"):
        fleet.enqueue(Job("large", "test.repeat", (LARGE,)))
    receipts = list(fleet.enqueue_many([Job("j", "test.repeat", (text,)) for text in ("x", LARGE, "y")]))

    assert [type(one.error) for one in receipts] == [type(None), PayloadUnavailable, type(None)]
    assert len(fleet.pending("default")) == 3


@pytest.mark.parametrize("harm", ["gone", "damaged", "shorter"])
def test_a_payload_that_is_gone_or_damaged_makes_a_dead_letter(
    fleet: Fleet, working: Working, root: Path, harm: str
) -> None:
    job_id = fleet.enqueue(Job("large", "test.repeat", (LARGE,), max_retries=5))
    (path,) = (root / key for key in objects(root))
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[1:] + (b"" if harm == "shorter" else b"!"))

    with working():
        ended = end_of(fleet, job_id)

    assert (ended.status, ended.error_class, ended.error_type) == (JobStatus.FAILED, "payload-lost", "permanent")
    assert str(ended.error).endswith("gone from the payload store." if harm == "gone" else "its checksum is wrong.")
    assert fleet.letter(job_id).args is None
    if harm == "gone":
        with pytest.raises(PayloadLost, match="Give both args and kwargs"):
            fleet.replay(job_id, args=["small"])
        assert fleet.replay(job_id, args=["small"], kwargs={}) is True
        with working():
            assert end_of(fleet, job_id).result == "small"


def test_a_result_that_is_gone_is_an_error_and_not_none(
    fleet: Fleet, working: Working, root: Path, tmp_path: Path
) -> None:
    handle = fleet.handle_of(Job("large", "test.repeat", ("x",), {"times": 5000}))
    with working():
        assert handle.result(timeout=LONG) == LARGE
    (path,) = (root / key for key in objects(root))
    path.unlink()
    with pytest.raises(PayloadLost, match=r"completed, and its result cannot be had: .* is gone"):
        handle.result(timeout=LONG)
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(PayloadUnavailable, match=r"payload_store leads this process to an empty one"):
        handle.result(timeout=LONG)
    polled = fleet.poll(handle.id)
    assert (polled.status, polled.error_class) == (JobStatus.COMPLETED, "PayloadUnavailable")


def test_a_result_stays_in_redis_if_the_store_is_away_and_it_fits(
    fleet: Fleet, registry: Registry, working: Working, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.worker.run.endings.PAUSES", (0.01,))
    root.write_text("a file in place of the folder")
    fits = fleet.enqueue(Job("fits", "test.repeat", ("x",), {"times": 5000}))
    large = fleet.enqueue(Job("large", "test.repeat", ("x",), {"times": 2_000_000}, max_retries=1))

    with working():
        assert end_of(fleet, fits).result == LARGE
        ended = end_of(fleet, large)

    assert (ended.status, ended.error_class, ended.retry_count) == (JobStatus.FAILED, "PayloadUnavailable", 1)


def test_the_keyring_encrypts_what_is_in_the_store(
    redis_url: str, registry: Registry, settings: dict[str, Any], root: Path, working: Working
) -> None:
    settings |= {"keyring": spelled(old=OLD), "encrypt": "require"}
    with Fleet(redis_url, registry=registry, **settings) as fleet:
        job_id = fleet.enqueue(Job("large", "test.repeat", (LARGE,), {"times": 2}))
        other = fleet.enqueue(Job("large", "test.repeat", (LARGE,)))
        with working(of=fleet):
            assert end_of(fleet, job_id).result == LARGE * 2
            assert end_of(fleet, other).result == LARGE
        assert fleet.poll(job_id).result == LARGE * 2

    assert len(objects(root)) == 4
    assert not any(b"xxxx" in (root / key).read_bytes() for key in objects(root))


RECORDED = "{jobfleet}:payload-store"


@pytest.mark.parametrize("kind", [Fleet, AsyncFleet])
async def test_a_store_whose_mount_is_missing_is_not_founded_again(
    kind: type[Fleet | AsyncFleet], fleet: Fleet, redis_url: str, registry: Registry, settings: dict[str, Any],
    working: Working, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("jobfleet.worker.run.endings.PAUSES", (0.01,))
    first = await asyncio.to_thread(fleet.enqueue, Job("large", "test.repeat", (LARGE,)))
    root.rename(tmp_path / "unmounted")
    root.mkdir()  # the mount point
    late = Either(kind(redis_url, registry=registry, **settings))
    with pytest.raises(
        PayloadUnavailable, match=r"to an empty one, and the payload store of the fleet is \w+: mount it"
    ):
        await late("enqueue", Job("large", "test.repeat", (LARGE,)))
    small = await late("enqueue", Job("small", "test.repeat", ("x",), {"times": 5000}))
    findings = await asyncio.to_thread(_in_another_program, fleet, first, small, working, registry, settings)
    left = objects(root), list(root.iterdir())
    root.rmdir()
    (tmp_path / "unmounted").rename(root)
    await late("enqueue", Job("large", "test.repeat", (LARGE,), delay=60))  # the same program
    await late.close()

    def ends() -> list[object]:
        with working():
            return [end_of(fleet, first).result, fleet.poll(small).result]  # the latter is in Redis

    assert await asyncio.to_thread(ends) == [LARGE, LARGE]
    assert left == ([], [])
    assert findings[0].startswith("fault: payloads: This process sees an empty payload store, and the payload store of")


def _in_another_program(
    fleet: Fleet, first: str, small: str, working: Working, registry: Registry, settings: dict[str, Any]
) -> list[str]:
    """Start a worker; wait until it has parked the first job and run the small one. Return what `doctor` finds."""
    with Fleet(fleet.config.url, registry=registry, **settings) as other, working(of=other):
        end_of(other, small)
        wait_until(lambda: fleet.poll(first).parked_since, timeout=LONG, why="it is parked")
        return [str(one) for one in other.doctor().findings if one.check == "payloads"]


def test_a_store_of_an_earlier_release_is_adopted_once(
    redis_url: str, registry: Registry, settings: dict[str, Any], raw: redis.Redis, root: Path, tmp_path: Path
) -> None:
    root.mkdir()
    (root / IDENTITY).write_text("0123456789abcdef")  # as earlier releases have left it, with nothing in Redis
    with Fleet(redis_url, registry=registry, **settings) as fleet:
        fleet.enqueue(Job("large", "test.repeat", (LARGE,)))
    elsewhere = settings | {"payload_store": f"file://{tmp_path}/other"}
    with Fleet(redis_url, registry=registry, **elsewhere) as fleet, pytest.raises(PayloadUnavailable) as caught:
        fleet.enqueue(Job("large", "test.repeat", (LARGE,)))

    assert raw.get(RECORDED) == b"0123456789abcdef"
    assert f"delete the key {RECORDED} in Redis" in str(caught.value)
    assert not (tmp_path / "other").exists()


def test_programs_that_found_a_store_at_the_same_time_agree(
    redis_url: str, registry: Registry, settings: dict[str, Any], raw: redis.Redis, root: Path
) -> None:
    count = 8
    start = threading.Barrier(count)

    def enqueue(_: int) -> str:
        with Fleet(redis_url, registry=registry, **settings) as fleet:
            start.wait()
            while True:
                try:
                    return fleet.enqueue(Job("large", "test.repeat", (LARGE,)))
                except PayloadUnavailable:  # another one is about to found it
                    continue

    with ThreadPoolExecutor(count) as pool:
        ids = list(pool.map(enqueue, range(count)))

    with Fleet(redis_url, registry=registry, **settings) as fleet:
        assert {fleet.details(one).args for one in ids} == {(LARGE,)}
    recorded = raw.get(RECORDED)
    assert recorded == (root / IDENTITY).read_bytes()
