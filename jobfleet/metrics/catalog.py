"""Every metric there is: its name, kind, labels, help and buckets, in one table.

Base units only (seconds). No label may hold what grows with the work: job ids, users, arguments.
Importing this loads no Prometheus client, so that the children of a worker can count cheaply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PREFIX = "jobfleet_"

Kind = Literal["counter", "gauge", "histogram"]

RUN_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
WAIT_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0)
TRIP_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name without the prefix.
        type: What may be done with it: counted, set or observed.
        labels: The names of its labels, in the order in which values are given.
        help: One sentence for the one who reads the exposition.
        buckets: Upper bounds of a histogram, in seconds, ascending, without +Inf.
    """

    name: str
    type: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The name as Prometheus sees it."""
        return PREFIX + self.name


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(name, "counter", labels, help)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(name, "gauge", labels, help)


def _histogram(name: str, buckets: tuple[float, ...], help: str, *labels: str) -> Metric:
    return Metric(name, "histogram", labels, help, buckets)


METRICS = (
    # Jobs, as the process that enqueued, ran or settled them counts.
    _counter("jobs_enqueued_total", "Jobs enqueued by this process."),
    _counter("jobs_started_total", "Runs started.", "queue", "function"),
    _counter(
        "jobs_finished_total",
        "Runs ended: completed, failed, retried, released, parked, cancelled, expired, lost.",
        "queue",
        "function",
        "outcome",
    ),
    _counter("jobs_retried_total", "Jobs put back for another run, by reason.", "queue", "reason"),
    _counter("jobs_dead_lettered_total", "Jobs moved to the dead letters, by reason.", "queue", "reason"),
    _histogram("job_duration_seconds", RUN_SECONDS, "Time from start to end of a run.", "queue", "function", "outcome"),
    _histogram("queue_wait_seconds", WAIT_SECONDS, "Time from due to started.", "queue"),
    # What went wrong around them.
    _counter("leases_expired_total", "Leases that expired under a run.", "queue"),
    _counter("fenced_writes_total", "Writes refused because another run owned the job by then.", "queue"),
    _counter("child_crashes_total", "Children of a worker that died, by signal or exit code.", "reason"),
    _counter("child_hangs_total", "Times a child's event loop did not turn for hang_after."),
    _counter("child_recycles_total", "Children replaced in good health, by reason: jobs, memory, age.", "reason"),
    # A worker.
    _gauge("worker_slots", "Jobs this worker can run at once."),
    _gauge("worker_slots_used", "Jobs this worker is running."),
    _gauge("worker_children", "Children of this worker that are alive."),
    # The fleet as a whole, as a reaper sees it.
    _gauge("jobs", "Jobs by state.", "queue", "state"),
    _gauge("queue_latency_seconds", "Age of the oldest job that is due and not started.", "queue"),
    _gauge("queue_paused", "Whether the queue is paused: 1 or 0.", "queue"),
    _gauge("dead_letters", "Dead letters kept.", "queue"),
    _counter("cron_fires_total", "Planned fires dealt with, by outcome; missed counts once.", "entry", "outcome"),
    _counter("reaper_turns_total", "Turns of a duty that ended well.", "duty"),
    _gauge("reaper_last_success_timestamp_seconds", "When a duty's last good turn ended, since 1970.", "duty"),
    # Redis, as this process meets it.
    _histogram("redis_trip_seconds", TRIP_SECONDS, "Time from sending a pipeline to its last answer."),
    _counter("redis_stumbles_total", "Round trips that had to be repeated."),
    # About the metrics themselves.
    _counter("labels_folded_total", 'Samples whose labels were turned into "other", or dropped.', "metric"),
    _counter("rows_refused_total", "Rows of a child's tally that could not be understood."),
    _gauge("build_info", "Always 1; the labels say what is running.", "version", "python"),
)

CATALOG: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in METRICS})
