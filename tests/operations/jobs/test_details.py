"""A job in full: what it was enqueued with is shown while Redis keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import After, Fleet, Job, JobContext, JobNotFound, JobStatus, Priority
from jobfleet.functions.registry import Registry
from jobfleet.model.result import Parent
from jobfleet.store.calls.settle import retry, settle
from tests.cli.hand import Hand
from tests.trust.conftest import NEW, spelled


def test_a_waiting_job_is_shown_with_all_that_it_was_enqueued_with(fleet: Fleet, hand: Hand) -> None:
    job = Job(
        "nightly", "demo.add", (1, "two"), {"deep": {"k": [1]}}, priority=Priority.HIGH, delay=60, max_retries=7,
        retry_delay=2, retry_backoff=3.0, retry_jitter=False, timeout=30, hard_timeout=45, result_ttl=3600,
        expires_in=600, max_crashes=2,
    )  # fmt: skip
    job_id = fleet.enqueue(job)

    found = fleet.details(job_id)

    assert found.job == fleet.poll(job_id)
    assert (found.priority, found.args, found.kwargs) == (Priority.HIGH, (1, "two"), {"deep": {"k": [1]}})
    assert found.options == {
        "max_retries": 7, "retry_backoff": 3.0, "retry_jitter": False, "max_crashes": 2,
        "retry_delay": timedelta(seconds=2), "timeout": timedelta(seconds=30), "hard_timeout": timedelta(seconds=45),
        "result_ttl": timedelta(hours=1),
    }  # fmt: skip
    assert found.max_retries == 7
    assert found.job.scheduled_at is not None
    assert found.expires_at is not None
    assert timedelta(seconds=539) < found.expires_at - found.job.scheduled_at < timedelta(seconds=541)
    assert (found.parents, found.history) == ((), ())


def test_a_plain_job_has_the_retries_of_its_function_and_no_options(fleet: Fleet, hand: Hand) -> None:
    found = fleet.details(fleet.enqueue(Job("x", "demo.add")))

    assert (found.priority, found.args, found.kwargs, found.options) == (Priority.NORMAL, (), {}, {})
    assert (found.max_retries, found.expires_at) == (fleet.config.max_retries, None)


def test_a_running_job_keeps_its_arguments_and_its_past_runs(fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", (1,), priority=Priority.CRITICAL))
    grant = hand.claims(job_id)
    tries = f"1:0:0:0:0\n1 {1_790_000_000_000_000} ConnectionError: refused"
    item = retry(job_id, grant.token, tries=tries, delay_us=0)
    fleet.store.run(settle(fleet.context.keys.lane_of(job_id), [item]))
    hand.claims(job_id)

    found = fleet.details(job_id)

    assert (found.job.status, found.priority, found.args) == (JobStatus.RUNNING, Priority.CRITICAL, (1,))
    assert found.history == ("1 1790000000000000 ConnectionError: refused",)
    assert found.job.retry_count == 1


def test_a_crash_counts_as_a_run_and_not_as_a_retry(fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add"))
    for tries in ("0:1:0:0:0", "1:1:0:0:0"):
        item = retry(job_id, hand.claims(job_id).token, tries=tries, delay_us=0)
        fleet.store.run(settle(fleet.context.keys.lane_of(job_id), [item]))
    waits = fleet.details(job_id).job
    hand.claims(job_id)
    runs = fleet.details(job_id).job

    assert (waits.status, waits.attempt, waits.retry_count) == (JobStatus.QUEUED, 2, 1)
    assert (runs.status, runs.attempt, runs.retry_count) == (JobStatus.RUNNING, 3, 1)


def test_the_parents_of_a_job_are_named_in_order_with_their_ending(fleet: Fleet, hand: Hand) -> None:
    first, second = (fleet.enqueue(Job("p", "demo.add", (n,))) for n in range(2))
    child = fleet.enqueue(Job("c", "demo.add", depends_on=[second, After(first, otherwise="run")]))

    found = fleet.details(child)

    assert found.job.status is JobStatus.BLOCKED
    assert list(found.parents) == [Parent(second, "queued", "p"), Parent(first, "queued", "p")]


def test_a_dead_letter_keeps_them_and_a_completed_job_does_not(fleet: Fleet, hand: Hand) -> None:
    dead = fleet.enqueue(Job("x", "demo.fail", (1, 2), {"k": datetime(2026, 1, 1, tzinfo=UTC)}, timeout=9))
    hand.fails(hand.claims(dead))
    done = fleet.enqueue(Job("y", "demo.add", (3,)))
    hand.completes(hand.claims(done), 3)

    letter, ended = fleet.details(dead), fleet.details(done)

    assert (letter.args, letter.kwargs) == ((1, 2), {"k": datetime(2026, 1, 1, tzinfo=UTC)})
    assert (letter.options, letter.priority) == ({"timeout": timedelta(seconds=9)}, Priority.NORMAL)
    assert (ended.job.result, ended.args, ended.kwargs, ended.options, ended.priority) == (3, None, None, {}, None)


def test_a_job_that_was_cancelled_before_it_ran_keeps_its_arguments(fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", (1, 2)))
    fleet.cancel(job_id)

    found = fleet.details(job_id)

    assert (found.job.status, found.args, found.kwargs) == (JobStatus.CANCELLED, (1, 2), {})


def test_arguments_that_cannot_be_read_are_left_out(fleet: Fleet, hand: Hand, raw: redis.Redis) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", (1, 2)))
    raw.set(fleet.context.keys.lane_of(job_id).job(job_id), b"rubbish")

    found = fleet.details(job_id)

    assert (found.args, found.kwargs, found.options, found.max_retries) == (None, None, {}, None)


def test_an_unknown_job(fleet: Fleet) -> None:
    fleet.queues()
    with pytest.raises(JobNotFound):
        fleet.details("default.0.zzz")


def test_explain_has_the_job_in_full(fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", (1, 2), delay=60))

    explanation = fleet.explain(job_id)

    assert explanation.details == fleet.details(job_id)
    assert fleet.explain("default.0.zzz").details is None


def test_poll_reads_no_more_than_before(fleet: Fleet, hand: Hand, raw: redis.Redis) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", (1, 2)))
    fleet.poll(job_id)
    raw.config_resetstat()

    fleet.poll(job_id)

    stats = raw.info("commandstats")
    scripts = {name: row["calls"] for name, row in stats.items() if "eval" in name}
    assert scripts == {"cmdstat_evalsha_ro": 1}


@pytest.mark.parametrize(("setting", "option", "is_kept"), [(0, None, 0), (0, True, 1), (1, None, 1), (1, False, 0)])
@pytest.mark.parametrize("seals", [{}, {"keyring": spelled(k1=NEW), "encrypt": "require"}], ids=["plain", "encrypted"])
def test_the_arguments_of_a_completed_job_stay_if_that_is_asked(
    fleet: Fleet, setting: int, option: bool | None, is_kept: int, seals: dict[str, Any]
) -> None:
    registry = Registry()
    function = registry.register(lambda *args, **kwargs: len(args), name="demo.kept", keep_args=option)
    with Fleet(fleet.config.url, registry=registry, keep_args=bool(setting), **seals) as own:
        small, large = own.enqueue(function.job(1, to="ann")), own.enqueue(function.job("x" * 70_000))
        own.run_worker(burst=True)
        found, other = own.details(small), own.details(large)

    assert (found.job.status, found.job.result) == (JobStatus.COMPLETED, 1)
    assert (found.args, found.kwargs) == (((1,), {"to": "ann"}) if is_kept else (None, None))
    assert (other.job.status, other.args) == (JobStatus.COMPLETED, None)


@pytest.mark.parametrize(
    "seals",
    [{}, {"keyring": spelled(k1=NEW), "sign": "require"}, {"keyring": spelled(k1=NEW), "encrypt": "require"}],
    ids=["plain", "signed", "encrypted"],
)
def test_what_was_done_to_a_job_is_told_beside_any_record_and_names_nothing_secret(
    fleet: Fleet, seals: dict[str, Any], raw: redis.Redis
) -> None:
    async def approved(ctx: JobContext, *, amount: int) -> Any:
        return await ctx.wait_for("go")

    registry = Registry()
    function = registry.register(approved, name="demo.approved")
    with Fleet(fleet.config.url, registry=registry, **seals) as own:
        job_id = own.enqueue(
            function.options(id="mine", result_ttl=30, delay=3600).job(amount=1)
        )  # its id is kept longer
        own.edit(job_id, kwargs={"amount": 2}, by="ann")
        own.signal(job_id, "go", "yes", by="bob")
        own.reschedule(job_id, delay=0)
        own.run_worker(burst=True)
        found = own.details(job_id)
        stored = raw.get(own.context.keys.lane_of(job_id).result(job_id))
        assert isinstance(stored, bytes)
        line = stored.partition(b"\n")[0]

    changed = ("kwargs",) if "encrypt" in seals else ("amount",)
    assert (found.job.status, found.job.result, len(line) < 500) == (JobStatus.COMPLETED, "yes", True)
    assert [(one.kind, one.by, one.changed, one.outcome) for one in found.life] == [
        ("edited", "ann", changed, None), ("signalled", "bob", (), None), ("run", None, (), "completed"),
    ]  # fmt: skip
    assert (b"amount" in line) is ("encrypt" not in seals)
