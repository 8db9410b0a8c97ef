"""`move`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.errors import DuplicateJob, EncodingError, FleetFull, InvalidJob, JobNotFound
from jobfleet.model.result import ReasonCode
from jobfleet.operations.jobs import steer
from jobfleet.operations.operation import Operation
from jobfleet.store.call import Call
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.client.lines import SOON, bands, start, wait_in_line

Work = Callable[[], Awaitable[None]]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")

END = object()


def drive(fleet: Fleet, verb: Operation[str], script: str, meanwhile: Callable[[Call[Any]], object]) -> str:
    """Run a verb; before the trip of a script something happens, which may end it here, or answer in its place."""
    answers: Any = None
    try:
        while True:
            calls = verb.send(answers)
            said = meanwhile(calls[0]) if calls[0].script.name == script else None
            if said is END:
                return ""
            answers = said if isinstance(said, list) else fleet.store.run_many(calls)
    except StopIteration as end:
        return str(end.value)


async def test_a_job_moves_with_all_it_carries_and_runs_there(client: Either, work: Work) -> None:
    job = Job(
        "Add up", "app.add", (1, 2), id="a", priority=Priority.HIGH, tags=("eu",), user="ann", metadata={"k": 1},
        scheduled_at=SOON, expires_in=7200,
    )  # fmt: skip
    job_id = await client("enqueue", job)
    before = await client("poll", job_id)

    moved = await client("move", job_id, "bulk", by="ann")

    old, new = await client("poll", job_id), await client("poll", moved)
    assert (old.status, old.moved_to, old.error) == (JobStatus.CANCELLED, moved, f"moved to {moved} by ann")
    assert moved.startswith("bulk.0.a.")
    kept = ("status", "function", "name", "tags", "user", "metadata", "scheduled_at", "enqueued_at")
    assert [getattr(new, name) for name in kept] == [getattr(before, name) for name in kept]
    told = await client("explain", moved)
    assert ReasonCode.EXPIRING in [reason.code for reason in told.reasons]

    await client("reschedule", moved, delay=0)
    await work()
    assert (await client("poll", moved)).result == 3


async def test_a_moved_job_keeps_the_moment_of_its_enqueue_and_tells_where_it_came_from(
    client: Either, raw: redis.Redis
) -> None:
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))
    before = await client("poll", job_id)

    moved = await client("move", job_id, "bulk")

    assert (await client("poll", moved)).enqueued_at == before.enqueued_at
    envelope = raw.get(f"{{jobfleet:bulk:0}}:job:{moved}")
    assert isinstance(envelope, bytes)
    assert job_id.encode() in envelope


async def test_a_move_that_is_repeated_answers_the_same_job(client: Either) -> None:
    [job_id] = await wait_in_line(client, "a")

    first = await client("move", job_id, "bulk")

    assert await client("move", job_id, "bulk") == first
    with pytest.raises(
        InvalidJob, match=f"{job_id} is cancelled; only a scheduled, queued or retrying job can be moved."
    ):
        await client("move", job_id, "mail")


async def test_a_job_can_move_back_and_forth(client: Either, work: Work) -> None:
    [job_id] = await wait_in_line(client, "a")

    there = await client("move", job_id, "bulk")
    back = await client("move", there, "default")
    again = await client("move", back, "bulk")

    assert len({job_id, there, back, again}) == 4
    await work()
    assert (await client("poll", again)).result == 3


async def test_a_move_that_was_cut_in_the_middle_is_finished_by_the_next(
    client: Either, fleet: Fleet, raw: redis.Redis
) -> None:
    [job_id] = await wait_in_line(client, "a")
    drive(fleet, steer.move(fleet.context, job_id, "bulk", "ann"), "cancel", lambda _: END)  # all but the last step
    assert bands(raw, "bulk") != {}
    assert (await client("poll", job_id)).status is JobStatus.SCHEDULED  # held back

    moved = await client("move", job_id, "bulk")

    assert bands(raw, "bulk") == {"NORMAL": [moved.rpartition(".")[2]]}
    assert bands(raw) == {}
    assert (await client("poll", job_id)).moved_to == moved


@pytest.mark.parametrize("script", ["explain", "open_queue", "reschedule", "enqueue", "cancel"])
async def test_every_step_of_a_move_may_run_twice(client: Either, fleet: Fleet, raw: redis.Redis, script: str) -> None:
    """A reply was lost, and the call sent again."""
    [job_id] = await wait_in_line(client, "a")
    seen: list[str] = []

    def run(call: Call[Any]) -> None:
        seen.append(call.script.name)
        fleet.store.run(call)

    moved = drive(fleet, steer.move(fleet.context, job_id, "bulk", "ann"), script, run)

    assert script in seen
    assert (await client("poll", job_id)).moved_to == moved
    assert (await client("poll", moved)).status is JobStatus.QUEUED
    assert (bands(raw), bands(raw, "bulk")) == ({}, {"NORMAL": [moved.rpartition(".")[2]]})


async def test_a_job_that_is_started_in_that_moment_stays(client: Either, fleet: Fleet, raw: redis.Redis) -> None:
    [job_id] = await wait_in_line(client, "a")

    with pytest.raises(InvalidJob, match="was started, or ended, in this very moment; it was not moved"):
        drive(fleet, steer.move(fleet.context, job_id, "bulk", "ann"), "reschedule", lambda _: start(fleet, job_id))

    assert (await client("poll", job_id)).status is JobStatus.RUNNING
    assert bands(raw, "bulk") == {}


async def test_a_job_that_starts_when_the_hold_is_over_is_asked_to_stop(
    client: Either, fleet: Fleet, raw: redis.Redis
) -> None:
    """Whoever moved it was frozen for longer than it was held back."""
    [job_id] = await wait_in_line(client, "a")

    def hold_ends(_: Call[Any]) -> None:
        fleet.reschedule(job_id, delay=0)
        start(fleet, job_id)

    moved = drive(fleet, steer.move(fleet.context, job_id, "bulk", "ann"), "cancel", hold_ends)

    assert (await client("poll", job_id)).cancel_requested_by == "ann"
    assert (await client("poll", moved)).status is JobStatus.QUEUED


async def test_a_job_that_runs_or_has_ended_or_is_there_already_does_not_move(client: Either, fleet: Fleet) -> None:
    running, gone, here = await wait_in_line(client, "a", "b", "c")
    await client("reschedule", here, delay=60)
    await client("cancel", gone)
    start(fleet, running)

    for job_id, queue, message in (
        (running, "bulk", "default.0.a is running; only a scheduled, queued or retrying job can be moved."),
        (gone, "bulk", "default.0.b is cancelled; only a scheduled, queued or retrying job can be moved."),
        (here, "default", "default.0.c is in 'default' already."),
        (here, "no queue", "queue is 'no queue'; use 1 to 32 letters, digits, '_' or '-'."),
    ):
        with pytest.raises(InvalidJob) as caught:
            await client("move", job_id, queue)
        assert str(caught.value) == message
    with pytest.raises(JobNotFound):
        await client("move", "default.0.zzz", "bulk")


async def test_a_job_whose_envelope_cannot_be_read_stays_where_it_is(client: Either, raw: redis.Redis) -> None:
    [job_id] = await wait_in_line(client, "a")
    raw.set(f"{{jobfleet:default:0}}:job:{job_id}", b"\x01garbage")

    with pytest.raises(EncodingError):
        await client("move", job_id, "bulk")

    assert (await client("poll", job_id)).status is JobStatus.QUEUED


async def test_a_fleet_that_is_full_leaves_the_job_where_it_was(client: Either, raw: redis.Redis) -> None:
    [job_id] = await wait_in_line(client, "a")
    before = await client("poll", job_id)
    await client("move", (await wait_in_line(client, "b"))[0], "bulk")  # the queue is known
    raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(FleetFull):
            await client("move", job_id, "bulk")
    finally:
        raw.config_set("maxmemory", 0)

    assert await client("poll", job_id) == before


async def test_a_job_that_somebody_cancels_in_that_moment_is_not_revived(client: Either, fleet: Fleet) -> None:
    [job_id] = await wait_in_line(client, "a")
    made: list[str] = []

    def bob_cancels(call: Call[Any]) -> None:
        made.append(str(call.args[1]))
        fleet.cancel(job_id, by="bob")

    with pytest.raises(InvalidJob, match=r"default\.0\.a is cancelled"):
        drive(fleet, steer.move(fleet.context, job_id, "bulk", "ann"), "enqueue", bob_cancels)

    assert (await client("poll", job_id)).error == "cancelled by bob"
    assert (await client("poll", made[0])).status is JobStatus.CANCELLED


async def test_a_queue_of_many_lanes_is_entered_at_one_place(redis_url: str, client: Either) -> None:
    ids = await wait_in_line(client, *[f"n{n}" for n in range(12)])
    with Fleet(redis_url, lanes="mail=4") as wide:
        moved = [wide.move(job_id, "mail") for job_id in ids]

    assert len({job_id.split(".")[1] for job_id in moved}) > 1
    assert [await client("move", job_id, "mail") for job_id in ids] == moved


async def test_all_that_a_filter_means_are_moved_and_no_others(client: Either, work: Work) -> None:
    await wait_in_line(client, *[f"t{n:02}" for n in range(60)], tags=("eu",))
    await wait_in_line(client, "mine", user="ann")
    await wait_in_line(client, "there", queue="bulk", tags=("eu",))

    assert await client("move_many", "bulk", tags=["eu"], dry_run=True) == 60
    assert await client("move_many", "bulk", tags=["eu"], by="ann") == 60
    assert await client("move_many", "bulk", tags=["eu"]) == 0

    assert {row.name: row.queued for row in await client("queues")} == {"bulk": 61, "default": 1}
    await work()
    totals = {row.name: row.totals["completed"] for row in await client("queues")}
    assert totals == {"bulk": 61, "default": 1}


async def test_a_job_that_the_other_queue_does_not_take_stays(client: Either, fleet: Fleet) -> None:
    """Whatever the reason: the old job is closed only when the new one is there."""
    [job_id] = await wait_in_line(client, "a")
    before = await client("poll", job_id)

    def held(_: Call[Any]) -> list[list[bool]]:
        return [[False]]  # as it answers when another job holds the unique key

    with pytest.raises(DuplicateJob, match="was not moved: a job of 'bulk' holds its unique key"):
        drive(fleet, steer.move(fleet.context, job_id, "bulk", "ann"), "enqueue", held)

    assert await client("poll", job_id) == before


async def test_a_job_whose_end_others_wait_for_moves_too(client: Either, raw: redis.Redis) -> None:
    first, second = await wait_in_line(client, "a", "b")
    child = await client("enqueue", Job("Sum", "app.add", (1, 2), depends_on=[first, second]))

    moved = await client("move", first, "bulk")
    assert await client("move_many", "bulk", queue="default") == 1, "not the one that waits"

    assert (await client("poll", child)).status is JobStatus.BLOCKED
    assert (await client("poll", moved)).status is JobStatus.QUEUED


async def test_those_that_stay_are_passed_over_by_a_filter(client: Either, raw: redis.Redis) -> None:
    ids = await wait_in_line(client, *[f"n{n:03}" for n in range(120)], scheduled_at=SOON)
    for job_id in ids[:110]:  # the first two pages
        raw.set(f"{{jobfleet:default:0}}:job:{job_id}", b"\x01garbage")

    assert await client("move_many", "bulk", queue="default") == 10
    assert [len(standing) for standing in (*bands(raw).values(), *bands(raw, "bulk").values())] == [110, 10]


async def test_a_job_with_an_unreadable_clear_record_is_not_moved(client: Either, raw: redis.Redis) -> None:
    [job_id] = await wait_in_line(client, "a")
    raw.hset("{jobfleet:default:0}:meta", job_id, "rubbish")

    with pytest.raises(EncodingError, match="clear record"):
        await client("move", job_id, "bulk")

    assert (await client("poll", job_id)).status is JobStatus.QUEUED


async def test_a_refused_move_names_the_holder_of_the_unique_key(client: Either) -> None:
    holder = await client("enqueue", Job("Sum", "app.add", (1, 2), queue="bulk", unique="k"))
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), unique="k"))

    with pytest.raises(DuplicateJob) as refused:
        await client("move", job_id, "bulk")

    assert refused.value.holder == holder


@pytest.mark.parametrize("kind", ["no job", "a running job", "an ended job"])
async def test_many_rows_without_a_waiting_job_do_not_hold_up_a_move(
    client: Either, raw: redis.Redis, kind: str
) -> None:
    lane = Keyspace("jobfleet").lane("default", 0)
    ghosts = {f"default.0.ghost{number:03}": 5 for number in range(120)}
    raw.zadd(lane.ready[Priority.NORMAL.band], ghosts)
    for ghost in ghosts:
        if kind == "a running job":
            raw.hset(lane.runs, ghost, "7 w.1 5 1 0")
        elif kind == "an ended job":
            raw.set(lane.result(ghost), b"completed 0 0\n")
    job_id = await client("enqueue", Job("add", "test.add", (1, 2)))

    moved = await client("move_many", "bulk", queue="default")

    assert moved == 1
    assert raw.zcount(lane.ready[Priority.NORMAL.band], 5, 5) == 120
    assert (await client("poll", job_id)).moved_to is not None
