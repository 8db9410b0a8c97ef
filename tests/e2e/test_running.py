"""What jobs that run show, and what they hear; what an idle worker costs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs, await_listening, settle_all
from tests.support.waiting import wait_until
from tests.support.whole import info_of_each


def test_progress_is_seen_while_a_job_runs_and_its_last_value_stays(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    programs.ready()
    job_id = fleet.enqueue(Job("steps", "hist.steps", ([0.1, 0.2, 0.7], str(gate))))

    wait_until(lambda: fleet.poll(job_id).progress == 0.7, timeout=LONG, why="the last report is seen")
    seen = fleet.poll(job_id)
    gate.touch()
    result = fleet.wait(job_id, timeout=LONG)

    assert (seen.status, seen.progress_message, seen.progress_details) == (JobStatus.RUNNING, "at 0.7", {"value": 0.7})
    assert (result.status, result.progress) == (JobStatus.COMPLETED, 1.0)
    assert (result.progress_message, result.progress_details) == ("last", {"value": 1.0})


def test_running_jobs_are_cancelled_whatever_they_run_in(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    programs.ready(lease=600)  # no renewal brings the news: the message does
    ids = {name: fleet.enqueue(Job(name, f"hist.{name}", (never,))) for name in ("gate", "door")}
    for job_id in ids.values():
        programs.history.await_start(job_id)

    assert all(fleet.cancel(job_id, by="ann") for job_id in ids.values())

    results = settle_all(fleet, ids.values())
    assert {result.status for result in results.values()} == {JobStatus.CANCELLED}
    assert all("ann" in (result.error or "") for result in results.values())
    assert not programs.history.ended()


def test_a_cancellation_outlives_the_message_and_the_worker(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    never = str(tmp_path / "never")
    worker = programs.ready(lease=6)
    deaf = fleet.enqueue(Job("stubborn", "hist.stubborn", (never,)))
    programs.history.await_start(deaf)

    fleet.cancel(deaf, by="ann")
    worker.close()
    programs.reaper(reap_interval=0.2)

    assert fleet.wait(deaf, timeout=LONG).status is JobStatus.CANCELLED
    assert programs.history.starts()[deaf] == 1


def test_a_job_that_hears_no_cancellation_and_completes_is_completed(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    programs.ready()
    job_id = fleet.enqueue(Job("stubborn", "hist.stubborn", (str(gate),)))
    programs.history.await_start(job_id)

    fleet.cancel(job_id, by="ann")
    wait_until(
        lambda: any(entry.event == "asked" for entry in programs.history.entries()), timeout=LONG, why="it was asked"
    )
    gate.touch()

    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED


@pytest.mark.first(1)
@pytest.mark.parametrize("function", ["clutch", "block", "rest"])
def test_a_job_longer_than_its_lease_runs_once_whatever_it_blocks(
    programs: Programs, fleet: Fleet, function: str
) -> None:
    first = programs.ready(lease=3)
    job_id = fleet.enqueue(Job(function, f"hist.{function}", (7.0,)))
    programs.history.await_start(job_id)
    programs.ready(lease=3)  # would take it over

    result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.retry_count) == (JobStatus.COMPLETED, 0)
    assert programs.history.starts()[job_id] == 1
    assert programs.history.runners(job_id)[0] in first.children()


def test_queues_are_served_in_order(programs: Programs, fleet: Fleet) -> None:
    programs.ready().close()  # its functions and queues are published now
    plain = [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(5)]
    urgent = [fleet.enqueue(Job("urgent", "hist.urgent")) for _ in range(5)]

    worker = programs.worker(slots=1, queues="urgent,default", burst=1)

    assert worker.exit_code() == 0
    order = [entry.id for entry in programs.history.entries() if entry.event == "start"]
    assert order == [*urgent, *plain]


def test_odd_errors_and_results_are_settled(programs: Programs, fleet: Fleet) -> None:
    programs.ready()
    kinds = ("RuntimeError", "ValueError", "SystemExit", "Mute")
    ids = [fleet.enqueue(Job("raise", "hist.raise", ("x\0y\n" * 100, kind), max_retries=0)) for kind in kinds]
    ids += [fleet.enqueue(Job("odd", "hist.odd", (what,), max_retries=0)) for what in ("lock", "huge", "surrogate")]

    results = settle_all(fleet, ids, timeout=30)

    assert {result.status for result in results.values()} == {JobStatus.FAILED}


@pytest.mark.parametrize("kind", ["ValueError", "RuntimeError"])
def test_an_error_whose_text_is_no_unicode_is_settled(programs: Programs, fleet: Fleet, kind: str) -> None:
    programs.ready()

    job_id = fleet.enqueue(Job("undecodable", "hist.undecodable", (kind,), max_retries=1))

    assert settle_all(fleet, [job_id])[job_id].status is JobStatus.FAILED


def sent(raw: redis.Redis, *commands: str) -> list[int]:
    """How many of these commands clients have sent to each node; what scripts call inside does not count."""
    wanted = tuple(f"cmdstat_{command}" for command in commands)
    nodes = info_of_each(raw, "commandstats")
    return [sum(row["calls"] for name, row in node.items() if name.startswith(wanted)) for node in nodes]


def test_an_idle_worker_hardly_asks(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    worker = programs.ready(processes=4)
    worker.await_children(4)
    job_ids = [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(8)]
    settle_all(fleet, job_ids)
    await_listening(raw, 4)  # the claims that follow an end are behind

    before, begun = sent(raw, "eval", "bzpopmin"), raw.time()
    threading.Event().wait(12.0)  # a span to count in, longer than all periods
    after, ended = sent(raw, "eval", "bzpopmin"), raw.time()

    seconds = (ended[0] - begun[0]) + (ended[1] - begun[1]) / 1e6
    busiest = max(late - early for late, early in zip(after, before, strict=True))
    assert busiest / seconds < 6, "a tick a second for each of two queues, a look, a beat: no claims"
    assert not worker.is_over


def test_idle_children_do_not_claim(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    worker = programs.ready(processes=3)
    worker.await_children(3)
    fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG)
    await_listening(raw, 3)
    raw.config_resetstat()

    threading.Event().wait(4.0)  # a span to count in

    assert max(sent(raw, "bzpopmin")) <= 3, "each blocks once at most"
    assert not worker.is_over
