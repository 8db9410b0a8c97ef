"""Jobs whose arguments have another version than the function of the worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet import BatchItem, Fleet, InvalidJob, Job, JobContext, JobStatus
from jobfleet.codec import read_header
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

KEYS = Keyspace("jobfleet")


def first(to: str) -> str:
    return to


def second(address: str, *, copies: int) -> tuple[str, int]:
    return address, copies


def second_from_first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return (), {"address": kwargs["to"] if kwargs else args[0], "copies": 1}


def third_from_second(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return args, {**kwargs, "copies": kwargs["copies"] + 10}


@pytest.fixture
def later(redis_url: str) -> Iterator[Fleet]:
    """The fleet of a later deploy, whose functions are not registered yet."""
    with Fleet(redis_url, registry=Registry(), lease=6, retry_delay=0.05, patience=30) as fleet:
        yield fleet


def register(fleet: Fleet, function: Any, **options: Any) -> Any:
    return fleet.context.registry.register(function, name="mail.send", fleet=fleet, **options)


def publish(raw: redis.Redis, fleet: Fleet) -> None:
    """Publish the functions of a fleet, as a worker of another process does."""
    functions = fleet.context.registry.functions
    raw.hset(KEYS.functions, mapping={name: function_record(one) for name, one in functions.items()})


def header_of(raw: redis.Redis, job_id: str) -> dict[str, Any]:
    envelope: Any = raw.get(KEYS.lane_of(job_id).job(job_id))
    return read_header(envelope)


async def second_async(address: str, *, copies: int) -> tuple[str, int]:
    return address, copies


@pytest.mark.parametrize("function", [second, second_async])
def test_an_earlier_job_is_upcast_step_by_step(fleet: Fleet, later: Fleet, working: Working, function: Any) -> None:
    old = register(fleet, first)
    register(later, function, version=3, upcast={1: second_from_first, 2: third_from_second})
    ids = [fleet.enqueue(old.job("ann")), fleet.enqueue(old.job(to="bob"))]

    with working(of=later):
        results = [later.wait(job_id, timeout=LONG).result for job_id in ids]

    assert results == [("ann", 11), ("bob", 11)]


def test_a_producer_writes_the_version_that_it_knows_or_that_workers_publish(
    fleet: Fleet, later: Fleet, working: Working, raw: redis.Redis, redis_url: str
) -> None:
    plain = fleet.enqueue(register(fleet, first).job("ann"))
    own = register(later, second, version=2, upcast={1: second_from_first})
    known = later.enqueue(own.options(delay=3600).job("ann", copies=1))
    at_once = later.enqueue(own.job("ann", copies=1))
    assert "schema" not in header_of(raw, plain)
    assert (header_of(raw, known)["schema"], header_of(raw, at_once)["schema"]) == (2, 2)

    with working(of=later), Fleet(redis_url, registry=Registry()) as stranger:
        publish(raw, later)
        by_name = stranger.enqueue(Job("by name", "mail.send", ("cyd",), {"copies": 2}))
        assert stranger.wait(by_name, timeout=LONG).result == ("cyd", 2)
        (many,) = stranger.enqueue_many([Job("many", "mail.send", ("cyd",), {"copies": 2}, delay=3600)])

    assert header_of(raw, many.id)["schema"] == 2


def test_a_later_job_is_parked_until_a_worker_has_its_version(
    fleet: Fleet, later: Fleet, working: Working, raw: redis.Redis
) -> None:
    register(fleet, second, version=2)
    new = register(later, second, version=3)
    job_id = later.enqueue(new.job("ann", copies=1))
    with working():
        wait_until(lambda: fleet.poll(job_id).parked_since, timeout=LONG, why="it is parked")
        publish(raw, fleet)
        explained = fleet.explain(job_id)

    parked, details = fleet.poll(job_id), fleet.details(job_id)
    needs = "'mail.send' needs schema version 3; this worker has 2. Upgrade workers before producers."
    assert (parked.error, parked.retry_count, parked.attempt) == (needs, 0, 0)
    assert "'mail.send' needs schema version 3; the workers have 2." in str(explained)
    assert (details.schema_version, details.function_version) == (3, 2)

    with working(of=later):
        assert later.wait(job_id, timeout=LONG).result == ("ann", 1)


def test_a_later_job_that_no_worker_can_run_in_time_fails(redis_url: str, later: Fleet, working: Working) -> None:
    job_id = later.enqueue(register(later, second, version=3).job("ann", copies=1))
    with Fleet(redis_url, registry=Registry(), unknown_grace=0.2) as behind, working(of=behind):
        register(behind, second, version=2)
        ended = behind.wait(job_id, timeout=LONG)

    assert (ended.status, ended.error_class, ended.retry_count) == (JobStatus.FAILED, "newer-schema", 0)


def raising(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("upcast", "text"),
    [
        ({}, "mail.send has no upcast from schema version 1 to 2 (the job has 1, the function 2): add upcast={1: f}"),
        ({1: raising}, "The upcast of mail.send from schema version 1 to 2 (the job has 1, the function 2) raised Sys"),
        ({1: lambda args, kwargs: (args, kwargs)}, "The upcasts of mail.send from schema version 1 to 2 do not fit: "),
    ],
)
def test_a_job_that_cannot_be_upcast_fails_for_good_and_runs_after_a_replay(
    fleet: Fleet, later: Fleet, working: Working, upcast: Any, text: str
) -> None:
    job_id = fleet.enqueue(register(fleet, first, max_retries=5).job("ann"))
    register(later, second, version=2, upcast=upcast, retry_on=(Exception,))
    with working(of=later):
        ended = later.wait(job_id, timeout=LONG)
    assert (ended.status, ended.error_type, ended.error_class) == (JobStatus.FAILED, "permanent", "upcast")
    assert str(ended.error).startswith(text)

    later.context.registry.functions.clear()
    register(later, second, version=2, upcast={1: second_from_first})
    assert later.replay(job_id) is True
    with working(of=later):
        assert later.wait(job_id, timeout=LONG).result == ("ann", 1)


def test_batches_hooks_flows_and_recurring_jobs_get_upcast_arguments(
    fleet: Fleet, later: Fleet, working: Working
) -> None:
    seen: list[object] = []

    def note(item: int) -> None: ...

    def note_all(items: list[BatchItem[str]]) -> None:
        seen.extend(item.value for item in items)

    def remember(ctx: JobContext) -> None:
        if ctx.job.function == "mail.send":
            seen.append((ctx.job.args, dict(ctx.job.kwargs)))

    old, batch = register(fleet, first), fleet.context.registry.register(note, name="app.note", fleet=fleet)
    register(later, second, version=2, upcast={1: second_from_first})
    later.context.registry.register(
        note_all, name="app.note", batch=5, version=2, upcast={1: lambda args, kwargs: ([str(args[0])], kwargs)}
    )
    later.context.registry.hooks.before(remember)
    fleet.cron.add("hourly", "0 0 1 1 *", old.job("cron"))
    parent = fleet.enqueue(old.job("parent"))
    child = fleet.enqueue(Job("child", old, ("child",), depends_on=[parent]))
    noted = fleet.enqueue(batch.job(7))
    fired = fleet.cron.run("hourly")

    with working(of=later):
        ended = [later.wait(job_id, timeout=LONG) for job_id in (parent, child, noted, fired)]

    assert [one.result for one in ended] == [("parent", 1), ("child", 1), None, ("cron", 1)]
    assert sorted(map(str, seen)) == sorted(
        ["7", *(str(((), {"address": name, "copies": 1})) for name in ("parent", "child", "cron"))]
    )


def test_a_process_of_its_own_gets_upcast_arguments(programs: Programs, fleet: Fleet) -> None:
    (programs.folder / "later.py").write_text(
        "from jobfleet import job\n\n\n"
        "def two(args, kwargs):\n    return (), {'address': args[0], 'copies': 2}\n\n\n"
        "@job(name='mail.send', run_in='process', version=2, upcast={1: two})\n"
        "def send(address: str, copies: int) -> list:\n    return [address, copies]\n"
    )
    job_id = fleet.enqueue(register(fleet, first).job("ann"))
    programs.ready("later", app_dir=programs.folder)

    assert fleet.wait(job_id, timeout=LONG).result == ["ann", 2]


def test_an_edit_brings_the_job_to_the_version_that_the_editor_knows(
    fleet: Fleet, later: Fleet, working: Working, raw: redis.Redis
) -> None:
    old = register(fleet, first)
    new = register(later, second, version=2, upcast={1: second_from_first})
    whole, part, kept = (fleet.enqueue(old.job("ann")) for _ in range(3))
    ahead = later.enqueue(new.options(delay=3600).job("ann", copies=1))

    assert later.edit(whole, ["bob"], {"copies": 5}) is True
    assert later.edit(part, kwargs={"address": "cyd", "copies": 7}) is True
    assert fleet.edit(kept, ["dan"]) is True
    with pytest.raises(InvalidJob, match=r"'mail\.send' needs schema version 2; this program has 1"):
        fleet.edit(ahead, ["eve"])

    assert [header_of(raw, one).get("schema") for one in (whole, part, kept)] == [2, 2, None]
    with working(of=later):
        assert [later.wait(one, timeout=LONG).result for one in (whole, part, kept)] == [
            ("bob", 5), ("cyd", 7), ("dan", 1)
        ]  # fmt: skip
