"""The newest jobs of all queues, and jobs that are named by a part of their id."""

from __future__ import annotations

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobStatus, Priority, UnknownQueue
from jobfleet.operations.jobs import listing as module
from tests.cli.hand import Hand
from tests.support.waiting import next_millisecond


def test_the_newest_come_first_whatever_their_queue_and_state(fleet: Fleet, hand: Hand) -> None:
    done = fleet.enqueue(Job("x", "demo.add"))
    later = fleet.enqueue(Job("x", "demo.fail", queue="mail", delay=3600))
    hand.completes(hand.claims(done), 1)
    next_millisecond()
    running = fleet.enqueue(Job("x", "demo.add", queue="bulk"))
    hand.claims(running)
    parent = fleet.enqueue(Job("x", "demo.add", queue="mail", delay=60, priority=Priority.LOW))
    next_millisecond()
    blocked = fleet.enqueue(Job("x", "demo.add", depends_on=[parent]))
    queued = fleet.enqueue(Job("x", "demo.add", queue="bulk", group="acme"))
    dead = fleet.enqueue(Job("x", "demo.fail", queue="dead"))
    hand.fails(hand.claims(dead))

    every = [dead, queued, blocked, parent, running, later, done]
    assert [job.id for job in fleet.newest()] == every
    assert [job.id for job in fleet.newest(limit=3)] == every[:3]
    assert [job.id for job in fleet.newest(queue="mail")] == [parent, later]
    assert [job.id for job in fleet.newest(function="demo.fail")] == [later]
    assert [job.id for job in fleet.newest(group="acme")] == [queued]
    at = fleet.poll(running).enqueued_at
    assert [job.id for job in fleet.newest(since=at, until=fleet.poll(blocked).enqueued_at)] == [parent, running]
    for status, wanted in (
        (JobStatus.RUNNING, [running]),
        (JobStatus.SCHEDULED, [parent, later]),
        (JobStatus.BLOCKED, [blocked]),
        (JobStatus.COMPLETED, [done]),
        (JobStatus.FAILED, [dead]),
    ):
        assert [job.id for job in fleet.newest(status=status)] == wanted


def test_more_than_a_batch_is_listed_in_order(fleet: Fleet, hand: Hand) -> None:
    made = [fleet.enqueue(Job("x", "demo.add", queue=f"q{n % 3}", priority=Priority(n % 4))) for n in range(120)]

    assert [job.id for job in fleet.newest(limit=110)] == made[::-1][:110]


def test_a_queue_that_is_not_there_and_a_wrong_limit(fleet: Fleet, hand: Hand) -> None:
    with pytest.raises(UnknownQueue, match=r"^No queue 'mial'; there are: none yet\.$"):
        fleet.newest(queue="mial")
    with pytest.raises(InvalidJob):
        fleet.newest(limit=0)


def test_an_id_is_found_by_its_end_or_its_beginning_in_every_state(fleet: Fleet, hand: Hand) -> None:
    running = fleet.enqueue(Job("x", "demo.add", queue="mail"))
    hand.claims(running)
    dead = fleet.enqueue(Job("x", "demo.fail"))
    hand.fails(hand.claims(dead))
    done = fleet.enqueue(Job("x", "demo.add"))
    hand.completes(hand.claims(done), 3)
    waiting = fleet.enqueue(Job("x", "demo.add", delay=60))

    ids = [running, dead, done, waiting]
    assert fleet.full_ids([job_id[-12:] for job_id in ids]) == ids
    assert fleet.full_ids([job_id.rpartition(".")[2][:31] for job_id in ids]) == ids
    assert fleet.full_ids([job_id[:-1] for job_id in ids]) == ids


def test_the_name_of_a_queue_is_not_a_part_of_an_id(fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="own", queue="solo", delay=60))

    assert fleet.full_ids(["solo", "solo.0", "solo.0.", "solo.0.o"]) == ["solo", "solo.0", "solo.0.", "solo.0.own"]


def test_a_part_that_fits_several_jobs_names_them(fleet: Fleet, hand: Hand) -> None:
    ids = [fleet.enqueue(Job("x", "demo.add", id=f"order-{n}")) for n in range(7)]

    with pytest.raises(InvalidJob) as caught:
        fleet.full_ids(["order"])

    assert str(caught.value) == f"'order' fits 7 jobs: {', '.join(ids[:5])} and 2 more; give more of the id."
    assert caught.value.field == "job_id"


def test_an_id_that_is_a_job_is_that_job_though_others_begin_with_it(fleet: Fleet, hand: Hand) -> None:
    one = fleet.enqueue(Job("x", "demo.add", id="order-1"))
    fleet.enqueue(Job("x", "demo.add", id="order-10"))

    assert fleet.full_ids([one]) == [one]


def test_a_part_that_fits_no_job_or_is_too_short_stays_as_it_is(fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="abcd"))

    assert fleet.full_ids(["nonsense", "bcd", "default.0.zzz", "bcd"]) == [
        "nonsense", "bcd", "default.0.zzz", "bcd",
    ]  # fmt: skip


def test_a_complete_id_costs_no_request(here_is_no_redis: Fleet) -> None:
    job_id = "default.0.01a21dfc05b370008000f1a0f9ebbd5a"

    assert here_is_no_redis.full_ids([job_id, job_id]) == [job_id, job_id]


@pytest.fixture
def here_is_no_redis() -> Fleet:
    """A client whose server does not exist."""
    return Fleet("unix:///nowhere/server.sock", patience=0)


def test_only_a_bounded_part_of_a_lane_is_read(fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_MOST", 3)
    ids = [fleet.enqueue(Job("x", "demo.add", id=f"{n:04}-x")) for n in range(9)]

    assert fleet.full_ids(["0001", "0004", "0007"]) == [ids[1], "0004", ids[7]]
