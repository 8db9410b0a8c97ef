"""What a child counts of a run, from what Redis answered to its ending."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobfleet.metrics.tally import Tally
from jobfleet.store.calls import settle
from jobfleet.worker.run.run import ChunkBuffer, Output
from jobfleet.worker.run.telemetry import Counting

NOW = 1_000_000
COMPLETE = settle.complete("q.0.a", 7, record=b"", ttl_ms=1, duration_us=250)
FAIL = settle.fail("q.0.a", 7, record=b"", ttl_ms=1, duration_us=250, reason="crashed", tries="")
RETRY = settle.retry("q.0.a", 7, delay_us=1, tries="")


def run(item: settle.Item | None, **changes: Any) -> Any:
    given = {
        "lane": SimpleNamespace(queue="q"), "header": {"function": "f"}, "handler": object(),
        "ending": SimpleNamespace(item=item), "output": Output(),
        "started_us": NOW - 400, "is_counted": False, "grant": SimpleNamespace(due=NOW - 1_000),
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changes})


def counted(ended: Any, letter: str, *, is_long: bool = False) -> dict[str, Any]:
    tally = Tally()
    counting = Counting(tally, lambda: NOW)
    counting.started([ended, ended] if is_long else [])
    counting.settled(ended, letter)
    return {str(row[0]): (row[1], row[2] if len(row) == 3 else round(row[3] * 1e6)) for row in tally.take()}


@pytest.mark.parametrize(
    ("item", "letter", "outcome", "took", "more"),
    [
        (COMPLETE, "s", "completed", 250, {}),
        (COMPLETE, "d", "completed", 250, {}),
        (COMPLETE, "l", "lost", 250, {"fenced_writes_total": (("q",), 1)}),
        (COMPLETE, "?", "lost", 250, {"fenced_writes_total": (("q",), 1)}),
        (FAIL, "s", "failed", 250, {"jobs_dead_lettered_total": (("q", "crashed"), 1)}),
        (FAIL, "c", "cancelled", 250, {}),
        (RETRY, "s", "retried", 400, {"jobs_retried_total": (("q", "error"), 1)}),
        (RETRY, "c", "cancelled", 400, {}),
    ],
    ids=["completed", "again", "lost", "unanswered", "failed", "cancelled", "retried", "cancelled, not retried"],
)
def test_an_ending_counts_as_what_redis_made_of_it(
    item: settle.Item, letter: str, outcome: str, took: int, more: dict[str, Any]
) -> None:
    assert counted(run(item), letter) == {
        "jobs_finished_total": (("q", "f", outcome), 1),
        "job_duration_seconds": (("q", "f", outcome), took),
        "queue_wait_seconds": (("q",), 600),
        "jobs_started_total": (("q", "f"), 1),
        **more,
    }
    assert counted(run(item), letter, is_long=True) == counted(run(item), letter)


def test_a_run_that_never_started_has_no_times() -> None:
    release = settle.release("q.0.a", 7)
    assert counted(run(release, started_us=0), "s") == {"jobs_finished_total": (("q", "f", "released"), 1)}


@pytest.mark.parametrize("name", [None, "", 5, ["f"], {"f": 1}, "f" * 201], ids=lambda name: str(name)[:8])
def test_what_is_no_name_becomes_no_label(name: object) -> None:
    hostile = run(COMPLETE, header={"function": name}, handler=None)
    assert counted(hostile, "s")["jobs_finished_total"] == (("q", "?", "completed"), 1)


def test_the_chunks_of_a_run_are_counted_with_its_end() -> None:
    ended = run(COMPLETE)
    ended.output.chunks = ChunkBuffer()
    for _ in range(3):
        ended.output.chunks.add(b"x")
    ended.output.chunks.take()

    assert counted(ended, "s")["chunks_emitted_total"] == (("q",), 3)
