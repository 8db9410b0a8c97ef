"""The table of metrics keeps the rules of Prometheus, and counting costs no import of its client."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from jobfleet.metrics.catalog import CATALOG, METRICS, Metric
from jobfleet.metrics.tally import LabelSets
from tests.support.each import each

ROOT = Path(__file__).parents[2]

UNITS = ("_seconds", "_bytes", "_ratio")
UNBOUNDED = {"id", "job_id", "user", "session", "tag", "args"}


@each("metric", METRICS, show=attrgetter("name"))
def test_a_metric_has_a_name_of_the_right_form_bounded_labels_ascending_buckets_and_a_help(metric: Metric) -> None:
    assert re.fullmatch(r"jobfleet_[a-z]+(_[a-z]+)*", metric.full_name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert not re.search(r"_(ms|us|minutes|milliseconds|count|sum|bucket)$", metric.name)
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert not set(metric.labels) & (UNBOUNDED | {"le", "namespace"})
    assert "worker" not in metric.labels or metric.name.startswith("worker_")
    assert bool(metric.buckets) == (metric.type == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.name.endswith(UNITS) or not metric.buckets
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


def test_no_name_is_given_twice() -> None:
    assert list(CATALOG.values()) == list(METRICS)


@each(
    "before, labels, admitted",
    [
        ((), ("q", "f", "completed"), ("q", "f", "completed")),
        ([("q", "a", "x"), ("q", "b", "x")], ("q", "a", "x"), ("q", "a", "x")),
        ([("q", "a", "x"), ("q", "b", "x")], ("q", "c", "x"), ("q", "other", "x")),
        ([("q", "a", "x"), ("q", "b", "x"), ("q", "c", "x")], ("q", "d", "x"), ("q", "other", "x")),
        ([(f"q{n}", "a", "x") for n in range(4)], ("q4", "a", "x"), ("other", "other", "other")),
        ([(f"q{n}", "a", "x") for n in range(4)], ("q3", "b", "x"), ("q3", "other", "x")),
    ],
)
def test_label_sets_fold_beyond_their_cap(
    before: list[tuple[str, ...]], labels: tuple[str, ...], admitted: tuple[str, ...]
) -> None:
    sets = LabelSets(2)
    for row in before:
        sets.admit(CATALOG["jobs_finished_total"], row)
    assert sets.admit(CATALOG["jobs_finished_total"], labels) == admitted


def test_folded_labels_take_the_place_of_no_function() -> None:
    sets = LabelSets(2)
    finished = CATALOG["jobs_finished_total"]
    rows = [("q", "f1", "completed"), ("q", "other", "completed"), ("q", "f2", "completed"), ("q", "f3", "completed")]
    assert [sets.admit(finished, row)[1] for row in rows] == ["f1", "other", "f2", "other"]


def test_label_sets_stay_bounded_whatever_comes() -> None:
    sets = LabelSets(10)
    finished = CATALOG["jobs_finished_total"]
    admitted = {sets.admit(finished, (f"q{n % 97}", f"f{n % 89}", f"o{n % 83}")) for n in range(5_000)}
    assert len(admitted) == 21


def test_counting_does_not_import_prometheus_client() -> None:
    code = "import sys, jobfleet.metrics.tally; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


FEEDS = {
    "counter": {"count", "begin", "replace"},
    "gauge": {"set", "replace"},
    "histogram": {"observe"},
}
OWN = {
    "labels_folded_total",
    "rows_refused_total",
    "jobs_started_total",
    "jobs_finished_total",
    "job_duration_seconds",
    "queue_wait_seconds",
}
"""Fed by tally and exporter themselves; tests/metrics sees to those."""


def fed(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """How a module feeds metrics: the method and the metric; of what is gathered to be replaced, its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.func.attr, first.value
        elif isinstance(node, ast.Dict):
            yield from (
                ("replace", key.value)
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            yield "replace", node.slice.value


def test_every_metric_is_fed_by_somebody() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "jobfleet").rglob("*.py")):
        if path.parent.name != "metrics" or path.name in {"outage.py", "tally.py"}:
            for method, name in fed(ast.parse(path.read_text())):
                found.setdefault(name, set()).add(method)

    idle = [one.name for one in METRICS if one.name not in OWN and not found.get(one.name, set()) & FEEDS[one.type]]
    # By name, in ipc/chaos_report, tally and exporter.
    assert idle == ["chaos_faults_total", "redis_command_duration_seconds", "build_info"]
