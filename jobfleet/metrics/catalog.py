"""The catalogue of all metrics: name, kind, labels, help and buckets, in one table.

Metrics use base units only (seconds, bytes). No label has values that grow with the work, such as job ids, users
or arguments. This module does not import the Prometheus client, so that the children of a worker count cheaply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PREFIX = "jobfleet_"

Kind = Literal["counter", "gauge", "histogram"]
Where = Literal["both", "worker", "reaper", "fleet"]

RUN_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
WAIT_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0)
TRIP_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: The name without the prefix ``jobfleet_``.
        type: Counter, gauge or histogram.
        labels: The names of the labels, in the order of their values.
        help: The help text of the exposition, one sentence.
        buckets: Upper bounds of a histogram, in seconds, ascending, without +Inf.
        where: The processes that serve it. *fleet* metrics are read from Redis, so a reaper and a worker with
            a hosted reaper serve the same values. For all others, each process serves its own counts.
    """

    name: str
    type: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    where: Where = "both"

    @property
    def full_name(self) -> str:
        """The name as Prometheus sees it."""
        return PREFIX + self.name


def _counter(name: str, help: str, *labels: str, where: Where = "both") -> Metric:
    return Metric(name, "counter", labels, help, where=where)


def _gauge(name: str, help: str, *labels: str, where: Where = "both") -> Metric:
    return Metric(name, "gauge", labels, help, where=where)


def _histogram(name: str, buckets: tuple[float, ...], help: str, *labels: str, where: Where = "both") -> Metric:
    return Metric(name, "histogram", labels, help, buckets, where)


METRICS = (
    # Runs, counted by the process that ran or settled them.
    _counter("jobs_started_total", "Runs started.", "queue", "function", where="worker"),
    _counter(
        "jobs_finished_total",
        "Runs ended: completed, failed, retried, released, parked, moved, cancelled, expired, lost.",
        "queue",
        "function",
        "outcome",
        where="worker",
    ),
    _counter("jobs_retried_total", "Runs that count and are followed by another, by reason.", "queue", "reason"),
    _counter("jobs_dead_lettered_total", "Jobs moved to the dead letters, by reason.", "queue", "reason"),
    _histogram(
        "job_duration_seconds",
        RUN_SECONDS,
        "Time from start to end of a run.",
        "queue",
        "function",
        "outcome",
        where="worker",
    ),
    _histogram("queue_wait_seconds", WAIT_SECONDS, "Time from due to started.", "queue", where="worker"),
    _counter(
        "chunks_emitted_total", "Chunks that runs have emitted, counted when a run ends.", "queue", where="worker"
    ),
    # Faults around runs.
    _counter("leases_expired_total", "Leases that expired under a run.", "queue"),
    _counter(
        "fenced_writes_total", "Endings refused because another run owned the job by then.", "queue", where="worker"
    ),
    _counter(
        "child_crashes_total", "Children of a worker that died, by signal or exit code.", "reason", where="worker"
    ),
    _counter(
        "chaos_faults_total", "Faults of --chaos: kills of a child, lost replies by call.", "kind", where="worker"
    ),
    _counter("child_hangs_total", "Times a child's event loop did not turn for hang_after.", where="worker"),
    _counter(
        "child_recycles_total",
        "Children replaced in good health, by reason: jobs, memory, age.",
        "reason",
        where="worker",
    ),
    # A worker.
    _gauge("worker_slots", "Jobs this worker can run at once.", "worker", "version", where="worker"),
    _gauge("worker_slots_used", "Jobs this worker is running.", "worker", "version", where="worker"),
    _gauge("worker_children", "Children of this worker that are alive.", "worker", "version", where="worker"),
    _gauge(
        "worker_resident_memory_bytes",
        "Resident memory of this worker and its children.",
        "worker",
        "version",
        where="worker",
    ),
    _gauge(
        "worker_cpu_ratio",
        "Processor time that this worker and its children take, in seconds per second since the last scrape.",
        "worker",
        "version",
        where="worker",
    ),
    # Duties, counted by the process that does them.
    _counter(
        "cron_fires_total",
        "Planned fires by outcome: fired, late, skipped, overlapped; a missed one counts once.",
        "schedule",
        "outcome",
    ),
    _counter("archive_events_total", "Events of the journal that were written into the archive.", where="reaper"),
    _counter("archive_errors_total", "Writes that the archive's database did not accept.", where="reaper"),
    _counter(
        "sql_outbox_jobs_total",
        "Rows of the transactional outbox: enqueued, held (another job has the unique key), refused, postponed.",
        "outcome",
        where="reaper",
    ),
    _counter("sql_outbox_errors_total", "Failed reads or writes of the outbox's database.", where="reaper"),
    _counter(
        "notifications_total",
        "Notifications sent, failed (they are tried again), given up.",
        "channel",
        "outcome",
        where="reaper",
    ),
    _counter("reaper_runs_total", "Turns of a duty that succeeded.", "duty"),
    _gauge("reaper_last_success_timestamp_seconds", "End of a duty's last successful turn, since 1970.", "duty"),
    _counter(
        "rescued_jobs_total",
        "Jobs of rescues of dead letters: completed, failed, ended, left, undone, started.",
        "outcome",
        where="reaper",
    ),
    # Keys of the keyring.
    _counter(
        "key_uses_total",
        "What was sealed or opened with a key of the keyring: sealed, opened, unbound (it does not name its fleet).",
        "key",
        "use",
    ),
    # Jobs of the whole fleet: totals since the fleet began, and current numbers.
    _counter("jobs_enqueued_total", "Jobs enqueued, by all producers.", "queue", where="fleet"),
    _counter("jobs_ended_total", "Jobs ended: completed, failed, cancelled, expired.", "queue", "state", where="fleet"),
    _counter("jobs_replayed_total", "Dead letters put back into their queue.", "queue", where="fleet"),
    _counter("jobs_suspended_total", "Runs that ended to sleep or to wait for a signal.", "queue", where="fleet"),
    _counter("signals_total", "Signals sent to open jobs, the first of each name.", "queue", where="fleet"),
    _gauge("jobs", "Jobs by state.", "queue", "state", where="fleet"),
    _gauge("jobs_expiring", "Waiting jobs that have an expiry.", "queue", where="fleet"),
    _gauge("dead_letters", "Dead letters kept.", "queue", where="fleet"),
    _gauge("outbox_records", "Ended jobs whose dependants have yet to be notified.", "queue", where="fleet"),
    _gauge(
        "outbox_latency_seconds",
        "Age of the oldest ended job whose dependants have yet to be notified.",
        "queue",
        where="fleet",
    ),
    _gauge("sql_outbox_rows", "Rows of the transactional outbox: waiting, refused.", "state", where="fleet"),
    _gauge("sql_outbox_lag_seconds", "Age of the oldest waiting row of the transactional outbox.", where="fleet"),
    _gauge("journal_events", "Events kept because a consumer has not acknowledged them.", "queue", where="fleet"),
    _counter(
        "journal_dropped_total", "Events dropped although a consumer had not acknowledged them.", "queue", where="fleet"
    ),
    # Queues of the whole fleet.
    _gauge("queue_latency_seconds", "Age of the oldest job that is due and not started.", "queue", where="fleet"),
    _gauge(
        "queue_backlog_seconds",
        "Due jobs times their recent mean run time, divided by the slots that serve the queue.",
        "queue",
        where="fleet",
    ),
    _gauge("queue_paused", "Whether the queue is paused: 1 or 0.", "queue", where="fleet"),
    _gauge("queue_workers", "Workers that serve the queue.", "queue", where="fleet"),
    _gauge("queue_slots", "Slots of the workers that serve the queue.", "queue", where="fleet"),
    _gauge("queue_slots_used", "Jobs of any queue that run on those workers.", "queue", where="fleet"),
    _gauge(
        "queue_busy_ratio", "Slots used divided by slots; absent if no worker serves the queue.", "queue", where="fleet"
    ),
    # Named limits and circuit breakers.
    _gauge("limit_running", "Jobs inside a named limit.", "limit", where="fleet"),
    _gauge("limit_concurrency", "Most jobs inside a named limit; absent without such a limit.", "limit", where="fleet"),
    _gauge("limit_rate_left", "Costs that may still start under a rate; absent without one.", "limit", where="fleet"),
    _gauge("limit_closed", "Whether a named limit is closed: 1 or 0.", "limit", where="fleet"),
    _gauge("breaker_state", "The state of a breaker: 0 closed, 0.5 half-open, 1 open.", "breaker", where="fleet"),
    # Workers and recurring jobs of the whole fleet.
    _gauge("workers", "Workers by state: running, quiet, stopping, gone.", "state", where="fleet"),
    _gauge("worker_up", "Whether the worker's heartbeat is recent: 1 or 0.", "worker", "version", where="fleet"),
    _gauge(
        "worker_last_heartbeat_timestamp_seconds",
        "The worker's last heartbeat, since 1970.",
        "worker",
        where="fleet",
    ),
    _gauge(
        "cron_last_fire_timestamp_seconds", "The last fire that was handled, since 1970.", "schedule", where="fleet"
    ),
    _gauge(
        "cron_lateness_seconds", "How long a fire has been due; 0 while the entry is paused.", "schedule", where="fleet"
    ),
    _gauge(
        "cron_failures",
        "Jobs of fires that failed or expired in a row, up to the last one that ended.",
        "schedule",
        where="fleet",
    ),
    _gauge(
        "cron_last_success_timestamp_seconds",
        "When the last job of a fire that completed has ended, since 1970.",
        "schedule",
        where="fleet",
    ),
    # Redis.
    _histogram(
        "redis_command_duration_seconds",
        TRIP_SECONDS,
        "Time from sending a pipeline to its last reply, by its first script.",
        "script",
    ),
    _counter("redis_errors_total", "Round trips that had to be repeated, by the class of the error.", "error"),
    _gauge("redis_connected", "Whether this process reaches Redis and can write to it: 1 or 0."),
    _counter("redis_outages_total", "Outages: times when this process could not reach Redis or write to it."),
    _counter("redis_outage_seconds_total", "Seconds of all outages, the current one included."),
    _gauge("redis_up", "Whether Redis answered this scrape: 1 or 0.", where="fleet"),
    _gauge("redis_memory_used_bytes", "Memory that Redis uses.", where="fleet"),
    _gauge("redis_memory_max_bytes", "Memory that Redis may use; 0 if there is no limit.", where="fleet"),
    # About the metrics themselves.
    _counter("labels_folded_total", 'Samples whose labels were replaced by "other", or that were dropped.', "metric"),
    _counter("rows_refused_total", "Rows of a child's tally that could not be read."),
    _gauge("build_info", "Always 1; the labels show the versions.", "version", "python"),
)

CATALOG: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in METRICS})
