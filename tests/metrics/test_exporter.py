"""What the exporter writes, after what was merged into it."""

from __future__ import annotations

import platform
from collections.abc import Callable

import msgpack
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from jobfleet.metrics.catalog import CATALOG
from jobfleet.metrics.exporter import Exporter
from jobfleet.metrics.tally import Row, Tally
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace
from jobfleet.version import VERSION
from tests.support.each import each

TRIP = (inspect.memory(Keyspace("test")),)

TEXT = f"""\
# HELP jobfleet_jobs_started_total Runs started.
# TYPE jobfleet_jobs_started_total counter
jobfleet_jobs_started_total{{function="demo.add",queue="default"}} 2.0
# HELP jobfleet_jobs_finished_total {CATALOG["jobs_finished_total"].help}
# TYPE jobfleet_jobs_finished_total counter
jobfleet_jobs_finished_total{{function="demo.add",outcome="completed",queue="default"}} 1.0
jobfleet_jobs_finished_total{{function="demo.add",outcome="parked",queue="default"}} 1.0
# HELP jobfleet_job_duration_seconds Time from start to end of a run.
# TYPE jobfleet_job_duration_seconds histogram
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="0.001",outcome="completed",queue="default"}} 0.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="0.005",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="0.01",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="0.05",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="0.1",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="0.5",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="1.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="5.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="10.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="30.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="60.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="300.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="1800.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="3600.0",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_bucket{{function="demo.add",le="+Inf",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_count{{function="demo.add",outcome="completed",queue="default"}} 1.0
jobfleet_job_duration_seconds_sum{{function="demo.add",outcome="completed",queue="default"}} 0.002
# HELP jobfleet_child_hangs_total Times a child's event loop did not turn for hang_after.
# TYPE jobfleet_child_hangs_total counter
jobfleet_child_hangs_total 2.0
# HELP jobfleet_worker_slots Jobs this worker can run at once.
# TYPE jobfleet_worker_slots gauge
jobfleet_worker_slots{{version="1",worker="w"}} 100.0
# HELP jobfleet_jobs_enqueued_total Jobs enqueued, by all producers.
# TYPE jobfleet_jobs_enqueued_total counter
jobfleet_jobs_enqueued_total{{queue="default"}} 12.0
# HELP jobfleet_jobs Jobs by state.
# TYPE jobfleet_jobs gauge
jobfleet_jobs{{queue="a \\"b\\"",state="running"}} 1.0
jobfleet_jobs{{queue="default",state="queued"}} 7.0
# HELP jobfleet_redis_command_duration_seconds Time from sending a pipeline to its last reply, by its first script.
# TYPE jobfleet_redis_command_duration_seconds histogram
jobfleet_redis_command_duration_seconds_bucket{{le="0.0001",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.00025",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.0005",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.001",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.0025",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.005",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.01",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.025",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.05",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.1",script="memory"}} 0.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.25",script="memory"}} 1.0
jobfleet_redis_command_duration_seconds_bucket{{le="0.5",script="memory"}} 1.0
jobfleet_redis_command_duration_seconds_bucket{{le="1.0",script="memory"}} 1.0
jobfleet_redis_command_duration_seconds_bucket{{le="5.0",script="memory"}} 1.0
jobfleet_redis_command_duration_seconds_bucket{{le="+Inf",script="memory"}} 1.0
jobfleet_redis_command_duration_seconds_count{{script="memory"}} 1.0
jobfleet_redis_command_duration_seconds_sum{{script="memory"}} 0.125
# HELP jobfleet_redis_outages_total Outages: times when this process could not reach Redis or write to it.
# TYPE jobfleet_redis_outages_total counter
jobfleet_redis_outages_total 0.0
# HELP jobfleet_redis_outage_seconds_total Seconds of all outages, the current one included.
# TYPE jobfleet_redis_outage_seconds_total counter
jobfleet_redis_outage_seconds_total 0.0
# HELP jobfleet_rows_refused_total Rows of a child's tally that could not be read.
# TYPE jobfleet_rows_refused_total counter
jobfleet_rows_refused_total 0.0
# HELP jobfleet_build_info Always 1; the labels show the versions.
# TYPE jobfleet_build_info gauge
jobfleet_build_info{{python="{platform.python_version()}",version="{VERSION}"}} 1.0
"""


def exporter(*, cap: int = 500) -> Exporter:
    return Exporter(CollectorRegistry(), cap=cap)


def samples(exporter: Exporter, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric, by labels in the catalog's order."""
    labels = CATALOG[name].labels
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(exporter.text().decode())
        for sample in family.samples
        if sample.name == CATALOG[name].full_name
    }


def one_child(*functions: str) -> list[Row]:
    tally = Tally()
    tally.count("child_hangs_total", by=2)
    for n, function in enumerate(functions):
        tally.count("jobs_started_total", ("default", function))
        tally.run_finished("default", function, "completed", 2_000 * n, 3_000)
        tally.tripped(TRIP, 0.25)
    return tally.take()


def test_writes_the_whole_text() -> None:
    subject = exporter()
    tally = Tally()
    tally.count("child_hangs_total", by=2)
    tally.count("jobs_started_total", ("default", "demo.add"), 2)
    tally.run_finished("default", "demo.add", "completed", 2_000, -1)
    tally.run_finished("default", "demo.add", "parked", -1, -1)
    tally.tripped(TRIP, 0.125)
    subject.merge(msgpack.unpackb(msgpack.packb(tally.take())))
    subject.set("worker_slots", ("w", "1"), 100)
    subject.replace("jobs_enqueued_total", {("default",): 12})
    subject.set("jobs", ("default", "queued"), 7)
    subject.set("jobs", ('a "b"', "running"), 1)
    assert subject.text().decode() == TEXT


def test_two_children_add_up_to_one() -> None:
    both, one = exporter(), exporter()
    both.merge(one_child("a", "b", "a"))
    both.merge(one_child("b", "c", "a"))
    one.merge([*one_child("a", "b", "a"), *one_child("b", "c", "a")])
    assert both.text() == one.text()
    assert samples(both, "jobs_finished_total") == {
        ("default", "a", "completed"): 3,
        ("default", "b", "completed"): 2,
        ("default", "c", "completed"): 1,
    }
    assert samples(both, "child_hangs_total") == {(): 4}


def test_histograms_are_well_formed_for_prometheus() -> None:
    subject = exporter()
    subject.merge(one_child(*"abcab"))
    families = {family.name: family for family in text_string_to_metric_families(subject.text().decode())}
    waits = families["jobfleet_queue_wait_seconds"]
    assert waits.type == "histogram"
    buckets = [sample for sample in waits.samples if sample.name.endswith("_bucket")]
    assert [float(sample.labels["le"]) for sample in buckets] == [
        *CATALOG["queue_wait_seconds"].buckets,
        float("inf"),
    ]
    assert [sample.value for sample in buckets] == [0.0] + [5.0] * (len(buckets) - 1)
    totals = {sample.name.rpartition("_")[2]: sample.value for sample in waits.samples if "le" not in sample.labels}
    assert totals == {"count": 5.0, "sum": pytest.approx(0.015)}


def test_functions_beyond_the_cap_become_other() -> None:
    subject = exporter(cap=3)
    subject.merge(one_child("a", "b"))
    subject.merge(one_child("a", "c", "d", "e"))
    assert samples(subject, "jobs_finished_total") == {
        ("default", "a", "completed"): 2,
        ("default", "b", "completed"): 1,
        ("default", "c", "completed"): 1,
        ("default", "other", "completed"): 2,
    }
    assert samples(subject, "labels_folded_total") == {
        ("jobs_started_total",): 2,
        ("jobs_finished_total",): 2,
        ("job_duration_seconds",): 2,
    }


def test_gauges_beyond_their_cap_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.metrics.exporter.GAUGE_SETS", 2)
    subject = exporter()
    for value, queue in enumerate("abca"):
        subject.set("queue_paused", (queue,), value)
    assert samples(subject, "queue_paused") == {("a",): 3, ("b",): 1}
    assert samples(subject, "labels_folded_total") == {("queue_paused",): 1}


def test_gauges_are_set_replaced_and_cleared() -> None:
    subject = exporter()
    subject.set("dead_letters", ("a",), 1)
    subject.set("dead_letters", ("a",), 2.5)
    subject.set("dead_letters", ("b",), 3)
    assert samples(subject, "dead_letters") == {("a",): 2.5, ("b",): 3}
    subject.replace("dead_letters", {("c",): 4})
    assert samples(subject, "dead_letters") == {("c",): 4}
    subject.clear("dead_letters")
    assert samples(subject, "dead_letters") == {}


@each(
    "act, text",
    [
        (lambda subject: subject.set("child_hangs_total", (), 1), "child_hangs_total is not a gauge"),
        (lambda subject: subject.set("jobs", ("a",), 1), r"jobs is a gauge with the labels \('queue', 'state'\)"),
        (lambda subject: subject.replace("nothing", {("a",): 1}), "nothing is not a gauge"),
        (lambda subject: subject.clear("queue_wait_seconds"), "queue_wait_seconds is not a gauge"),
    ],
)
def test_refuses_what_is_no_gauge(act: Callable[[Exporter], None], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        act(exporter())


COUNTS = [1] * 15


@each(
    "row",
    [
        None,
        b"row",
        [],
        ["child_hangs_total", []],
        ["jobs_unheard_of_total", [], 1],
        ["worker_slots", ["w", "1"], 1],
        ["jobs_enqueued_total", ["q"], 1],  # which only Redis counts
        ["child_hangs_total", [], -1],
        ["child_hangs_total", [], float("nan")],
        ["child_hangs_total", [], "1"],
        ["child_hangs_total", ["q"], 1],
        ["jobs_started_total", ["q", 5], 1],
        ["child_hangs_total", [], COUNTS, 1.0],
        ["queue_wait_seconds", ["q"], 1],
        ["queue_wait_seconds", ["q"], COUNTS[1:], 1.0],
        ["queue_wait_seconds", ["q"], [*COUNTS, 1], 1.0],
        ["queue_wait_seconds", ["q"], [2, *COUNTS[1:]], 1.0],
        ["queue_wait_seconds", ["q"], [-1, *COUNTS[1:]], 1.0],
        ["queue_wait_seconds", ["q"], [None, *COUNTS[1:]], 1.0],
        ["queue_wait_seconds", ["q"], COUNTS, float("nan")],
    ],
)
def test_a_row_that_cannot_be_understood_is_counted_and_left_out(row: object) -> None:
    subject, untouched = exporter(), exporter()
    subject.merge([row, ["child_hangs_total", [], 1]])  # type: ignore[list-item]
    untouched.merge([["child_hangs_total", [], 1], ["rows_refused_total", [], 1]])
    assert subject.text() == untouched.text()


def test_a_counter_can_be_there_before_anything_is_counted() -> None:
    subject = exporter()
    subject.begin("leases_expired_total", [("a",), ("b",)])
    subject.merge([["leases_expired_total", ["b"], 2]])
    subject.begin("leases_expired_total", [("b",)])
    assert samples(subject, "leases_expired_total") == {("a",): 0, ("b",): 2}
    with pytest.raises(ValueError, match="worker_slots is not a counter"):
        subject.begin("worker_slots", [])


def test_every_metric_bears_the_namespace_if_there_is_one() -> None:
    subject = Exporter(CollectorRegistry(), namespace="shop")
    subject.merge(one_child("a"))
    subject.set("jobs", ("default", "queued"), 7)
    lines = [line for line in subject.text().decode().splitlines() if not line.startswith("#")]
    assert 'jobfleet_jobs{namespace="shop",queue="default",state="queued"} 7.0' in lines
    assert [line for line in lines if 'namespace="shop"' not in line] == []


def test_a_registry_of_its_own_tells_of_the_process_too() -> None:
    text = Exporter().text().decode()
    assert "\nprocess_start_time_seconds " in text
    assert "\njobfleet_build_info{" in text
    assert Exporter().registry is not Exporter().registry
