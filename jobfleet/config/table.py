"""Every setting of jobfleet, once.

The class `JobConfig` is the table: each attribute carries its kind, default, bounds and help.
Flags (``--max-jobs``), variables (``JOBFLEET_MAX_JOBS``), keys (``max_jobs`` in ``jobfleet.toml``
or ``[tool.jobfleet]``) and the reference page are generated from `SETTINGS`, never written.
"""
# ruff: noqa: RUF009  (`setting` is a `field`)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jobfleet.config.cpu import default_processes, processors
from jobfleet.config.kind import (
    COUNT,
    DATABASE,
    DURATION,
    FLAG,
    HOST,
    LANES,
    NAME,
    NOTIFY,
    PATH,
    QUEUES,
    RATIO,
    SIZE,
    URL,
    choice,
)
from jobfleet.config.setting import OptionalSeconds, Seconds, Setting, Weights, setting
from jobfleet.errors import ConfigError

HOUR = 3600.0
DAY = 24 * HOUR
MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """All settings, checked. Durations are read as float seconds.

    Raises:
        ConfigError: A value is refused; the message names the setting, the value and the remedy.
    """

    url: str = setting(URL, "redis://localhost:6379/0", "The Redis to use.", scope="all")
    namespace: str = setting(
        NAME, "jobfleet", "Prefix of every key; fleets of different namespaces never meet.", scope="all"
    )
    app_dir: Path = setting(PATH, ".", "Folder put first on sys.path before modules are imported.", scope="command")
    no_color: bool = setting(FLAG, False, "Print without colours.", scope="command")
    verbose: int = setting(COUNT, 0, "Say more; -vv says most.", scope="command", short="v", least=0, most=3)
    log_format: str = setting(
        choice("plain", "json"), "plain", "Write logs for people, or as JSON, an object a line.", scope="command"
    )
    connect_timeout: Seconds = setting(DURATION, 5.0, "How long connecting to Redis may take.", scope="all", least=0.01)
    socket_timeout: Seconds = setting(DURATION, 5.0, "How long an answer of Redis may take.", scope="all", least=0.01)
    lanes: Mapping[str, int] = setting(LANES, "", "Home lanes of queues that are created, else 1.", scope="all")

    max_queues: int = setting(
        COUNT, 1000, "Most queues of a fleet; another is refused.", scope="all", unit="queues", least=1, most=100_000
    )
    patience: Seconds = setting(
        DURATION, 10.0, "How long a producer retries when Redis does not answer.", scope="producer"
    )
    busy_poll: Seconds = setting(
        DURATION,
        0.0002,
        "How long a producer looks for Redis's answer before it sleeps until it comes; 0 saves CPU.",
        scope="producer",
        most=1.0,
    )
    wait_poll_min: Seconds = setting(
        DURATION, 0.05, "First pause of the fallback poll while waiting.", scope="producer", least=0.001
    )
    wait_poll_max: Seconds = setting(
        DURATION, 1.0, "Longest pause of the fallback poll while waiting.", scope="producer"
    )
    dedupe_window: Seconds = setting(
        DURATION, 600.0, "How long an id that was generated is remembered at least.", scope="producer"
    )
    own_id_window: Seconds = setting(
        DURATION, DAY, "How long an id that the caller gave is remembered at least.", scope="producer"
    )
    max_payload: int = setting(
        SIZE, MIB, "Largest payload, and largest result.", scope="all", least=1024, most=512 * MIB
    )
    max_depth: int = setting(
        COUNT, 32, "Deepest nesting of arguments and results.", scope="all", unit="levels", least=1, most=128
    )

    max_retries: int = setting(COUNT, 3, "Retries after a failed try.", scope="worker", unit="retries", least=0)
    retry_delay: Seconds = setting(DURATION, 5.0, "Delay before the first retry.", scope="worker")
    retry_backoff: float = setting(
        RATIO, 2.0, "Factor from one delay to the next.", scope="worker", least=1.0, most=100.0
    )
    retry_delay_max: Seconds = setting(DURATION, HOUR, "Longest delay before a retry.", scope="worker")
    retry_jitter: bool = setting(FLAG, True, "Vary each delay between 50 and 100 %.", scope="worker")
    max_crashes: int = setting(
        COUNT, 3, "Crashes of its worker after which a job is dead.", scope="worker", unit="crashes", least=1
    )
    unknown_grace: Seconds = setting(
        DURATION, HOUR, "How long a job is parked whose function no worker knows.", scope="worker"
    )

    allow_undecorated: bool = setting(
        FLAG,
        False,
        "Run public functions of the loaded modules that are not registered with @job or register_job_function.",
        scope="worker",
    )

    queues: Weights = setting(
        QUEUES,
        (),
        "Queues to serve, with weights where wanted; none given: those of the loaded functions, 'default' by default.",
        scope="worker",
        short="Q",
    )
    queue_order: str = setting(
        choice("ordered", "weighted", "round-robin"),
        "ordered",
        "Which queue is claimed from first: the first of them, each by its weight, or each by turns.",
        scope="worker",
    )
    priorities: str = setting(
        choice("strict", "weighted"),
        "strict",
        "Whether urgent jobs always come first, or each priority has a share: 8, 4, 2 and 1.",
        scope="worker",
    )
    slots: int = setting(
        COUNT, 10, "Jobs at once in each process.", scope="worker", unit="jobs", short="c", least=1, most=10_000
    )
    processes: int = setting(
        COUNT,
        None,
        "Processes of a worker.",
        scope="worker",
        unit="processes",
        short="p",
        derived="CPUs by affinity and cgroup, at most 8",
        least=1,
        most=1024,
    )
    scale_max: int | None = setting(
        COUNT,
        None,
        "Most processes that a worker takes when it is scaled from afar.",
        scope="worker",
        unit="processes",
        derived="8 per CPU, at least 16",
        least=1,
        most=1024,
    )
    lease: Seconds = setting(
        DURATION, 30.0, "How long a claimed job is held without a renewal.", scope="worker", least=1.0, most=HOUR
    )
    renew_every: OptionalSeconds = setting(
        DURATION,
        None,
        "Time between renewals of a lease; at most half of it.",
        scope="worker",
        derived="a third of lease",
        least=0.1,
    )
    beat: Seconds = setting(DURATION, 5.0, "Time between a worker's signs of life.", scope="worker", least=0.1)
    gone_after: Seconds = setting(
        DURATION, 20.0, "Silence after which a worker is gone; at least two beats.", scope="worker"
    )
    grace: Seconds = setting(DURATION, 25.0, "How long running jobs may finish when a worker stops.", scope="worker")
    hard_grace: Seconds = setting(
        DURATION, 10.0, "How long after its timeout a run is killed, unless hard_timeout is given.", scope="worker"
    )
    cancel_grace: Seconds = setting(
        DURATION, 1.0, "How long a cancelled job may see to it itself before it is interrupted.", scope="worker"
    )
    stop_grace: Seconds = setting(
        DURATION, 5.0, "Time between an interruption, SIGTERM and SIGKILL when a job is stopped.", scope="worker"
    )
    hang_after: Seconds = setting(
        DURATION, 10.0, "Event loop that has not turned for so long: the process hangs.", scope="worker", least=0.1
    )
    hang_kill: bool = setting(FLAG, False, "Kill a process that hangs.", scope="worker")
    burst: bool = setting(FLAG, False, "Stop when no job is ready.", scope="worker")
    max_jobs: int | None = setting(
        COUNT, None, "Replace a process after so many jobs.", scope="worker", unit="jobs", derived="never", least=1
    )
    max_memory: int | None = setting(
        SIZE, None, "Replace a process whose resident memory exceeds this.", scope="worker", derived="never", least=MIB
    )
    max_age: OptionalSeconds = setting(
        DURATION, None, "Replace a process that is so old.", scope="worker", derived="never", least=1.0
    )
    spare_processes: int = setting(
        COUNT, 1, "Isolated processes that a worker's process keeps warm.", scope="worker", unit="processes", most=64
    )
    suspect_processes: int = setting(
        COUNT,
        12,
        "Further processes in which a worker's process runs jobs that were there when processes died; 0 for none.",
        scope="worker",
        unit="processes",
        least=0,
        most=64,
    )
    reload: bool = setting(FLAG, False, "Restart when code changes; needs the extra 'dev'.", scope="worker")
    job_log_lines: int = setting(COUNT, 1000, "Lines kept of a job's own log.", scope="worker", unit="lines", least=0)
    job_log_bytes: int = setting(SIZE, 256 * 1024, "Bytes kept of a job's own log.", scope="worker", least=0)
    metrics_port: int | None = setting(
        COUNT,
        None,
        "Serve /metrics, /healthz and /readyz on this port; 0 picks a free one.",
        scope="worker",
        derived="not served",
        least=0,
        most=65_535,
    )
    metrics_host: str = setting(
        HOST,
        "127.0.0.1",
        "Address that metrics and health are served at; in a container 0.0.0.0, or :: for IPv6, too.",
        scope="worker",
    )
    healthy_within: Seconds = setting(
        DURATION,
        60.0,
        "Silence of a worker's claims, or of a reaper's duty, after which /healthz says so.",
        scope="worker",
        least=3.0,
    )
    with_reaper: bool = setting(FLAG, False, "Run the reaper's duties beside the worker.", scope="worker")
    progress_rate: float = setting(
        RATIO,
        10.0,
        "Most progress records of a job that are written.",
        scope="worker",
        unit="a second",
        least=0.1,
        most=1000.0,
    )
    traceback_bytes: int = setting(SIZE, 16_384, "Bytes kept of a traceback.", scope="worker", least=0)

    result_ttl: Seconds = setting(DURATION, DAY, "How long a result is kept.", scope="worker")
    failed_result_ttl: Seconds = setting(
        DURATION, 7 * DAY, "How long the result of a failed job is kept.", scope="worker"
    )
    reap_interval: Seconds = setting(
        DURATION, 1.0, "Time between looks for expired leases.", scope="reaper", least=0.01
    )
    dead_ttl: Seconds = setting(DURATION, 30 * DAY, "How long a dead letter is kept.", scope="reaper")
    dead_max: int = setting(COUNT, 100_000, "Most dead letters kept in a lane.", scope="reaper", unit="jobs", least=0)
    archive_url: str | None = setting(
        DATABASE,
        None,
        "The database that keeps every job: SQLite or PostgreSQL; needs the extra 'sql'.",
        scope="all",
        derived="no archive",
    )
    archive_ttl: OptionalSeconds = setting(
        DURATION, None, "How long the archive keeps a job that has ended.", scope="reaper", derived="for ever"
    )
    archive_failed_ttl: OptionalSeconds = setting(
        DURATION, None, "How long it keeps a job that has failed.", scope="reaper", derived="archive_ttl"
    )
    journal_max: int = setting(
        COUNT,
        1_000_000,
        "Most events that a lane's journal keeps for a consumer that does not acknowledge them.",
        scope="reaper",
        unit="events",
        least=100,
    )
    journal_ttl: Seconds = setting(
        DURATION, DAY, "How long events are kept for a consumer that does not acknowledge them.", scope="reaper"
    )
    notify: Mapping[str, Any] = setting(
        NOTIFY, "", "Channels and rules of notifications; see docs/howto/notifications.md.", scope="reaper"
    )

    def __post_init__(self) -> None:
        for row in SETTINGS:
            value = row.parse(getattr(self, row.name))
            if value is None and row.name == "processes":
                value = default_processes()
            elif value is None and row.name == "scale_max":
                value = max(16, 8 * processors())
            object.__setattr__(self, row.name, value)
        self._check_pairs()

    @property
    def renewal(self) -> float:
        """Seconds between renewals of a lease: `renew_every`, else a third of `lease`."""
        return self.lease / 3 if self.renew_every is None else self.renew_every

    @property
    def alive_every(self) -> float:
        """Seconds between the frames by which a supervisor shows its children that it lives."""
        return min(1.0, self.lease / 10)

    @property
    def renewal_timeout(self) -> float:
        """Seconds that the answer to a renewal may take: there is time for two more within a lease."""
        return min(self.socket_timeout, self.lease / 6)

    def plain(self, **changes: object) -> dict[str, object]:
        """All settings as plain values, with some changed: what crosses a pipe to a child, and makes the same again."""
        values = {row.name: changes.get(row.name, getattr(self, row.name)) for row in SETTINGS}
        return {
            name: str(value) if isinstance(value, Path) else dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }

    def _check_pairs(self) -> None:
        """Refuse values that are fine alone and wrong together."""
        self._check(self.renewal <= self.lease / 2, "renew_every", f"half of lease ({self.lease:g} s) or less")
        self._check(self.gone_after >= 2 * self.beat, "gone_after", f"two beats ({2 * self.beat:g} s) or more")
        self._check(
            self.retry_delay_max >= self.retry_delay, "retry_delay_max", f"retry_delay ({self.retry_delay:g} s) or more"
        )
        self._check(
            self.wait_poll_max >= self.wait_poll_min,
            "wait_poll_max",
            f"wait_poll_min ({self.wait_poll_min:g} s) or more",
        )
        is_weighted = self.queue_order == "weighted" or all(weight == 1 for weight in self.queues.values())
        self._check(is_weighted, "queue_order", "'weighted', which the weights in queues are for")
        for window in ("dedupe_window", "own_id_window"):
            self._check(
                getattr(self, window) > self.patience,
                window,
                f"more than patience ({self.patience:g} s), or a retry may enqueue twice",
            )

    def _check(self, is_fine: bool, name: str, remedy: str) -> None:
        if not is_fine:
            raise ConfigError(f"{name} = {getattr(self, name)!r}: use {remedy}.")


SETTINGS: tuple[Setting, ...] = tuple(replace(row.metadata["setting"], name=row.name) for row in fields(JobConfig))
