"""Whatever way events are read, twice, late or in pieces, the same stands in the archive."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from jobfleet import JobStatus
from jobfleet.archive import JobRepository
from jobfleet.archive.batch import APPLIERS
from jobfleet.archive.writer import Writer
from jobfleet.codec import Limits, seal, seal_record
from jobfleet.model import TRANSITIONS
from jobfleet.store.journal import Event
from jobfleet.store.rows import noting

AT = 1_764_000_000_000_000
S = 1_000_000
JOB = "mail.0.01a214189c5d7000800088feb3b7c1aa"


@pytest.fixture
def writer(repository: JobRepository) -> Writer:
    return Writer(repository.engine, "jobfleet", Limits())


def envelope(**header: Any) -> bytes:
    return seal({"function": "mail.send", "enqueued_at": AT, **header}, ["ann@example.org"])


def record(**fields: Any) -> bytes:
    return seal_record({"function": "mail.send", "started_at": AT + S, "duration": 2 * S, "worker": "w.1", **fields})


def life(job_id: str = JOB, *, first: int = 1) -> list[Event]:
    """A job that fails once, is retried and completes."""
    call = envelope(user="ann", tags=["eu", "vip"], metadata={"order": 7}, session="s1", correlation_id="c")
    tries = f"1:0:0:0:0\n1 {AT + 3 * S} OSError: away"
    done = record(value={"sent": 1}, started_at=AT + 9 * S, attempt=2, retry_count=1)
    rows: list[tuple[str, int, int, tuple[str, ...], bytes, bytes, str]] = [
        ("enqueued", 0, 0, ("1", str(AT)), call, b"", ""),
        ("claimed", 11, 1, ("w.1",), b"", b"", ""),
        ("retried", 11, 3, (str(AT + 8 * S),), call, b"", tries),
        ("claimed", 22, 9, ("w.2",), b"", b"", tries),
        ("completed", 22, 11, (str(2 * S),), call, done, tries),
    ]
    return [
        Event(first + n, event, job_id, token, AT + at * S, words, header, body, spent)
        for n, (event, token, at, words, header, body, spent) in enumerate(rows)
    ]


def whole(repository: JobRepository) -> dict[str, list[tuple[Any, ...]]]:
    """All that stands in the archive."""
    with repository.engine.connect() as connection:
        return {
            table: sorted((tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))), key=repr)
            for table in ("jobfleet_jobs", "jobfleet_results", "jobfleet_attempts", "jobfleet_tags", "jobfleet_life")
        }


def test_a_life_is_told_in_full(writer: Writer, repository: JobRepository) -> None:
    assert writer.write(life()) == 1

    job = repository.get(JOB)
    assert job is not None
    assert (job.status, job.result, job.error, job.attempt, job.retry_count) == (
        JobStatus.COMPLETED, {"sent": 1}, None, 2, 1,
    )  # fmt: skip
    assert (job.user, job.tags, job.metadata, job.correlation_id) == ("ann", ("eu", "vip"), {"order": 7}, "c")
    assert (job.function, job.name, job.queue, job.worker, job.fence) == ("mail.send", "mail.send", "mail", "w.1", 22)
    assert [moment and round(moment.timestamp() * 1e6) - AT for moment in (
        job.enqueued_at, job.started_at, job.completed_at, job.scheduled_at
    )] == [0, 9 * S, 11 * S, None]  # fmt: skip
    assert job.duration is not None
    assert job.duration.total_seconds() == 2.0
    runs = [
        (run.fence, run.attempt, run.status, run.worker, run.error, run.ended_at) for run in repository.attempts(JOB)
    ]
    assert [(*run[:5], run[5] is not None) for run in runs] == [
        (11, 1, "retried", "w.1", "OSError: away", True),
        (22, 2, "completed", "w.1", None, True),
    ]


def test_a_crash_counts_as_a_run_and_not_as_a_retry(writer: Writer, repository: JobRepository) -> None:
    crashed = [one._replace(tries=one.tries.replace("1:0:", "1:1:", 1)) for one in life()]
    found = []
    for events in (3, 4):  # it waits, then it runs
        writer.write(crashed[:events])
        job = repository.get(JOB)
        assert job is not None
        found.append((job.status, job.attempt, job.retry_count))

    assert found == [(JobStatus.RETRYING, 2, 1), (JobStatus.RUNNING, 3, 1)]


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_in_two_pieces_and_each_twice_it_is_the_same(writer: Writer, repository: JobRepository, cut: int) -> None:
    writer.write(life())
    at_once = whole(repository)
    with repository.engine.begin() as connection:
        for table in at_once:
            connection.execute(text(f"DELETE FROM {table}"))

    for piece in (life()[:cut], life()[:cut], life()[cut:], life()[:cut], life()[cut:]):
        writer.write(piece)

    assert whole(repository) == at_once


def test_in_any_order_a_later_state_stands(writer: Writer, repository: JobRepository) -> None:
    chance = random.Random(7)
    orders = list(itertools.permutations(range(5)))
    for number, order in enumerate(chance.sample(orders, 30)):
        job_id = f"mail.0.own-{number}"
        events = life(job_id)
        for place in order:
            writer.write([events[place]])

        job = repository.get(job_id)
        assert job is not None
        assert (job.status, job.result, job.user, job.attempt) == (JobStatus.COMPLETED, {"sent": 1}, "ann", 2), order
        assert [run.status for run in repository.attempts(job_id)] == ["retried", "completed"], order


def test_an_end_alone_tells_of_a_job_that_was_never_seen_before(writer: Writer, repository: JobRepository) -> None:
    writer.write(life()[-1:])

    job = repository.get(JOB)
    assert job is not None
    assert (job.status, job.user, job.tags, job.result) == (JobStatus.COMPLETED, "ann", ("eu", "vip"), {"sent": 1})
    assert [found.id for found in repository.search(tag="vip")] == [JOB]


def test_every_end_and_every_wait_is_told(writer: Writer, repository: JobRepository) -> None:
    call, at = envelope(), AT + 5 * S
    failed = record(error="no such box", error_class="LookupError", error_type="permanent", traceback="…")
    events = [
        Event(1, "failed", "mail.0.f", 7, at, ("error", str(S), "2"), call, failed, f"1:0:0:0:0\n1 {at} LookupError"),
        Event(2, "cancelled", "mail.0.c", 0, at, ("0", "-", "ann"), call),
        Event(3, "cancelled", "mail.0.r", 7, at, (str(AT), "w.1", "bob", "-", str(AT + S), "raised"), call),
        Event(4, "cancelled", "mail.0.m", 0, at, ("0", "-", "ann", "moved:bulk.0.x"), call),
        Event(5, "expired", "mail.0.e", 0, at, ("0", "-", "-"), call),
        Event(6, "enqueued", "mail.0.b", 0, at, ("2", str(9_000_000_000_000_000)), call),
        Event(7, "enqueued", "mail.0.s", 0, at, ("2", str(at + S)), call),
        Event(8, "replayed", "mail.0.y", 0, at, ("ann",), call, b"", "0:0:0:0:0\nreplayed 1 ann"),
        Event(9, "released", "mail.0.l", 7, at, (str(AT),), call),
        Event(10, "parked", "mail.0.p", 7, at, (str(at + S),), call, b"", f"0:0:0:{at}:0\n1 {at} no worker knows it"),
        Event(11, "stopping", "mail.0.f", 7, at, ("1", "raised")),
        Event(12, "withheld", "mail.0.w", 7, at, (str(AT),), call),
    ]
    writer.write(events)

    told = {}
    for suffix in "fcrmebsylpw":
        job = repository.get(f"mail.0.{suffix}")
        assert job is not None
        told[suffix] = (job.status.value, job.error)
    assert told == {
        "f": ("failed", "no such box"), "c": ("cancelled", "cancelled by ann"), "r": ("cancelled", "cancelled by bob"),
        "m": ("cancelled", "moved to bulk.0.x by ann"), "e": ("expired", "not started in time"), "b": ("blocked", None),
        "s": ("scheduled", None), "y": ("queued", None), "l": ("queued", None),
        "p": ("retrying", "no worker knows it"), "w": ("queued", None),
    }  # fmt: skip
    assert [(run.status, run.error) for run in repository.attempts("mail.0.f")] == [("failed", "no such box")]


def test_a_replayed_job_has_not_ended_until_it_ends_again(writer: Writer, repository: JobRepository) -> None:
    writer.write(
        [Event(1, "failed", JOB, 7, AT, ("error", "5", "2"), envelope(), record(error="no"), "1:0:0:0:0\n1 1 no")]
    )
    writer.write([Event(2, "replayed", JOB, 0, AT + S, ("ann",), envelope(), b"", "0:0:0:0:0\n1 1 no\nreplayed 2 ann")])

    again = repository.get(JOB)
    assert again is not None
    assert (again.status, again.completed_at, again.started_at, again.error_class) == (
        JobStatus.QUEUED,
        None,
        None,
        None,
    )

    writer.write([Event(3, "completed", JOB, 9, AT + 2 * S, ("5",), envelope(), record(value=1))])
    assert [job.result for job in repository.search(status=JobStatus.COMPLETED)] == [1]
    assert [run.status for run in repository.attempts(JOB)] == ["failed", "completed"]


@pytest.mark.parametrize("value", [float("nan"), "nul \x00 inside", {"nul\x00": b"\x00\xff"}, {1, 2}, [float("inf")]])
def test_whatever_a_job_returns_is_kept(writer: Writer, repository: JobRepository, value: object) -> None:
    writer.write([Event(1, "completed", JOB, 7, AT, ("5",), envelope(user="a\x00b"), record(value=value))])

    job = repository.get(JOB)
    assert job is not None
    assert job.user == "a\ufffdb"
    assert repr(job.result) == repr(value)


def test_what_nobody_can_read_is_kept_as_far_as_it_goes(writer: Writer, repository: JobRepository) -> None:
    writer.write([Event(1, "completed", JOB, 7, AT, ("5",), b"garbage", b"garbage")])

    job = repository.get(JOB)
    assert job is not None
    assert (job.status, job.function, job.result) == (JobStatus.COMPLETED, "", None)


def test_a_name_too_long_for_an_index_costs_no_other(writer: Writer, repository: JobRepository) -> None:
    long = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=60_000))
    writer.write(
        [
            Event(1, "completed", "mail.0.a", 7, AT, ("5",), envelope(user=long), record(value=1)),
            Event(2, "completed", "mail.0.b", 8, AT, ("5",), envelope(user="ann"), record(value=1)),
        ]
    )

    assert repository.get("mail.0.b") is not None
    assert [job.id for job in repository.search(user="ann")] == ["mail.0.b"]


@pytest.mark.parametrize("crooked", [{"started_at": "1,2"}, {"worker": {"a": 1}, "attempt": 2**50}, {"attempt": "{"}])
def test_a_record_that_was_made_by_hand_costs_no_other(
    writer: Writer, repository: JobRepository, crooked: dict[str, Any]
) -> None:
    bad = Event(2, "completed", "mail.0.b", 8, AT, ("5",), envelope(), record(value=1, **crooked))
    ends = [
        Event(number, "completed", f"mail.0.{name}", 7, AT, ("5",), envelope(user=name), record(value=number))
        for number, name in ((1, "a"), (3, "c"))
    ]

    writer.write([ends[0], bad, ends[1]])

    for number, name in ((1, "a"), (3, "c")):
        job = repository.get(f"mail.0.{name}")
        assert job is not None
        assert (job.user, job.result, job.started_at) == (name, number, ended_second(1))


def ended_second(seconds: int) -> datetime:
    return datetime.fromtimestamp(AT / 1e6 + seconds, UTC)


def test_one_job_that_the_database_refuses_costs_no_other(
    writer: Writer, repository: JobRepository, caplog: pytest.LogCaptureFixture
) -> None:
    events = [
        Event(1, "completed", "mail.0.a", 7, AT, ("5",), envelope(), record(value=1)),
        Event(2, "completed", "mail.0.b", 2**70, AT, ("5",), envelope(), record(value=1)),
        Event(3, "completed", "mail.0.c", 9, AT, ("5",), envelope(), record(value=1)),
    ]

    writer.write(events)

    assert [job.id for job in repository.search()] == ["mail.0.c", "mail.0.a"]
    assert "archive.refused job_id=mail.0.b" in caplog.text


def test_an_event_that_cannot_be_applied_costs_no_other(writer: Writer, repository: JobRepository) -> None:
    events = [
        Event(1, "enqueued", "mail.0.a", 0, AT, ("2", "0"), envelope()),
        Event(2, "enqueued", "mail.0.b", 0, AT, ("2", "nan"), envelope()),
        Event(3, "enqueued", "mail.0.c", 0, AT, (), envelope()),
        Event(4, "enqueued", "mail.0.d", 0, AT, ("2", "0"), envelope()),
    ]
    with noting() as noted:
        writer.write(events)
    found = [(row.id, row.status) for name in "ad" if (row := repository.get(f"mail.0.{name}")) is not None]
    assert found == [("mail.0.a", JobStatus.QUEUED), ("mail.0.d", JobStatus.QUEUED)]
    assert [line.partition(":")[0] for line in noted] == [
        f"journal has the event 'enqueued' of 'mail.0.{name}', number {n}" for name, n in (("b", 2), ("c", 3))
    ]


def test_namespaces_share_a_database_and_do_not_meet(writer: Writer, repository: JobRepository) -> None:
    other = JobRepository(repository.engine, namespace="other")
    writer.write(life())

    assert other.get(JOB) is None
    assert other.search() == []
    assert other.prune(0) == 0
    assert repository.get(JOB) is not None


def test_an_edit_changes_the_call_and_nothing_else(writer: Writer, repository: JobRepository) -> None:
    edited = seal({"function": "mail.send", "enqueued_at": AT, "user": "ann", "tags": ["eu"]}, ["bob@example.org"])
    tries = f"1:0:0:0:0\n1 {AT + 3 * S} OSError: away"
    events = [
        *life()[:3],
        Event(4, "edited", JOB, 0, AT + 5 * S, ("1", str(AT + 8 * S), "ann"), edited, b"", tries),
    ]
    for order in itertools.permutations(events):
        for event in order:
            writer.write([event])

    with repository.engine.connect() as connection:
        (row,) = connection.execute(text("SELECT status, attempt, error, envelope, tags FROM jobfleet_jobs"))
    assert (row.status, row.attempt, row.error, bytes(row.envelope)) == ("retrying", 1, "OSError: away", edited)


def test_each_transition_changes_the_row_of_its_job() -> None:
    without_due_time = {"signalled"}  # its event does not say when the job is due: it is a line of the job's life only

    assert {row.event for row in TRANSITIONS} - APPLIERS.keys() == without_due_time
