"""What a tally gives when it is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from jobfleet.metrics.catalog import CATALOG, RUN_SECONDS, TRIP_SECONDS, WAIT_SECONDS
from jobfleet.metrics.tally import BATCH, UNKNOWN, Row, Tally, tally_for
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace
from jobfleet.store.trip import Recorder
from tests.support.each import each

RUN = ("default", "demo.add", "completed")
TRIP = (inspect.memory(Keyspace("test")), inspect.fleet(Keyspace("test")))


def cumulative(bounds: tuple[float, ...], *seconds: float) -> list[int]:
    return [sum(value <= bound for value in seconds) for bound in (*bounds, float("inf"))]


def taken(tally: Tally) -> dict[tuple[str, tuple[str, ...]], Any]:
    return {(row[0], row[1]): row[2] if len(row) == 3 else row[2:] for row in tally.take()}


def runs(tally: Tally) -> None:
    tally.run_finished(*RUN, 1_500, 40)
    tally.run_finished(*RUN, 1_000, 2_000_000)
    tally.run_finished("default", "demo.fail", "failed", 7_000_000_000, 0)


@each(
    "record, rows",
    [
        (lambda _: None, []),
        (lambda tally: tally.tripped((), 3.0), []),  # nothing was sent
        (lambda tally: tally.stumbled(OSError()), [("redis_errors_total", ("OSError",), 1)]),
        (
            lambda tally: [tally.count("jobs_started_total", ("q", "f"), by) for by in (1, 4)],
            [("jobs_started_total", ("q", "f"), 5)],
        ),
        (
            lambda tally: [
                tally.run_finished("q", "f", outcome, UNKNOWN, UNKNOWN, is_whole=is_whole)
                for outcome, is_whole in (("failed", True), ("failed", False), ("lost", True))
            ],
            [
                ("jobs_finished_total", ("q", "f", "failed"), 2),
                ("jobs_started_total", ("q", "f"), 2),
                ("jobs_finished_total", ("q", "f", "lost"), 1),
            ],
        ),
        (
            lambda tally: [tally.tripped(TRIP, seconds) for seconds in (0.0004, 0.0005, 9.0)],
            [("redis_command_duration_seconds", ("memory",), cumulative(TRIP_SECONDS, 0.0004, 0.0005, 9.0), 9.0009)],
        ),
        (
            lambda tally: [tally.observe("queue_wait_seconds", ("q",), seconds) for seconds in (2.0, 1.0, -0.5)],
            [("queue_wait_seconds", ("q",), cumulative(WAIT_SECONDS, 1.0, 2.0), 3.0)],
        ),
        (
            runs,
            [
                ("jobs_finished_total", RUN, 2),
                ("jobs_finished_total", ("default", "demo.fail", "failed"), 1),
                ("job_duration_seconds", RUN, cumulative(RUN_SECONDS, 0.0015, 0.001), 0.0025),
                ("queue_wait_seconds", ("default",), cumulative(WAIT_SECONDS, 0.00004, 2.0, 0.0), 2.00004),
                ("job_duration_seconds", ("default", "demo.fail", "failed"), cumulative(RUN_SECONDS, 7e3), 7e3),
            ],
        ),
        (
            lambda tally: tally.run_finished("default", "gone", "parked", UNKNOWN, UNKNOWN),
            [("jobs_finished_total", ("default", "gone", "parked"), 1)],
        ),
    ],
)
def test_take_gives_what_was_recorded_and_then_nothing(record: Callable[[Tally], object], rows: list[Row]) -> None:
    tally = Tally()
    record(tally)
    assert tally.take() == rows
    assert tally.take() == []


def test_a_mute_one_counts_nothing_and_refuses_nothing() -> None:
    mute = tally_for(None)
    runs(mute)
    mute.count("jobs_started_total", ("q", "f"))
    mute.observe("queue_wait_seconds", ("q",), 1.0)
    mute.tripped(TRIP, 1.0)
    mute.stumbled(OSError())
    assert mute.take() == []
    assert (mute.is_on, tally_for(0).is_on) == (False, True)


def test_is_a_recorder() -> None:
    recorder: Recorder = Tally()
    assert recorder is not None


@each(
    "record, text",
    [
        (lambda tally: tally.count("jobs_lost_total"), "jobs_lost_total is not a counter"),
        (lambda tally: tally.count("worker_slots"), "worker_slots is not a counter"),
        (lambda tally: tally.count("jobs_enqueued_total", ("q",)), "jobs_enqueued_total is not a counter"),
        (lambda tally: tally.count("jobs_started_total", ("q",)), r"a counter with the labels \('queue', 'function'\)"),
        (lambda tally: tally.observe("jobs_started_total", ("q", "f"), 1.0), "jobs_started_total is not a histogram"),
        (
            lambda tally: tally.observe("queue_wait_seconds", (), 1.0),
            r"a histogram with the labels \('queue',\), not \(\)",
        ),
    ],
)
def test_refuses_what_the_catalog_does_not_know(record: Callable[[Tally], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        record(Tally())


def test_rows_survive_msgpack() -> None:
    tally = Tally()
    runs(tally)
    rows = tally.take()
    unpacked = msgpack.unpackb(msgpack.packb(rows))
    assert [(row[0], tuple(row[1]), *row[2:]) for row in unpacked] == rows


def test_what_nobody_takes_stays_small() -> None:
    tally = Tally(cap=20)
    for n in range(25 * BATCH):
        tally.run_finished("default", f"f{n % 100}", "completed", n, 0, is_whole=n % 2 == 0)
        if n % 2:
            tally.count("jobs_started_total", ("default", f"f{n % 100}"))
        tally.tripped(TRIP, 0.001)
    assert sum(map(len, tally._runs.values())) <= 21 * BATCH
    assert sum(map(len, tally._whole.values())) <= 21 * BATCH
    assert len(tally._counts) <= BATCH
    assert len(tally._trips["memory"]) <= BATCH
    rows = taken(tally)
    for name in ("jobs_finished_total", "jobs_started_total"):
        sets = {labels: by for (of, labels), by in rows.items() if of == name}
        assert 20 <= len(sets) <= 21  # "other" may be among the first twenty
        assert sum(sets.values()) == 25 * BATCH
    assert rows["redis_command_duration_seconds", ("memory",)][0][-1] == 25 * BATCH
    assert rows["labels_folded_total", ("jobs_finished_total",)] == 25 * BATCH * 80 // 100
    assert rows["labels_folded_total", ("jobs_started_total",)] >= 80


def test_a_value_on_a_bound_is_in_its_bucket() -> None:
    tally = Tally()
    for bound in CATALOG["job_duration_seconds"].buckets:
        tally.run_finished(*RUN, round(bound * 1e6), 0)
        tally.run_finished(*RUN, round(bound * 1e6) + 1, 0)
    counts = taken(tally)["job_duration_seconds", RUN][0]
    assert counts == [*range(1, 2 * len(RUN_SECONDS), 2), 2 * len(RUN_SECONDS)]


def test_threads_lose_nothing_while_it_is_taken() -> None:
    tally = Tally()
    each, threads = 20_000, 4

    def record(thread: int) -> None:
        for n in range(each):
            tally.run_finished("default", f"f{n % 7}", "completed", thread, n)
            tally.count("jobs_started_total", ("default", "f"))

    recorders = [threading.Thread(target=record, args=(thread,)) for thread in range(threads)]
    for thread in recorders:
        thread.start()
    rows = []
    while any(thread.is_alive() for thread in recorders):
        rows += tally.take()
    rows += tally.take()
    finished = sum(row[2] for row in rows if row[0] == "jobs_finished_total" and len(row) == 3)
    started = sum(row[2] for row in rows if row[0] == "jobs_started_total" and len(row) == 3)
    durations = [(row[2][-1], row[3]) for row in rows if row[0] == "job_duration_seconds" and len(row) == 4]
    assert finished == started == each * threads
    assert sum(count for count, _ in durations) == each * threads
    assert sum(total for _, total in durations) == pytest.approx(each * sum(range(threads)) / 1e6)
