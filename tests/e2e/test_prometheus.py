"""A real Prometheus scrapes real workers and reapers, with the configuration and the rules that are deployed."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.metrics.catalog import METRICS
from tests.support import tools
from tests.support.fleet import LONG, ROOT, Program, Programs, settle_all
from tests.support.prometheus import Prometheus
from tests.support.scraping import port_of, scrape, tool
from tests.support.waiting import wait_until

Found = dict[tuple[str, ...], float]
Answers = dict[str, Found]

ELSEWHERE = {
    "limit_running",
    "limit_concurrency",
    "limit_rate_left",
    "limit_closed",
    "breaker_state",
    "jobs_retried_total",  # test_metrics: every ending is counted
    "fenced_writes_total",  # worker/test_counting
    "child_crashes_total",  # test_metrics: a child that is killed
    "child_recycles_total",  # test_recycling
    "chaos_faults_total",  # test_injected_faults
    "cron_last_fire_timestamp_seconds",  # services/test_gauges
    "cron_failures",
    "cron_last_success_timestamp_seconds",
    "redis_errors_total",  # test_metrics: while Redis is away
    "rescued_jobs_total",  # services/duties/test_rescues
    "archive_events_total",  # archive/test_duty
    "archive_errors_total",  # archive/test_duty: a database that is away
    "chunks_emitted_total",  # worker/run/writes/test_metrics
    "sql_outbox_jobs_total",  # outbox/test_relay
    "sql_outbox_errors_total",  # outbox/test_relay: a database that is away
    "sql_outbox_rows",  # cli/commands/test_outbox
    "sql_outbox_lag_seconds",  # cli/commands/test_outbox
    "notifications_total",  # services/duties/test_notify
    "key_uses_total",  # trust/test_rolling: a fleet with keys
    "labels_folded_total",  # test_metrics: functions that nobody knows
}
"""Metrics that only what goes wrong, or takes its time, brings forth; and the test that sees them."""

ASKED = {
    "ended": "max by (state) (sum by (instance, state) (jobfleet_jobs_ended_total))",
    "enqueued": "sum(max by (queue) (jobfleet_jobs_enqueued_total))",
    "jobs": "max by (queue, state) (jobfleet_jobs) > 0",
    "dead": "sum(max by (queue) (jobfleet_dead_letters))",
    "finished": "sum by (outcome) (jobfleet_jobs_finished_total)",
    "durations": "sum(jobfleet_job_duration_seconds_count)",
    "paused": "max by (queue) (jobfleet_queue_paused) == 1",
    "workers": 'max(jobfleet_workers{state="running"})',
    "slots": 'max by (queue) (jobfleet_queue_slots{queue="default"})',
    "up": "up",
}


def told(fleet: Fleet, up: Found) -> Answers:
    """What the fleet itself says to the same questions."""
    counts, queues = fleet.statistics(), fleet.queues()
    states = ("queued", "scheduled", "blocked", "retrying", "running")
    ended: Found = {(state,): float(counts[state]) for state in ("completed", "failed", "cancelled", "expired")}
    return {
        "ended": ended,
        "enqueued": {(): counts["total"]},
        "jobs": {(one.name, state): getattr(one, state) for one in queues for state in states if getattr(one, state)},
        "dead": {(): counts["dead_letters"]},
        "finished": {("completed",): ended["completed",], ("failed",): ended["failed",]},
        "durations": {(): ended["completed",] + ended["failed",]},
        "paused": {(one.name,): 1.0 for one in queues if one.paused is not None},
        "workers": {(): counts["workers"]},
        "slots": {("default",): sum(one.slots for one in fleet.workers())},
        "up": up,
    }


@pytest.mark.first(1)
@tools.tool("prometheus")
@pytest.mark.parametrize("hosts", ["apart", "together"])
def test_prometheus_answers_what_the_fleet_itself_says(
    programs: Programs, fleet: Fleet, tmp_path: Path, hosts: str
) -> None:
    together = hosts == "together"
    worker = programs.ready(metrics_port=0, processes=2, slots=3, with_reaper=int(together))
    reapers = [] if together else [programs.reaper(metrics_port=0)]
    wait_until(lambda: len(fleet.queues()) == 2, timeout=LONG, why="the worker has opened its queues")
    fleet.pause("urgent", by="ann")
    ids = [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(20)]
    ids += [fleet.enqueue(Job("raise", "hist.raise", ("no",), max_retries=0)) for _ in range(3)]
    for job in (
        Job("urgent", "hist.urgent", queue="urgent"),
        Job("later", "hist.nap", (0.0,), delay=timedelta(hours=1)),
        Job("child", "hist.nap", (0.0,), depends_on=[fleet.enqueue(Job("far", "hist.nap", (0.0,), delay=3600))]),
    ):
        fleet.enqueue(job)
    settle_all(fleet, ids)
    fleet.cron.add("yearly", "0 0 1 1 *", Job("yearly", "hist.nap", (0.0,)))
    fleet.cancel(fleet.enqueue(Job("gone", "hist.nap", (0.0,), delay=3600)))

    ports = {"jobfleet-worker": [port_of(worker)], "jobfleet-reaper": [port_of(one) for one in reapers]}
    up: Found = {(f"127.0.0.1:{port}", name): 1.0 for name, found in ports.items() for port in found}
    with Prometheus(
        tmp_path / "prometheus", workers=ports["jobfleet-worker"], reapers=ports["jobfleet-reaper"]
    ) as real:

        def asked() -> Answers:
            return {name: real.query(expression) for name, expression in ASKED.items()}

        wait_until(lambda: asked() == told(fleet, up), timeout=LONG, why=f"{told(fleet, up)} is what it answers")
        wait_until(
            lambda: {rule["health"] for rule in rules(real)} == {"ok"}, timeout=LONG, why="every rule was evaluated"
        )
        wait_until(
            lambda: [rule["name"] for rule in rules(real) if rule["state"] != "inactive"] == ["JobfleetQueuePaused"],
            timeout=LONG,
            why="only the pause is noticed",
        )
        for expression in shown():
            real.query(expression)  # it is refused if it is no expression
    for program in (worker, *reapers):
        is_clean_for_promtool(program)
    told_of = {
        line.split()[2] for program in (worker, *reapers) for line in scrape(program).splitlines() if "# TYPE" in line
    }
    assert {metric.name for metric in METRICS if metric.full_name not in told_of} == ELSEWHERE


def shown() -> list[str]:
    """The expressions of the page on monitoring."""
    _, _, table = (ROOT / "docs" / "howto" / "metrics.md").read_text().partition("| question | expression |")
    rows = table.partition("\n\n")[0].splitlines()[2:]
    found = [expression for row in rows for expression in re.findall(r"`([^`]+)`", row)]
    assert len(found) > len(rows) > 10
    return found


def rules(real: Prometheus) -> list[dict[str, str]]:
    return [rule for group in real.get("rules")["groups"] for rule in group["rules"]]


def is_clean_for_promtool(program: Program) -> None:
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=scrape(program), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
