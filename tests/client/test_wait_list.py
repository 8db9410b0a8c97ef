"""Which jobs are polled when, and who hears what. No server."""

from __future__ import annotations

import pytest

from jobfleet import JobNotFound, JobResult, JobStatus
from jobfleet.client.wait_list import AT_ONCE, GRID, Outcome, WaitList
from jobfleet.config import JobConfig
from jobfleet.store.channels import Message
from jobfleet.store.keys import Keyspace

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("mail", 0)
JOB = "mail.0.a"
CHANNEL = LANE.job_events(JOB)
T0 = 1000.0


class Caller:
    """Waits for jobs, or hears messages."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, Outcome]] = []
        self.heard: list[str | None] = []

    def ended(self, job_id: str, outcome: Outcome) -> None:
        self.ends.append((job_id, outcome))

    def hear(self, text: str | None) -> None:
        self.heard.append(text)


@pytest.fixture
def waits() -> WaitList:
    return WaitList(KEYS, JobConfig())


def polled(waits: WaitList, now: float) -> list[str]:
    """Poll what is due; nothing has ended."""
    jobs = waits.take_due(now)
    waits.polled(jobs, {}, now)
    return [job.job_id for job in jobs]


def done(job_id: str) -> JobResult[None]:
    return JobResult(id=job_id, status=JobStatus.COMPLETED)


def line(event: str) -> str:
    return f"1 {event} {JOB} 7 1000000 1764265000000000"


def test_without_messages_a_job_is_polled_ever_less_often_up_to_a_bound(waits: WaitList) -> None:
    waits.watch(Caller(), [JOB], T0)
    now, pauses = T0, []
    for _ in range(8):
        pause = 0.0
        while not polled(waits, now + pause):
            pause = round(pause + 0.001, 3)
        now += pause
        pauses.append(pause)

    for pause, longest in zip(pauses, (0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0), strict=True):
        assert longest * (1 - 1 / GRID) - 0.002 <= pause <= longest + 0.002


@pytest.mark.parametrize("event", ["completed", "failed", "cancelled", "expired", "parked", "of a later version"])
def test_an_event_that_may_be_the_end_has_the_job_polled_at_once(waits: WaitList, event: str) -> None:
    waits.watch(Caller(), [JOB], T0)

    waits.hear([Message(CHANNEL, line(event))])

    assert waits.pause(T0) == 0
    assert polled(waits, T0) == [JOB]


@pytest.mark.parametrize("event", ["claimed", "progressed", "stopping"])
def test_an_event_that_cannot_be_the_end_does_not(waits: WaitList, event: str) -> None:
    waits.watch(Caller(), [JOB], T0)

    waits.hear([Message(CHANNEL, line(event))])

    assert polled(waits, T0) == []


def test_a_subscription_that_begins_has_the_job_polled_because_its_end_may_have_been_missed(waits: WaitList) -> None:
    waits.watch(Caller(), [JOB], T0)

    waits.hear([Message(CHANNEL, None)])

    assert polled(waits, T0) == [JOB]


def test_a_message_during_a_poll_leads_to_another_poll(waits: WaitList) -> None:
    waits.watch(Caller(), [JOB], T0)
    waits.hear([Message(CHANNEL, None)])
    jobs = waits.take_due(T0)
    assert waits.take_due(T0) == []

    waits.hear([Message(CHANNEL, line("completed"))])
    waits.polled(jobs, {}, T0)

    assert polled(waits, T0) == [JOB]


def test_an_end_is_passed_to_all_who_wait_and_the_channel_is_given_up(waits: WaitList) -> None:
    one, other = Caller(), Caller()
    assert waits.watch(one, [JOB], T0) == waits.watch(other, [JOB], T0) == [CHANNEL]

    unused = waits.polled(waits.take_due(T0 + 1), {JOB: done(JOB)}, T0 + 1)

    assert (one.ends, other.ends) == ([(JOB, done(JOB))], [(JOB, done(JOB))])
    assert unused == [CHANNEL]
    assert waits.is_empty


def test_a_channel_is_needed_as_long_as_anybody_needs_it(waits: WaitList) -> None:
    one, other, listening = Caller(), Caller(), Caller()
    waits.watch(one, [JOB], T0)
    waits.watch(other, [JOB], T0)
    waits.listen(listening, [CHANNEL])

    assert waits.forget(one, [JOB]) == waits.forget(other, [JOB]) == []
    waits.hear([Message(CHANNEL, None), Message(CHANNEL, "text")])
    assert waits.channels() == [CHANNEL]
    assert waits.ignore(listening, [CHANNEL]) == [CHANNEL]

    assert listening.heard == [None, "text"]
    assert waits.is_empty
    assert polled(waits, T0 + 9) == []


def test_a_caller_that_gave_up_during_a_poll_gets_nothing(waits: WaitList) -> None:
    caller = Caller()
    waits.watch(caller, [JOB], T0)
    jobs = waits.take_due(T0 + 1)

    waits.forget(caller, [JOB])

    assert waits.polled(jobs, {JOB: done(JOB)}, T0 + 1) == []
    assert caller.ends == []


def test_polls_of_many_jobs_soon_fall_together(waits: WaitList) -> None:
    ids = [f"mail.0.j{number}" for number in range(200)]
    for number, job_id in enumerate(ids):
        waits.watch(Caller(), [job_id], T0 + number / 200)
    batches, now = [], T0
    while now < T0 + 20:
        now += 0.001
        if found := polled(waits, now):
            batches.append((now, len(found)))

    late = [count for at, count in batches if at > T0 + 10]
    assert sum(late) >= 200 * 9
    assert len(late) <= 10 * (GRID + 2)


def test_at_most_so_many_jobs_are_polled_at_once(waits: WaitList) -> None:
    waits.watch(Caller(), [f"mail.0.j{number}" for number in range(AT_ONCE + 10)], T0)

    assert [len(polled(waits, T0 + 0.06)) for _ in range(3)] == [AT_ONCE, 10, 0]


def test_a_lane_is_marked_with_the_first_poll_and_then_now_and_again(waits: WaitList) -> None:
    waits.watch(Caller(), [JOB, "mail.0.b", "other.0.c"], T0)
    jobs = waits.take_due(T0 + 1)
    other = KEYS.lane("other", 0)

    assert waits.marks_due(jobs, T0) == [LANE, other]
    assert waits.marks_due(jobs, T0 + 29) == []
    assert waits.marks_due(jobs, T0 + 30) == [LANE, other]
    waits.unmark([other])
    assert waits.marks_due(jobs, T0 + 31) == [other]


def test_a_text_that_is_no_id_changes_nothing(waits: WaitList) -> None:
    with pytest.raises(JobNotFound):
        waits.watch(Caller(), [JOB, "nonsense"], T0)

    assert waits.is_empty


def test_an_error_is_passed_to_all(waits: WaitList) -> None:
    one, other, error = Caller(), Caller(), RuntimeError("broken")
    waits.watch(one, [JOB], T0)
    waits.watch(other, ["mail.0.b"], T0)

    waits.fail(error)

    assert (one.ends, other.ends) == ([(JOB, error)], [("mail.0.b", error)])
    assert waits.is_empty
