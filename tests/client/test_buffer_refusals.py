"""The local buffer: when it is full, and when the server refuses a job that was kept."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Self

import pytest

from jobfleet import BufferFull, DuplicateJob, Fleet, Job, JobNotFound, JobStatus, StoreUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.operations.buffer import aged, ascending
from jobfleet.store.records import Entry
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def away() -> Iterator[RedisServer]:
    """A server that keeps everything when it is killed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


class Producer:
    """A fleet with a buffer, and what it counts."""

    def __init__(self, server: RedisServer, registry: Registry, **settings: Any) -> None:
        self.fleet = Fleet(server.url, registry=registry, **{"patience": 0, "buffer": 3, **settings})
        self.fleet.recorder = self
        self.counts: Counter[str] = Counter()
        self.fleet.enqueue(add(0))

    def tripped(self, *_: object) -> None:
        """Nothing."""

    def stumbled(self, _: BaseException) -> None:
        """Nothing."""

    def counted(self, operation: str, by: int) -> None:
        """Count."""
        self.counts[operation] += by

    def flushed(self) -> None:
        wait_until(lambda: not self.fleet.buffered, why="the buffer is flushed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fleet.close(0)


def add(number: int, **options: Any) -> Job:
    return Job(f"job {number}", "app.add", (number, 0), **options)


def buffer_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.message.startswith("buffer.")]


def test_a_full_buffer_raises_with_the_remedy(away: RedisServer, registry: Registry) -> None:
    with Producer(away, registry) as producer:
        away.kill()
        kept = [producer.fleet.submit(add(number)) for number in range(3)]
        refused = add(3)

        with pytest.raises(BufferFull) as caught:
            producer.fleet.enqueue(refused)
        receipts = list(producer.fleet.enqueue_many([add(4), add(5)]))

        refused_id = f"default.0.{refused.suffix}"
        assert isinstance(caught.value, StoreUnavailable)
        assert str(caught.value) == (
            f"The local buffer holds 3 jobs while Redis is unavailable, so {refused_id} was not kept. Enqueue it again "
            "when Redis is back, or raise the setting buffer; on_full='drop' drops such jobs without an error."
        )
        assert caught.value.job_id == refused_id
        assert [type(one.error) for one in receipts] == [BufferFull, BufferFull]
        away.restart()
        producer.flushed()
        assert [producer.fleet.poll(one.id).status for one in kept] == [JobStatus.QUEUED] * 3
        assert producer.fleet.submit(refused).created
        assert producer.counts == {"enqueued": 5, "buffered": 3}


def test_a_full_buffer_drops_the_newest_jobs_with_one_warning_per_outage(
    away: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer(away, registry, on_full="drop") as producer:
        for _ in range(2):
            away.kill()
            receipts = [producer.fleet.submit(add(number)) for number in range(5)]
            away.restart()
            producer.flushed()

        assert [(one.created, type(one.error)) for one in receipts] == [
            *[(True, type(None))] * 3,
            *[(False, BufferFull)] * 2,
        ]
        with pytest.raises(JobNotFound, match="was dropped, because the local buffer was full"):
            producer.fleet.poll(receipts[-1].id)
        assert producer.counts == {"enqueued": 7, "buffered": 6, "dropped": 4}
    lines = [line.partition(" after=")[0] for line in buffer_lines(caplog)]
    assert [line for line in lines if "started" not in line] == [
        "buffer.full jobs=3: further jobs are dropped until Redis is back",
        "buffer.flushed jobs=3 refused=0 dropped=2",
    ] * 2


def test_an_empty_buffer_has_been_counted_and_reported(away: RedisServer, registry: Registry) -> None:
    at_the_line: list[tuple[int, Counter[str]]] = []
    with Producer(away, registry) as producer:

        class Reader(logging.Handler):
            """Reads the state at the moment of the line."""

            def emit(self, record: logging.LogRecord) -> None:
                if record.getMessage().startswith("buffer.flushed"):
                    at_the_line.append((producer.fleet.buffered, producer.counts.copy()))

        reader = Reader()
        logging.getLogger("jobfleet.client").addHandler(reader)
        try:
            away.kill()
            for number in range(3):
                producer.fleet.enqueue(add(number))
            away.restart()
            producer.flushed()
        finally:
            logging.getLogger("jobfleet.client").removeHandler(reader)

    assert at_the_line == [(3, Counter(enqueued=4, buffered=3))]


def test_a_unique_key_that_was_taken_meanwhile_refuses_the_job(
    away: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer(away, registry, buffer=10) as producer, Fleet(away.url, registry=registry) as other:
        away.kill()
        kept = producer.fleet.submit(add(1, unique="one"))
        twin = producer.fleet.submit(add(2, unique="one", on_conflict="replace"))
        strict = producer.fleet.submit(add(3, unique="one", on_conflict="raise"))
        plain = producer.fleet.submit(add(4))
        away.restart()
        producer.flushed()

        assert producer.fleet.poll(plain.id).status is JobStatus.QUEUED
        assert producer.fleet.poll(twin.id).status is JobStatus.QUEUED
        assert other.poll(kept.id).status is JobStatus.CANCELLED
        with pytest.raises(
            JobNotFound, match=f"{strict.id} was not enqueued from the local buffer: Job .* holds"
        ) as no:
            producer.fleet.poll(strict.id)
        assert isinstance(no.value.__cause__, DuplicateJob)
        assert producer.fleet.poll_many([strict.id, plain.id])[0] is None
        with pytest.raises(JobNotFound, match="holds the unique key"):
            producer.fleet.wait(strict.id, timeout=5)
        assert producer.counts["refused"] == 1
    assert [line for line in buffer_lines(caplog) if "refused " in line] == [
        f"buffer.refused job={strict.id}: Job {kept.id!r} holds the unique key."
    ]


def test_a_queue_that_cannot_be_created_refuses_its_jobs_alone(
    away: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer(away, registry, buffer=10, max_queues=1) as producer:
        away.kill()
        extra = producer.fleet.submit(add(1, queue="extra"))
        plain = producer.fleet.submit(add(2))
        away.restart()
        producer.flushed()

        assert producer.fleet.poll(plain.id).status is JobStatus.QUEUED
        with pytest.raises(JobNotFound, match="max_queues allows 1"):
            producer.fleet.poll(extra.id)
    assert any(line.startswith(f"buffer.refused job={extra.id}: Queue 'extra'") for line in buffer_lines(caplog))


def test_jobs_stay_in_the_buffer_while_the_memory_of_the_server_is_full(
    away: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with Producer(away, registry) as producer:
        away.kill()
        kept = producer.fleet.submit(add(1))
        away._arguments += ("--maxmemory", "1")
        away.restart()
        wait_until(lambda: any("buffer.waiting" in line for line in buffer_lines(caplog)), why="it is full")
        away.client().config_set("maxmemory", "0")
        producer.flushed()

        assert producer.fleet.poll(kept.id).status is JobStatus.QUEUED
    assert sum("buffer.waiting jobs=1: Redis refuses: its memory is full" in one for one in buffer_lines(caplog)) == 1


def test_a_script_that_fails_for_one_job_refuses_that_job_alone(away: RedisServer, registry: Registry) -> None:
    with Producer(away, registry, buffer=10) as producer:
        away.kill()
        receipts = [producer.fleet.submit(add(number)) for number in range(3)]
        kept = producer.fleet.buffer._kept  # type: ignore[union-attr]  # it has one
        bad = kept[receipts[1].id]
        kept[receipts[1].id] = bad._replace(sent=bad.sent._replace(entry=bad.sent.entry._replace(when="soon")))
        away.restart()
        producer.flushed()

        assert [producer.fleet.poll(receipts[place].id).status for place in (0, 2)] == [JobStatus.QUEUED] * 2
        with pytest.raises(JobNotFound, match="was not enqueued from the local buffer: enqueue"):
            producer.fleet.poll(receipts[1].id)


def test_relative_times_come_nearer_and_others_stay() -> None:
    entry = Entry("default.0.a", 2, "+5000", "x +3000\nr 60\ns 9000", b"")

    assert aged(entry, 1000)[2:4] == ("+4000", "x +2000\nr 60\ns 9000")
    assert aged(entry, 9000)[2:4] == ("+0", "x +0\nr 60\ns 9000")
    assert aged(entry._replace(when="7", meta="x 9"), 1000)[2:4] == ("7", "x 9")


def test_calls_have_ascending_ids_and_at_most_fifty_jobs() -> None:
    def ids_of(ids: Sequence[str]) -> list[list[str]]:
        entries = [(place, Entry(name, 2, "", "", b"")) for place, name in enumerate(ids)]
        return [[entry.id for _, entry in part] for part in ascending(entries)]

    assert ids_of(["a", "b", "a", "c", "b"]) == [["a", "b"], ["a", "c"], ["b"]]
    assert [len(part) for part in ids_of([f"{number:03}" for number in range(120)])] == [50, 50, 20]
    assert ids_of([]) == []
