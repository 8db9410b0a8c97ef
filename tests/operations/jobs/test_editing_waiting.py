"""`edit`: the arguments of a waiting job, against claims and other edits."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
import redis

from jobfleet import EncodingError, Fleet, InvalidJob, Job, JobContext, JobNotFound, JobStatus, Priority
from jobfleet.codec import read_header
from jobfleet.functions.registry import Registry
from jobfleet.model.result import JobDetails
from jobfleet.store.keys import Keyspace
from tests.client.conftest import Work
from tests.client.either import Either, finished
from tests.support.each import each
from tests.support.faults import Faults, FlakyLink

ADD = "default.0.add"
LATER = datetime(2190, 1, 1, tzinfo=UTC).replace(year=2189)


def call_of(details: JobDetails[Any]) -> tuple[Any, Any]:
    return details.args, details.kwargs


async def waits(client: Either, *args: object, **options: Any) -> None:
    """A job of app.add is enqueued."""
    await client("enqueue", Job("Add", "app.add", args or (1, 2), id="add", **options))


async def test_a_queued_job_runs_with_its_new_arguments_and_all_else_as_it_was(
    client: Either, work: Work, raw: redis.Redis
) -> None:
    options: dict[str, Any] = {
        "tags": ["eu"], "user": "ann", "unique": "once", "metadata": {"a": 1}, "priority": Priority.HIGH,
        "max_retries": 7, "group": "acme", "correlation_id": "c",
    }  # fmt: skip
    await waits(client, **options)
    before = await client("details", ADD)
    key = Keyspace("jobfleet").lane_of(ADD).job(ADD)
    header = read_header(raw.get(key))  # type: ignore[arg-type]

    assert await client("edit", ADD, [3], {"y": 4}, by="bob") is True
    after = await client("details", ADD)
    edited_header = read_header(raw.get(key))  # type: ignore[arg-type]
    await work()

    assert call_of(after) == ((3,), {"y": 4})
    assert (after.job, after.priority, after.options) == (before.job, before.priority, before.options)
    assert edited_header == header
    assert (await client("poll", ADD)).result == 7


@pytest.mark.parametrize("status", [JobStatus.SCHEDULED, JobStatus.BLOCKED, JobStatus.RETRYING])
async def test_a_job_that_waits_otherwise_is_edited_too(
    client: Either, fleet: Fleet, work: Work, status: JobStatus
) -> None:
    if status is JobStatus.SCHEDULED:
        await waits(client, scheduled_at=LATER)
    elif status is JobStatus.BLOCKED:
        await client("enqueue", Job("Parent", "app.add", (0, 0), id="parent", scheduled_at=LATER))
        await waits(client, depends_on=["default.0.parent"])
    else:
        await client("enqueue", Job("Add", "app.flaky", (1,), id="add", retry_delay=3600, max_retries=3))
        await asyncio.to_thread(fleet.run_worker, burst=True)
    before = await client("details", ADD)
    assert before.job.status is status

    kwargs = {"y": 5} if status is not JobStatus.RETRYING else None
    assert await client("edit", ADD, args=[0], kwargs=kwargs, by="ann") is True

    after = await client("details", ADD)
    assert after.args == (0,)
    *past, edited = after.life
    assert (after.job, tuple(past), after.parents) == (before.job, before.life, before.parents)
    changed = ("args[0]",) if status is JobStatus.RETRYING else ("args[0]", "args[1]", "y")
    assert (edited.kind, edited.by, edited.changed) == ("edited", "ann", changed)
    if status is JobStatus.RETRYING:
        await client("reschedule", ADD, delay=0)
        await work()
        assert (await client("poll", ADD)).result == 2  # its second attempt, and no retry was given back


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
async def test_what_is_not_given_stays(client: Either) -> None:
    when = datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    await client("enqueue", Job("Other", "app.other", (when, 7), {"day": {1}}, id="add"))

    await client("edit", ADD, kwargs={"night": 1})
    first = await client("details", ADD)
    await client("edit", ADD, args=())
    second = await client("details", ADD)

    assert call_of(first) == ((when, 7), {"night": 1})
    assert first.args[0].tzinfo == ZoneInfo("Europe/Berlin")
    assert call_of(second) == ((), {"night": 1})


async def test_a_job_that_runs_or_has_ended_is_not_edited(client: Either, work: Work) -> None:
    await waits(client)
    await work()
    await client("enqueue", Job("Fail", "app.fail", ("no luck",), id="dead"))
    await work()

    assert await client("edit", ADD, [3, 4]) is False
    assert await client("edit", "default.0.dead", ["luck"]) is False
    with pytest.raises(JobNotFound):
        await client("edit", "default.0.zzz", [])
    with pytest.raises(JobNotFound):
        await client("edit", "nonsense", [])


@each(
    "wish, message",
    [
        ({}, "Nothing to change; give args, kwargs or both."),
        ({"args": [1]}, "app.add takes (x, y): missing a required argument: 'y'."),
        ({"args": [1, 2, 3]}, "app.add takes (x, y): too many positional arguments."),
        ({"kwargs": {"z": 1}}, "app.add takes (x, y): got an unexpected keyword argument 'z'."),
        ({"args": "text"}, "args is 'text'"),
        ({"kwargs": [1]}, "kwargs is [1]"),
    ],
)
async def test_what_are_no_arguments_is_refused_and_changes_nothing(
    client: Either, wish: dict[str, Any], message: str
) -> None:
    await waits(client)

    with pytest.raises(InvalidJob) as refused:
        await client("edit", ADD, **wish)

    assert str(refused.value).startswith(message)
    assert call_of(await client("details", ADD)) == ((1, 2), {})


async def test_arguments_of_a_decorated_function_are_not_checked_as_in_an_enqueue(
    client: Either, registry: Registry
) -> None:
    @functools.wraps(abs)
    def with_defaults(*numbers: int) -> int:
        return sum(numbers)

    registry.register(with_defaults, name="app.wrapped")
    await client("enqueue", Job("Wrapped", "app.wrapped", (1, 2), id="wrapped", queue="default"))

    assert await client("edit", "default.0.wrapped", [1, 2, 3]) is True


async def test_a_parameter_that_the_worker_fills_is_not_given(client: Either) -> None:
    await client("enqueue", Job("Steps", "app.steps", (3,), id="steps", queue="default"))

    assert await client("edit", "default.0.steps", [4]) is True
    with pytest.raises(InvalidJob, match="unexpected keyword argument 'ctx'"):
        await client("edit", "default.0.steps", kwargs={"ctx": None})


@each(
    "wish, place",
    [([object(), 2], "args[0]"), (["x" * 2_000_000, 2], "args"), ([{"df": [object()]}, 2], "args[0]['df'][0]")],
)
async def test_what_cannot_travel_is_refused_with_its_place(client: Either, wish: list[Any], place: str) -> None:
    await waits(client)

    with pytest.raises(EncodingError) as refused:
        await client("edit", ADD, wish)

    assert refused.value.path.startswith(place)
    assert call_of(await client("details", ADD)) == ((1, 2), {})


async def test_a_handle_edits_its_job(client: Either, work: Work) -> None:
    handle = await client("handle_of", Job("Add", "app.add", (1, 2)))

    assert await finished(handle.edit, [3, 4], by="ann") is True
    await work()

    assert (await finished(handle.poll)).result == 7
    assert await finished(handle.edit, [5, 6]) is False


async def test_the_same_enqueue_again_does_not_undo_an_edit(client: Either) -> None:
    job = Job("Add", "app.add", (1, 2), id="add")
    await client("enqueue", job)

    await client("edit", ADD, [3, 4])
    await client("enqueue", job)

    assert call_of(await client("details", ADD)) == ((3, 4), {})


def test_the_server_for_tests_can_do_it_too(registry: Registry) -> None:
    with Fleet("memory://", registry=registry) as fleet:
        fleet.enqueue(Job("Add", "app.add", (1, 2), id="add"))

        assert fleet.edit(ADD, [3, 4]) is True
        fleet.run_worker(burst=True)

        assert fleet.poll(ADD).result == 7


# Against others


def test_an_edit_of_what_others_have_edited_meanwhile_keeps_their_part(fleet: Fleet) -> None:
    fleet.enqueue(Job("Add", "app.add", (1,), {"y": 2}, id="add"))
    run_many, rivals = fleet.store.run_many, iter([True])

    def overtaken(calls: Sequence[Any]) -> list[Any]:
        """Somebody else edits the job between the look and the edit."""
        if calls[0].script.name == "edit" and next(rivals, False):
            with Fleet(fleet.config.url, registry=fleet.context.registry) as rival:
                assert rival.edit(ADD, kwargs={"y": 9}) is True
        return run_many(calls)

    with patch.object(fleet.store, "run_many", overtaken):
        assert fleet.edit(ADD, args=[5]) is True

    assert call_of(fleet.details(ADD)) == ((5,), {"y": 9})


def test_a_job_that_starts_between_the_look_and_the_edit_runs_with_its_old_arguments(fleet: Fleet) -> None:
    fleet.enqueue(Job("Add", "app.add", (1, 2), id="add"))
    run_many, rivals = fleet.store.run_many, iter([True])

    def overtaken(calls: Sequence[Any]) -> list[Any]:
        if calls[0].script.name == "edit" and next(rivals, False):
            fleet.run_worker(burst=True)
        return run_many(calls)

    with patch.object(fleet.store, "run_many", overtaken):
        assert fleet.edit(ADD, [3, 4]) is False

    assert fleet.poll(ADD).result == 3


def test_a_lost_reply_makes_no_other_answer(fleet: Fleet) -> None:
    fleet.enqueue(Job("Add", "app.add", (1, 2), id="add"))
    fleet.edit(ADD, [2, 2])  # so that the server knows the script, and runs it at the first call
    faults, run_many = Faults(share=1.0, most=1), fleet.store.run_many

    def losing(calls: Sequence[Any]) -> list[Any]:
        link = fleet.store.link
        with patch.object(fleet.store, "link", FlakyLink(link, faults) if calls[0].script.name == "edit" else link):
            return run_many(calls)

    with patch.object(fleet.store, "run_many", losing):
        assert fleet.edit(ADD, [3, 4]) is True

    assert faults.lost == 1
    assert call_of(fleet.details(ADD)) == ((3, 4), {})


def test_of_many_edits_against_a_worker_each_is_either_seen_by_the_run_or_refused(redis_url: str) -> None:
    """What `edit` answers is what the run did, for every job."""
    seen: dict[str, int] = {}

    def note(ctx: JobContext, value: int) -> None:
        seen[ctx.job_id] = value

    registry, count = Registry(), 300
    registry.register(note, name="app.note")
    with Fleet(redis_url, registry=registry) as fleet:
        ids = [receipt.id for receipt in fleet.enqueue_many(Job("Note", "app.note", (0,)) for _ in range(count))]
        accepted: dict[str, bool] = {}

        def edits() -> None:
            with Fleet(redis_url, registry=registry) as editor:
                for job_id in reversed(ids):
                    accepted[job_id] = editor.edit(job_id, [1])

        editing = threading.Thread(target=edits)
        editing.start()
        fleet.run_worker(burst=True)
        editing.join()
        fleet.run_worker(burst=True)

    assert len(seen) == len(accepted) == count
    assert {job_id: bool(value) for job_id, value in seen.items()} == accepted
    assert len(set(accepted.values())) == 2, "both happened"
