"""All keys and channels of jobfleet, the scores of waiting jobs, and how long Redis keeps what has ended."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from jobfleet.model import split_id

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals
    from jobfleet.config import JobConfig


# All keys and channels of jobfleet.
#
# A queue has lanes, and a lane is a hash slot: all its keys share the tag ``{<ns>:<queue>:<lane>}``. Fleet-wide keys
# share ``{<ns>}``. `key_table` lists them.


BANDS = 4
NORMAL = 2
"""The band of jobs without a priority."""
WORK = (*[f"ready:{band}" for band in range(BANDS)], "lease", "expiry", "outbox", "rates")
"""Keys of a lane; at least one of them exists while the lane has work."""
KEPT = ("done", "dlq", "locks", "indexes")
"""Keys of a lane; at least one of them exists while the lane stores data that will expire."""


def lane_number(key: str, lanes: int) -> int:
    """The number of the lane in which a key has its place, of `lanes`."""
    return zlib.crc32(key.encode()) % lanes


class Lane:
    """The key names of one lane.

    Attributes:
        queue: The queue's name.
        index: The lane's number within it.
        tag: The prefix of all its keys.
        seals: Seals what calls write about jobs, and opens what they read; None in a fleet without keys.
    """

    __slots__ = (
        "barrier", "claim_prefix", "conf", "dead", "dlq", "done", "events", "expiry", "filed", "filing", "fired",
        "gdue", "grouped", "held", "id_bytes", "id_prefix", "index", "index_prefix", "indexes", "job_prefix",
        "journal", "lane", "lease", "listeners", "locks", "meta", "outbox", "plain", "progress_prefix", "queue",
        "rates", "ready", "result_prefix", "ring", "runs", "seals", "tag", "totals", "tries", "unique", "wake",
        "watched",
    )  # fmt: skip

    def __init__(self, namespace: str, queue: str, index: int, seals: Seals | None = None) -> None:
        self.queue: str = queue
        self.seals: Seals | None = seals
        self.index: int = index
        tag = f"{{{namespace}:{queue}:{index}}}:"
        self.tag: str = tag
        self.id_prefix: str = f"{queue}.{index}."
        self.id_bytes: bytes = self.id_prefix.encode()
        self.ready: tuple[str, ...] = tuple(f"{tag}ready:{band}" for band in range(BANDS))
        self.lease: str = f"{tag}lease"
        self.runs: str = f"{tag}runs"
        self.meta: str = f"{tag}meta"
        self.tries: str = f"{tag}tries"
        self.done: str = f"{tag}done"
        self.dlq: str = f"{tag}dlq"
        self.dead: str = f"{tag}dead"
        self.filed: str = f"{tag}filed"
        self.filing: str = f"{tag}filing"
        self.expiry: str = f"{tag}expiry"
        self.grouped: str = f"{tag}grouped"
        self.ring: str = f"{tag}ring"
        self.gdue: str = f"{tag}gdue"
        self.held: str = f"{tag}held"
        self.rates: str = f"{tag}rates"
        self.fired: str = f"{tag}fired"
        self.unique: str = f"{tag}unique"
        self.locks: str = f"{tag}locks"
        self.indexes: str = f"{tag}indexes"
        self.watched: str = f"{tag}watched"
        self.outbox: str = f"{tag}outbox"
        self.journal: str = f"{tag}journal"
        self.wake: str = f"{tag}wake"
        self.lane: str = f"{tag}lane"
        self.barrier: str = f"{tag}barrier"
        self.conf: str = f"{tag}conf"
        self.totals: str = f"{tag}totals"
        self.plain: tuple[str, str, str] = (self.ready[NORMAL], self.wake, self.totals)
        self.events: str = f"{tag}events"
        self.listeners: str = f"{tag}listeners"
        self.index_prefix: str = f"{tag}index:"
        self.job_prefix: str = f"{tag}job:"
        self.result_prefix: str = f"{tag}result:"
        self.progress_prefix: str = f"{tag}progress:"
        self.claim_prefix: str = f"{tag}claim:"

    def __repr__(self) -> str:
        return f"Lane({self.tag!r})"

    def job(self, job_id: str) -> str:
        """The key of the job's envelope."""
        return self.job_prefix + job_id

    def result(self, job_id: str) -> str:
        """The key of the job's ending."""
        return self.result_prefix + job_id

    def value(self, job_id: str) -> str:
        """The key of the record of the job's ending, if it is stored for a shorter time than the id."""
        return f"{self.tag}value:{job_id}"

    def reported(self, job_id: str) -> str:
        """The key of the number of the last progress report."""
        return f"{self.tag}reported:{job_id}"

    def progress(self, job_id: str) -> str:
        """The key of the last progress record."""
        return self.progress_prefix + job_id

    def log(self, job_id: str) -> str:
        """The key of the job's log."""
        return f"{self.tag}log:{job_id}"

    def steps(self, job_id: str) -> str:
        """The key of the results of the job's steps."""
        return f"{self.tag}steps:{job_id}"

    def chunks(self, job_id: str) -> str:
        """The key of the job's output stream, and the channel that announces new chunks."""
        return f"{self.tag}chunks:{job_id}"

    def index_of(self, name: str) -> str:
        """The key of the index of a tag or a free text of jobs."""
        return self.index_prefix + name

    def claim(self, child: str) -> str:
        """The key of a child's last claim."""
        return self.claim_prefix + child

    def wake_of(self, kind: str) -> str:
        """The key of the wake marker for idle children of a kind."""
        return f"{self.wake}:{kind}"

    def sent(self, child: str) -> str:
        """The key of a child's last settle."""
        return f"{self.tag}sent:{child}"

    def parents(self, job_id: str) -> str:
        """The key of the parents of a job."""
        return f"{self.tag}parents:{job_id}"

    def dependants(self, job_id: str) -> str:
        """The key of the dependants of a job."""
        return f"{self.tag}dependants:{job_id}"

    def rescued(self, job_id: str) -> str:
        """The key of the dead letter that a rescue has replayed."""
        return f"{self.tag}rescued:{job_id}"

    def job_events(self, job_id: str) -> str:
        """The event channel of one job."""
        return f"{self.tag}events:{job_id}"


class Keyspace:
    """All key names of a namespace.

    Args:
        namespace: The name that separates fleets on the same Redis.
        seals: Seals what calls write, and opens what they read; None in a fleet without keys.
    """

    def __init__(self, namespace: str, seals: Seals | None = None) -> None:
        self.namespace = namespace
        self.seals: Seals | None = seals
        tag = f"{{{namespace}}}:"
        self.tag = tag
        self.queues: str = f"{tag}queues"
        self.workers: str = f"{tag}workers"
        self.functions: str = f"{tag}functions"
        self.kinds: str = f"{tag}kinds"
        self.control: str = f"{tag}control"
        self.commands: str = f"{tag}commands"
        self.conf: str = f"{tag}conf"
        self.cron: str = f"{tag}cron"
        self.flows: str = f"{tag}flows"
        self.consumers: str = f"{tag}consumers"
        self.audit: str = f"{tag}audit"
        self.cron_times: str = f"{tag}cron-times"
        self.payload_store: str = f"{tag}payload-store"
        self.cron_paused: str = f"{tag}cron-paused"
        self.cron_outcomes: str = f"{tag}cron-outcomes"
        self.cron_duty: str = f"{tag}cron-duty"
        self.dead_groups: str = f"{tag}dead-groups"
        self.dead_regressed: str = f"{tag}dead-regressed"
        self.rescues: str = f"{tag}rescues"
        self.rescuing: str = f"{tag}rescuing"
        self.dead_ignored: str = f"{tag}dead-ignored"
        self.samples: str = f"{tag}samples"
        self.versions: str = f"{tag}versions"
        self.reports: str = f"{tag}reports"
        self.gates: str = f"{tag}gates"
        self.lane: Callable[[str, int], Lane] = cache(self._lane)

    @classmethod
    def of(cls, config: JobConfig) -> Keyspace:
        """All key names for some settings, with the keys of the keyring.

        Raises:
            ConfigError: The keyring is missing or cannot be read.
        """
        if config.keyring is None and config.sign == config.encrypt == "off":
            return cls(config.namespace)
        from jobfleet.codec.seals import seals_of  # most fleets have no keys

        return cls(config.namespace, seals_of(config))

    def _lane(self, queue: str, index: int) -> Lane:
        return Lane(self.namespace, queue, index, self.seals)

    def worker(self, worker_id: str) -> str:
        """The key of a worker's account."""
        return f"{self.tag}worker:{worker_id}"

    def report(self, worker_id: str) -> str:
        """The key of a worker's report of its runs."""
        return f"{self.tag}report:{worker_id}"

    def stacks(self, nonce: str) -> str:
        """The key of the stacks of a child, which somebody has asked for."""
        return f"{self.tag}stacks:{nonce}"

    def samples_of(self, part: str) -> str:
        """The key of the points of a chunk, or of the counters at the last sample."""
        return f"{self.samples}:{part}"

    def kind(self, kind: str) -> str:
        """The key of the functions and queues of a kind of workers."""
        return f"{self.tag}kind:{kind}"

    def knowers(self, kind: str) -> str:
        """The key of the workers of a kind."""
        return f"{self.tag}knowers:{kind}"

    def flow(self, flow_id: str) -> str:
        """The key of a flow's record."""
        return f"{self.tag}flow:{flow_id}"

    def flow_more(self, flow_id: str) -> str:
        """The key of the additions that its jobs have made to a flow."""
        return f"{self.tag}flow-more:{flow_id}"

    def cron_ledger(self, entry: str) -> str:
        """The key of the outcomes of a cron entry's fires."""
        return f"{self.tag}cron-ledger:{entry}"

    def dead_group(self, fingerprint: str) -> str:
        """The key of a group of dead letters."""
        return f"{self.tag}dead-group:{fingerprint}"

    def rescue(self, rescue: str) -> str:
        """The key of a rescue of dead letters."""
        return f"{self.tag}rescue:{rescue}"

    def rescue_jobs(self, rescue: str) -> str:
        """The key of the jobs of a rescue that are in flight."""
        return f"{self.tag}rescue-jobs:{rescue}"

    def lock(self, name: str) -> str:
        """The key of the running jobs that hold a lock."""
        return f"{self.tag}lock:{name}"

    def lock_state(self, name: str) -> str:
        """The key of the number of places of a lock, and of its last fencing token."""
        return f"{self.tag}lock-state:{name}"

    def lock_wait(self, job_id: str) -> str:
        """The key of the note for which lock a running job waits."""
        return f"{self.tag}lock-wait:{job_id}"

    def lock_freed(self, name: str) -> str:
        """The channel on which the release of a lock is announced."""
        return f"{self.tag}lock-freed:{name}"

    def gate(self, name: str) -> str:
        """The key of the definition and the state of a named limit or a circuit breaker."""
        return f"{self.tag}gate:{name}"

    def inside(self, name: str) -> str:
        """The key of the runs that have passed a gate."""
        return f"{self.tag}inside:{name}"

    def gate_freed(self, child: str) -> str:
        """The channel on which a child is notified that a gate has room."""
        return f"{self.tag}gate-freed:{child}"

    def channel(self, name: str) -> ChannelKeys:
        """The keys of a notification channel."""
        return ChannelKeys(self.tag, name)

    def signs(self, queue: str, index: int, names: Sequence[str]) -> tuple[str, ...]:
        """Return some keys of a lane, such as `WORK`, for a check of existence. Unlike `lane`, this caches nothing."""
        tag = f"{{{self.namespace}:{queue}:{index}}}:"
        return tuple(tag + name for name in names)

    def lane_of(self, job_id: str) -> Lane:
        """Return the lane of a job id.

        Raises:
            JobNotFound: The text is not a job id.
        """
        queue, lane, _ = split_id(job_id)
        return self.lane(queue, lane)


class ChannelKeys:
    """The key names of one notification channel.

    Attributes:
        gathered: Marks of processed notices.
        windows: Kinds of notice by the end of their window.
        groups: Collected notices.
        due: Deliveries by the time of the next attempt.
        held: Contents of the deliveries.
    """

    __slots__ = ("due", "gathered", "groups", "held", "windows")

    def __init__(self, fleet_tag: str, channel: str) -> None:
        tag = f"{fleet_tag}notify:{channel}:"
        self.gathered: str = f"{tag}gathered"
        self.windows: str = f"{tag}windows"
        self.groups: str = f"{tag}groups"
        self.due: str = f"{tag}due"
        self.held: str = f"{tag}held"


# The score of a job that waits in its band (``ready:<p>``), in µs. Pure.
#
# It has four regimes, so that a claim of plain jobs finds only those that it may take:
#
# ========  =============  ==================================================================
# grouped   due - GROUPED  below 0; the turns of groups are kept elsewhere
# plain     due            from 0
# withheld  due + AGE      from `WITHHELD`; its function is paused; also a job of a group
# blocked   BLOCKED        it waits for other jobs
# ========  =============  ==================================================================
#
# ``score.lua`` and ``bounds.lua`` in ``lua/lib/waiting`` have the same numbers and functions;
# ``tests/properties/test_scores.py`` compares the two languages.


GROUPED = 9_000_000_000_000_000
AGE = 5_500_000_000_000_000
WITHHELD = 7_000_000_000_000_000
BLOCKED = 9_000_000_000_000_000
WITHHELD_BOUNDS = (str(WITHHELD), f"({BLOCKED}")
"""From where to where jobs are withheld, as ZRANGEBYSCORE has it."""
BLOCKED_BOUNDS = (str(BLOCKED), "+inf")
"""From where to where jobs are blocked."""


def is_blocked(score: int) -> bool:
    """Whether a job waits for other jobs."""
    return score >= BLOCKED


def is_withheld(score: int) -> bool:
    """Whether a job waits because its function is paused."""
    return WITHHELD <= score < BLOCKED


def grouped_score(due: int) -> int:
    """The score of a job of a group that is due at `due`."""
    return due - GROUPED


def ungrouped(score: int) -> int:
    """A score without the offset of groups: the due time of a plain job and of a job of a group."""
    return score + GROUPED if score < 0 else score


def due_of_score(score: int) -> int:
    """The due time of a job in any regime; `BLOCKED` of one that is blocked."""
    return score - AGE if is_withheld(score) else ungrouped(score)


def plain_bounds(start: str, stop: str) -> tuple[str, str]:
    """The scores of jobs without a group that are due between two bounds; ``-inf`` and ``+inf`` for no bound.

    Withheld jobs are among them where `stop` is none: their scores are due times, an age later.
    """
    return "0" if start == "-inf" else start, f"({BLOCKED}" if stop == "+inf" else stop


def grouped_bounds(start: str, stop: str) -> tuple[str, str]:
    """Return the score range of grouped jobs that are due between two times; ``-inf`` and ``+inf`` mean no bound."""
    return _shifted(start), "(0" if stop == "+inf" else _shifted(stop)


def _shifted(bound: str) -> str:
    if bound == "-inf":
        return bound
    return f"({grouped_score(int(bound[1:]))}" if bound.startswith("(") else str(grouped_score(int(bound)))


# How long Redis keeps what has ended or been moved aside. Periods that must agree are here once.
#
# The retention of results and dead letters is a setting (`result_ttl`, `dead_ttl`).


DAY_MS = 86_400_000
TOMBSTONE_MS = DAY_MS
"""Milliseconds for which the end of a cancelled, replaced or moved job is known; `settle.lua` uses the same period."""
PARENTS_KEPT_MS = 30 * DAY_MS
"""Milliseconds for which the parents of a blocked job are kept. Sweeps renew it."""
FLOW_LEAST_MS = 7 * DAY_MS
"""Milliseconds for which a flow's record is kept at least: an open flow without a blocked job may still grow."""
LAST_KEPT_MS = 600_000
"""Milliseconds for which a result is kept even if `keep_last` later ones exist, so that all who wait for it read it."""
ASIDE_MS = 30 * DAY_MS
"""Milliseconds for which damaged data that was moved aside is kept."""
NOTICES_MS = 7 * DAY_MS
"""Milliseconds for which a channel's marks and deliveries are kept; `gather.lua` uses the same period for marks."""


def flow_ttl_ms(config: JobConfig) -> int:
    """Milliseconds for which a flow's record is kept: as long as its jobs. Sweeps renew it while jobs are blocked."""
    return max(FLOW_LEAST_MS, round(max(config.result_ttl, config.failed_result_ttl, config.dead_ttl) * 1000))
