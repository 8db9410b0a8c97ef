"""The table of all settings.

The class `JobConfig` is the table: each attribute has its kind, default, bounds and description. Flags
(``--max-jobs``), environment variables (``JOBFLEET_MAX_JOBS``), keys (``max_jobs`` in ``jobfleet.toml`` or
``[tool.jobfleet]``) and the reference page are generated from `SETTINGS`.
"""

# ruff: noqa: RUF009  (`setting` is a `field`)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jobfleet.config.machine import default_processes, processors
from jobfleet.config.setting import (
    ALL_REPLICAS,
    COUNT,
    DATABASE,
    DURATION,
    FILE,
    FLAG,
    HOST,
    KEYRING,
    LANES,
    LEVEL,
    NAME,
    NETWORKS,
    NOTIFY,
    OUTBOX,
    PATH,
    QUEUES,
    RATIO,
    REPLICAS,
    SECRET,
    SITE,
    SIZE,
    STORE,
    TEXT,
    URL,
    WORDS,
    OptionalSeconds,
    Seconds,
    Setting,
    Weights,
    choice,
    setting,
)
from jobfleet.config.url import DEFAULT_URL
from jobfleet.errors import ConfigError
from jobfleet.secret import NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The settings of the connection to Redis; see `JobConfig`."""

    url: str = setting(URL, DEFAULT_URL, "URL of the Redis server.", scope="all")
    tls_ca_file: Path | None = setting(
        FILE, None, "Certificates of the authorities that Redis's certificate is checked against.", scope="all",
        derived="those of the system",
    )  # fmt: skip
    tls_cert_file: Path | None = setting(
        FILE, None, "Certificate of this client, if Redis asks for one.", scope="all", derived="no certificate"
    )
    tls_key_file: Path | None = setting(
        FILE, None, "Key of the client's certificate.", scope="all", derived="in tls_cert_file"
    )
    tls_check_hostname: bool = setting(
        FLAG, True, "Check that Redis's certificate is for the host in the URL.", scope="all"
    )
    sentinel_username: str | None = setting(
        TEXT, None, "User of the Sentinels, if they have users of their own.", scope="all", derived="none"
    )
    sentinel_password: str | None = setting(
        SECRET, None, "Password of the Sentinels. The URL has that of the primary.", scope="all", derived="none"
    )
    scripts: str = setting(
        choice("eval", "functions"), "eval",
        "How the server runs jobfleet's scripts: it is sent them, or it has the functions of 'jobfleet acl install'.",
        scope="all",
    )  # fmt: skip
    namespace: str = setting(
        NAME, "jobfleet", "Prefix of every key; fleets with different namespaces are independent.", scope="all"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings(ConnectionSettings):
    """The settings of trust; see `JobConfig`."""

    keyring: str | None = setting(
        KEYRING,
        None,
        "File with the keys that sign and encrypt jobs, or the keys themselves (keys:ID=SECRET).",
        scope="all",
        derived="no keys",
    )
    sign: str = setting(
        LEVEL, "off", "Sign what is written; with 'require', also refuse what is not signed.", scope="all"
    )
    encrypt: str = setting(
        LEVEL,
        "off",
        "Encrypt and sign what is written; with 'require', also refuse what is not encrypted.",
        scope="all",
    )
    bind_namespace: str = setting(
        LEVEL,
        "off",
        "Bind all that is sealed to the namespace; with 'require', also refuse what is not bound.",
        scope="all",
    )
    redact: tuple[str, ...] = setting(
        WORDS, NAMES, "Names of keys whose values are shown as ***; empty for none.", scope="all"
    )
    audit_max: int = setting(
        COUNT, 10_000, "Maximum number of actions of operators in the audit; 0 records none.", scope="all",
        unit="actions", least=0, most=1_000_000,
    )  # fmt: skip


KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings(TrustSettings):
    """The settings of a job's way; see `JobConfig`, which has the rows with durations."""

    buffer: int = setting(
        COUNT,
        0,
        "Maximum number of jobs that a producer keeps in memory while Redis is unavailable; 0 keeps none.",
        scope="producer", unit="jobs", least=0, most=1_000_000,
    )  # fmt: skip
    on_full: str = setting(
        choice("raise", "drop"),
        "raise",
        "What a producer does with a job for which its buffer has no room: raise BufferFull, or drop the job.",
        scope="producer",
    )
    durability: str = setting(
        choice("fast", "replicated", "fsync"),
        "fast",
        "What must confirm that a job is stored, unless the job, its function or its queue says it: nothing more, "
        "replicas, or the disk.",
        scope="producer",
    )
    durability_replicas: int | str = setting(
        REPLICAS,
        ALL_REPLICAS,
        "Replicas that confirm a write of durability 'replicated': all that may take over, or a number.",
        scope="all",
        unit="replicas",
    )
    payload_store: str | None = setting(
        STORE, None, "Where arguments and results that are too large for Redis are stored.", scope="all",
        derived="in Redis",
    )  # fmt: skip
    payload_threshold: int = setting(
        SIZE, 64 * KIB, "Size above which arguments and results go to payload_store.", scope="all", least=KIB
    )
    payload_max: int = setting(
        SIZE, 64 * MIB, "Maximum size of a payload, and of a result, if payload_store is set.", scope="all",
        least=KIB, most=512 * MIB,
    )  # fmt: skip
    payload_grace: float = setting(
        DURATION, 86_400.0, "Age from which a stored payload that no job refers to is deleted.", scope="reaper",
        least=1.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings(ProducerSettings):
    """The settings of the web dashboard; see `JobConfig`, which has the row with a duration."""

    web_host: str = setting(
        HOST, "127.0.0.1", "Address that the dashboard listens on; another machine needs users, tokens or proxies.",
        scope="web",
    )  # fmt: skip
    web_port: int = setting(
        COUNT, 8765, "Port that the dashboard listens on; 0 picks a free one.", scope="web", least=0, most=65_535
    )
    web_root_path: str | None = setting(
        TEXT, None, "Path under which a proxy serves the dashboard, such as /jobs.", scope="web",
        derived="the path of web_url",
    )  # fmt: skip
    web_url: str | None = setting(
        SITE, None, "Address at which browsers open the dashboard through a proxy, such as https://jobs.example.org.",
        scope="web", derived="the address that it listens on",
    )  # fmt: skip
    web_access: Path = setting(
        FILE, ".jobfleet/web.json", "File with the users and tokens of the dashboard.", scope="web"
    )
    web_open_role: str = setting(
        choice("viewer", "producer", "approver", "operator", "admin"),
        "operator",
        "Role of those who use the printed address, or 'web_open_access', as long as there is no user.",
        scope="web",
    )
    web_open_access: bool = setting(
        FLAG, False, "Let everybody on this machine in without the printed address, as long as there is no user.",
        scope="web",
    )  # fmt: skip
    web_viewer_url: str | None = setting(
        URL, None, "URL of the same Redis with a user that can only read; all pages read through it.", scope="web",
        derived="url",
    )  # fmt: skip
    web_trusted_proxies: tuple[str, ...] = setting(
        NETWORKS, (), "Addresses or networks of the proxies whose X-Forwarded-For names the client.", scope="web"
    )
    web_login_header: str | None = setting(
        TEXT, None, "Header in which a trusted proxy names the user; it must remove this header from requests.",
        scope="web", derived="no login by a proxy",
    )  # fmt: skip
    web_proxies: tuple[str, ...] = setting(
        NETWORKS, (), "The former name of web_trusted_proxies; read for one release.", scope="web"
    )
    web_proxy_header: str | None = setting(
        TEXT, None, "The former name of web_login_header; read for one release.", scope="web", derived="none"
    )
    web_streams: int = setting(
        COUNT, 200, "Maximum number of pages that the dashboard updates live at once.", scope="web", unit="pages",
        least=0, most=10_000,
    )  # fmt: skip


EXTRA = {"alembic", "greenlet", "psycopg", "sqlalchemy"}
"""The modules of the extra ``sql``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings(WebSettings):
    """The databases of the archive and of the outbox; see `JobConfig`, which has the rows with durations."""

    archive_url: str | None = setting(
        DATABASE,
        None,
        "Database of the archive, which stores every job: SQLite or PostgreSQL; needs the extra 'sql'.",
        scope="all",
        derived="no archive",
    )
    outbox_url: str | None = setting(
        OUTBOX,
        None,
        "Database with the transactional outbox, whose rows reapers enqueue: PostgreSQL, SQLite, MySQL or MariaDB; "
        "needs the extra 'sql'.",
        scope="all",
        derived="no outbox",
    )


@contextmanager
def needs_sql(what: str) -> Iterator[None]:
    """Turn a missing module into an error that names the extra to install.

    Args:
        what: What needs the module, such as ``archive``.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        raise ConfigError(f"The {what} needs {error.name!r}: install the extra, 'jobfleet[sql]'.") from None


HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig(DatabaseSettings):
    """All settings, validated. Durations are float seconds.

    Raises:
        ConfigError: A value is not valid; the message names the setting, the value and the remedy.
    """

    durability_timeout: OptionalSeconds = setting(
        DURATION, None, "Time limit of that confirmation; at most three quarters of socket_timeout.", scope="all",
        derived="half of socket_timeout", least=0.001,
    )  # fmt: skip
    app_dir: Path = setting(PATH, ".", "Folder put first on sys.path before modules are imported.", scope="command")
    no_color: bool = setting(FLAG, False, "Print without colours.", scope="command")
    verbose: int = setting(
        COUNT, 0, "Print more details; -vv prints the most.", scope="command", short="v", least=0, most=3
    )
    log_format: str = setting(
        choice("plain", "json"),
        "plain",
        "Write logs as text for people, or as JSON, one object per line.",
        scope="command",
    )
    log_jobs: bool = setting(FLAG, False, "Log the start and the end of every job; 'up' and -v do so.", scope="command")
    connect_timeout: Seconds = setting(DURATION, 5.0, "Time limit for connecting to Redis.", scope="all", least=0.01)
    socket_timeout: Seconds = setting(DURATION, 5.0, "Time limit for a reply from Redis.", scope="all", least=0.01)
    lanes: Mapping[str, int] = setting(LANES, "", "Number of home lanes of new queues; 1 if not given.", scope="all")

    max_queues: int = setting(
        COUNT, 1000, "Maximum number of queues in a fleet.", scope="all", unit="queues", least=1, most=100_000
    )
    cron_failures: int = setting(
        COUNT, 3, "Number of jobs of a recurring job that fail in a row before doctor and the pages warn.", scope="all",
        unit="jobs", least=1,
    )  # fmt: skip
    patience: Seconds = setting(
        DURATION, 10.0, "How long a producer retries when Redis does not reply.", scope="producer"
    )
    busy_poll: Seconds = setting(
        DURATION,
        0.0002,
        "How long a producer polls for Redis's reply before it sleeps until the reply arrives; 0 saves CPU.",
        scope="producer",
        most=1.0,
    )
    max_connections: int = setting(
        COUNT,
        32,
        "Maximum number of connections of a client; further calls wait for a free one. All waits share one more.",
        scope="producer", unit="connections", least=1, most=10_000,
    )  # fmt: skip
    wait_poll_min: Seconds = setting(
        DURATION, 0.05, "Shortest pause between polls while waiting for a job without events.", scope="producer",
        least=0.001,
    )  # fmt: skip
    wait_poll_max: Seconds = setting(
        DURATION, 1.0, "Longest pause between polls while waiting for a job without events.", scope="producer"
    )
    dedupe_window: Seconds = setting(
        DURATION, 600.0, "Minimum time for which a generated id is remembered.", scope="producer"
    )
    own_id_window: Seconds = setting(
        DURATION, DAY, "Minimum time for which an id chosen by the caller is remembered.", scope="producer"
    )
    max_payload: int = setting(
        SIZE, MIB, "Maximum size of a payload, and of a result.", scope="all", least=1024, most=512 * MIB
    )
    max_depth: int = setting(
        COUNT, 32, "Maximum nesting depth of arguments and results.", scope="all", unit="levels", least=1, most=128
    )

    max_retries: int = setting(
        COUNT, 3, "Number of retries after a failed run.", scope="worker", unit="retries", least=0
    )
    retry_delay: Seconds = setting(DURATION, 5.0, "Delay before the first retry.", scope="worker")
    retry_backoff: float = setting(
        RATIO, 2.0, "Factor from one retry delay to the next.", scope="worker", least=1.0, most=100.0
    )
    retry_delay_max: Seconds = setting(DURATION, HOUR, "Maximum delay before a retry.", scope="worker")
    retry_jitter: bool = setting(
        FLAG, True, "Multiply each retry delay by a random factor from 0.5 to 1.0.", scope="worker"
    )
    max_crashes: int = setting(
        COUNT, 3, "Number of crashes after which a job becomes a dead letter.", scope="worker", unit="crashes", least=1
    )
    unknown_grace: Seconds = setting(
        DURATION, HOUR, "How long a job whose function no worker knows stays parked.", scope="worker"
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
        "Queues to serve, with optional weights; by default the queues of the loaded functions, or 'default'.",
        scope="worker",
        short="Q",
    )
    queue_order: str = setting(
        choice("ordered", "weighted", "round-robin"),
        "ordered",
        "Which queue is served first: in the given order, by weight, or in turns.",
        scope="worker",
    )
    priorities: str = setting(
        choice("strict", "weighted"),
        "strict",
        "Whether urgent jobs always run first, or each priority has a share: 8, 4, 2 and 1.",
        scope="worker",
    )
    slots: int = setting(
        COUNT, 10, "Number of concurrent jobs per process.", scope="worker", unit="jobs", short="c", least=1,
        most=10_000,
    )  # fmt: skip
    processes: int = setting(
        COUNT,
        None,
        "Number of processes of a worker.",
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
        "Maximum number of processes to which a remote command can scale a worker.",
        scope="worker",
        unit="processes",
        derived="8 per CPU, at least 16",
        least=1,
        most=1024,
    )
    lease: Seconds = setting(
        DURATION,
        30.0,
        "Duration of a lease: how long a worker holds a claimed job without a renewal.",
        scope="worker",
        least=1.0,
        most=HOUR,
    )
    renew_every: OptionalSeconds = setting(
        DURATION,
        None,
        "Time between renewals of a lease; at most half of the lease.",
        scope="worker",
        derived="a third of lease",
        least=0.1,
    )
    beat: Seconds = setting(DURATION, 5.0, "Time between a worker's heartbeats.", scope="worker", least=0.1)
    gone_after: Seconds = setting(
        DURATION,
        20.0,
        "Time without a heartbeat after which a worker counts as gone; at least two beats.",
        scope="worker",
    )
    grace: Seconds = setting(
        DURATION, 25.0, "Time that running jobs have to finish when a worker stops.", scope="worker"
    )
    hard_grace: Seconds = setting(
        DURATION, 10.0, "Time from a run's timeout until it is killed, unless hard_timeout is given.", scope="worker"
    )
    cancel_grace: Seconds = setting(
        DURATION, 1.0, "Time that a cancelled job has to stop by itself before it is interrupted.", scope="worker"
    )
    stop_grace: Seconds = setting(
        DURATION, 5.0, "Time between interruption, SIGTERM and SIGKILL when a job is stopped.", scope="worker"
    )
    hang_after: Seconds = setting(
        DURATION, 10.0, "Time without a turn of its event loop after which a process counts as hung.", scope="worker",
        least=0.1,
    )  # fmt: skip
    hang_kill: bool = setting(FLAG, False, "Kill a hung process.", scope="worker")
    burst: bool = setting(FLAG, False, "Stop when no job is ready.", scope="worker")
    max_jobs: int | None = setting(
        COUNT,
        None,
        "Replace a process after this number of jobs.",
        scope="worker",
        unit="jobs",
        derived="never",
        least=1,
    )
    max_memory: int | None = setting(
        SIZE,
        None,
        "Replace a process whose resident memory exceeds this.",
        scope="worker",
        derived="never",
        least=MIB,
    )
    max_age: OptionalSeconds = setting(
        DURATION, None, "Replace a process at this age.", scope="worker", derived="never", least=1.0
    )
    spare_processes: int = setting(
        COUNT, 1, "Number of idle isolated processes that each process of a worker keeps ready.", scope="worker",
        unit="processes", most=64,
    )  # fmt: skip
    suspect_processes: int = setting(
        COUNT, 12, "Maximum number of extra processes for jobs that were running when processes died; 0 for none.",
        scope="worker", unit="processes", least=0, most=64,
    )  # fmt: skip
    reload: bool = setting(FLAG, False, "Restart when code changes; needs the extra 'dev'.", scope="worker")
    job_log_lines: int = setting(
        COUNT, 1000, "Maximum number of lines stored of a job's log.", scope="worker", unit="lines", least=0
    )
    job_log_bytes: int = setting(SIZE, 256 * 1024, "Maximum size stored of a job's log.", scope="worker", least=0)
    stream_chunks: int = setting(
        COUNT, 10_000, "Maximum number of chunks stored of a job's output stream.", scope="worker", unit="chunks"
    )
    stream_bytes: int = setting(
        SIZE, 1 << 20, "Maximum size stored of a job's output stream.", scope="worker", least=65_536
    )
    metrics_port: int | None = setting(
        COUNT, None, "Serve /metrics, /healthz and /readyz on this port; 0 picks a free one.", scope="worker",
        derived="not served", least=0, most=65_535,
    )  # fmt: skip
    metrics_host: str = setting(
        HOST,
        "127.0.0.1",
        "Address to serve metrics and health on; in a container use 0.0.0.0, or :: to include IPv6.",
        scope="worker",
    )
    healthy_within: Seconds = setting(
        DURATION,
        60.0,
        "Time without a claim of a worker, or a turn of a reaper's duty, after which /healthz fails.",
        scope="worker",
        least=3.0,
    )
    with_reaper: bool = setting(FLAG, False, "Run the reaper's duties inside the worker.", scope="worker")
    progress_rate: float = setting(
        RATIO, 10.0, "Maximum rate of progress writes of a job.", scope="worker", unit="per second", least=0.1,
        most=1000.0,
    )  # fmt: skip
    traceback_bytes: int = setting(SIZE, 16_384, "Maximum size stored of a traceback.", scope="worker", least=0)

    result_ttl: Seconds = setting(DURATION, DAY, "How long a result is stored.", scope="worker")
    keep_args: bool = setting(
        FLAG,
        False,
        "Keep the arguments of a completed job with its result, if they have at most 64 KiB.",
        scope="worker",
    )
    failed_result_ttl: Seconds = setting(
        DURATION, 7 * DAY, "How long the result of a failed job is stored.", scope="worker"
    )
    reap_interval: Seconds = setting(
        DURATION, 1.0, "Time between checks for expired leases.", scope="reaper", least=0.01
    )
    dead_ttl: Seconds = setting(DURATION, 30 * DAY, "How long a dead letter is stored.", scope="reaper")
    dead_max: int = setting(
        COUNT, 100_000, "Maximum number of dead letters per lane.", scope="reaper", unit="jobs", least=0
    )
    archive_ttl: OptionalSeconds = setting(
        DURATION, None, "How long the archive stores a job that has ended.", scope="reaper", derived="for ever"
    )
    archive_failed_ttl: OptionalSeconds = setting(
        DURATION, None, "How long the archive stores a job that has failed.", scope="reaper", derived="archive_ttl"
    )
    outbox_poll: Seconds = setting(
        DURATION, 0.2, "Time between reads of an outbox whose database cannot notify.", scope="reaper", least=0.01
    )
    samples: bool = setting(
        FLAG, True, "Sample the fleet every 10 s for its history, and count runs for it.", scope="all"
    )
    version_label: str | None = setting(
        TEXT, None, "Version of your code; the history marks when a new one starts.", scope="worker", derived="none"
    )
    chaos: float = setting(
        RATIO, 0.0, "Share of jobs that lose their process on purpose, and of calls that lose their reply, such as 1%.",
        scope="worker", least=0.0, most=0.5,
    )  # fmt: skip
    chaos_seed: int = setting(COUNT, 0, "Chooses which ones; 0 for a new choice each time.", scope="worker", least=0)
    pod_costs: bool = setting(
        FLAG, True, "Tell Kubernetes which worker's pod to remove first, if the reaper's service account may.",
        scope="reaper",
    )  # fmt: skip
    journal_max: int = setting(
        COUNT, 1_000_000,
        "Maximum number of events that a lane's journal stores for a consumer that does not acknowledge them.",
        scope="reaper", unit="events", least=100,
    )  # fmt: skip
    journal_ttl: Seconds = setting(
        DURATION, DAY, "How long events are stored for a consumer that does not acknowledge them.", scope="reaper"
    )
    web_session: Seconds = setting(
        DURATION, DAY / 2, "How long a login to the dashboard lasts.", scope="web", least=1.0
    )
    notify: Mapping[str, Any] = setting(
        NOTIFY, "", "Channels and rules for notifications; see docs/howto/notifications.md.", scope="reaper"
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
    def confirm_timeout(self) -> float:
        """Time limit in seconds of a confirmation: `durability_timeout`, else half of `socket_timeout`."""
        return self.socket_timeout / 2 if self.durability_timeout is None else self.durability_timeout

    @property
    def fails_over(self) -> bool:
        """Whether a replica takes over from a primary by itself, as those decide that the URL names."""
        return self.url.lower().startswith(("sentinel", "cluster"))

    @property
    def confirming_replicas(self) -> int:
        """How many replicas confirm a write of durability 'replicated'; 0 for all that may take over."""
        return self.durability_replicas if isinstance(self.durability_replicas, int) else 0

    @property
    def alive_every(self) -> float:
        """Seconds between the frames that show a supervisor's children that the supervisor is alive."""
        return min(1.0, self.lease / 10)

    @property
    def renewal_timeout(self) -> float:
        """Time limit in seconds for the reply to a renewal; it leaves time for two more renewals within a lease."""
        return min(self.socket_timeout, self.lease / 6)

    def plain(self, **changes: object) -> dict[str, object]:
        """Return all settings as plain values, with some changed; a child process rebuilds the settings from them."""
        values = {row.name: changes.get(row.name, getattr(self, row.name)) for row in SETTINGS}
        return {
            name: str(value) if isinstance(value, Path) else dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }

    def _check_pairs(self) -> None:
        """Refuse values that are valid alone but contradict each other."""
        self._check(self.renewal <= self.lease / 2, "renew_every", f"half of lease ({self.lease:g} s) or less")
        self._check(
            self.confirm_timeout <= self.socket_timeout * 3 / 4,
            "durability_timeout",
            f"three quarters of socket_timeout ({self.socket_timeout * 3 / 4:g} s) or less",
        )
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
        self._check(is_weighted, "queue_order", "'weighted', because queues has weights")
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
