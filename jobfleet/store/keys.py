"""All keys and channels of jobfleet.

A queue has lanes, and a lane is a hash slot: all its keys share the tag ``{<ns>:<queue>:<lane>}``. Fleet-wide keys
share ``{<ns>}``. The keyspace page of the docs is generated from `KEY_TABLE`. A test fails if a key has neither a TTL,
nor an owner that deletes it, nor a limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.model import split_id

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals
    from jobfleet.config import JobConfig
    from jobfleet.store.channel_keys import ChannelKeys

BANDS = 4
NORMAL = 2
"""The band of jobs without a priority."""
WORK = (*[f"ready:{band}" for band in range(BANDS)], "lease", "expiry", "outbox", "rates")
"""Keys of a lane; at least one of them exists while the lane has work."""
KEPT = ("done", "dlq", "locks", "indexes")
"""Keys of a lane; at least one of them exists while the lane stores data that will expire."""


class KeyRow(NamedTuple):
    """One kind of key: its content, and what limits its lifetime or size."""

    name: str
    type: str
    holds: str
    ends: str


ANSWERED = KeyRow("answer:<call>", "string", "reply to a call that may be repeated", "TTL 1 min")

KEY_TABLE: tuple[KeyRow, ...] = (
    KeyRow("ready:<p>", "zset", "ids by due time (µs, Redis's clock), p = 0 CRITICAL … 3 LOW", "claim, cancel, expire"),
    KeyRow("job:<id>", "string", "envelope: header and body; scripts read neither", "the final transition"),
    KeyRow("meta", "hash", "id → clear record: expiry, retention, unique key and scope", "the final transition"),
    KeyRow(
        "tries", "hash", "id → budgets spent, suspicion, history of runs; only if not empty", "the final transition"
    ),
    KeyRow("lease", "zset", "running ids by lease deadline (µs)", "every settle"),
    KeyRow(
        "runs",
        "hash",
        "id → token, child, claimed, lease, band; cancellation: requester, time, stage",
        "every settle",
    ),
    KeyRow("result:<id>", "string", "ending of the job; also the tombstone that refuses a repeated enqueue", "TTL"),
    KeyRow("value:<id>", "string", "record of an ending, if it is stored for a shorter time than the id", "TTL"),
    KeyRow("progress:<id>", "string", "last progress record", "TTL"),
    KeyRow("reported:<id>", "string", "token and number of the last report of progress", "TTL"),
    KeyRow(
        "log:<id>", "list", "last lines of the job's log; a line is: token n bytes at level text", "TTL; 1,000 lines"
    ),
    KeyRow("steps:<id>", "hash", "step → its encoded result; at most 1,000, 4 MiB", "TTL"),
    KeyRow("done", "stream", "one entry per finishing batch: ids, outcomes, durations", "MAXLEN; retention duty"),
    KeyRow("dlq", "stream", "failed jobs: envelope, meta, record, reason, tries", "replay, purge; retention duty"),
    KeyRow("dead", "hash", "id → entry in dlq", "with its entry"),
    KeyRow("grouped", "zset", "waiting jobs of groups: band, group, due time and id", "claim, cancel, expire"),
    KeyRow("ring", "zset", "band and group by its turn; resting groups at higher scores", "with its last waiting job"),
    KeyRow(
        "gdue", "zset", "band and group by the time of the next check of its turn (µs)", "claim; its last waiting job"
    ),
    KeyRow("held", "zset", "running jobs of groups: group and id", "every settle"),
    KeyRow(
        "rates",
        "zset",
        "group by the time at which its tokens are full again (µs); empty: the queue",
        "tick, once they are",
    ),
    KeyRow("expiry", "zset", "waiting ids by expires_at, only of jobs that have one", "claim, cancel, expire"),
    KeyRow("parents:<id>", "hash", "parents of a job, and the ending of each", "TTL, renewed while it waits"),
    KeyRow(
        "dependants:<id>", "zset", "dependants of a job", "the relay; those that read its record later: TTL of that"
    ),
    KeyRow("unique", "hash", "key → holder's id, end, start, last debounce", "the final transition; locks"),
    KeyRow("locks", "zset", "keys held for a time, by its end (µs)", "two with each new one; retention duty"),
    KeyRow(
        "index:<name>",
        "zset",
        "ids by enqueue time; a name is tag:<t>, user:<u>, session:<s> or keep:<function>",
        "retention duty; TTL 40 d, renewed",
    ),
    KeyRow("indexes", "zset", "index → time of its next cleaning (µs)", "with its index"),
    KeyRow("watched", "hash", "id → 1 for jobs with dependants", "the final transition"),
    KeyRow("outbox", "stream", "one record per ended job with dependants", "the relay"),
    KeyRow(
        "journal", "stream", "lifecycle events, while a consumer is registered", "journal_max, journal_ttl; all read it"
    ),
    KeyRow("fired", "hash", "cron entry → last handled fire, and its job", "with its entry"),
    KeyRow("wake", "zset", "marker on which idle children block", "one member"),
    KeyRow(
        "wake:<kind>",
        "zset",
        "marker for children that know the functions of jobs that others left",
        "one member; TTL 1 h",
    ),
    KeyRow(
        "lane",
        "hash",
        "last token, primary's replication id, last TIME seen, hold, longest lease, clocks of bands, ahead",
        "few fields",
    ),
    KeyRow(
        "conf",
        "hash",
        "settings: pause (by, when, why); paused functions; journal, limits, aging, paused groups; declared limits, "
        "and what an operator has set there",
        "10,000 groups",
    ),
    KeyRow("totals", "hash", "counts since the beginning, and number of waiting jobs with tries", "few fields"),
    KeyRow("listeners", "string", "mark: the lane's events have a listener", "TTL 1 min"),
    KeyRow("barrier", "string", "mark that each wait for replicas or for the disk writes first", "TTL 1 min"),
    KeyRow("aside:<name>", "any", "unreadable value that was moved away from a key", "TTL 30 d; one per key"),
    KeyRow("claim:<child>", "string", "last claim of the child (nonce, ids, tokens), or `buried`", "TTL 1 h"),
    KeyRow("sent:<child>", "string", "last settle of the child: nonce and replies", "TTL 10 min"),
    ANSWERED,
)
FLEET_KEY_TABLE: tuple[KeyRow, ...] = (
    ANSWERED,
    KeyRow("aside:<name>", "any", "unreadable value that was moved away from a key", "TTL 30 d; one per key"),
    KeyRow("queues", "hash", "queue → home lanes, lanes", "remove_queue; max_queues"),
    KeyRow("workers", "zset", "worker ids by last beat (µs)", "trimmed by each beat"),
    KeyRow("worker:<id>", "string", "account of a worker", "TTL"),
    KeyRow("functions", "hash", "function → queue and options, published by workers", "one field per function"),
    KeyRow(
        "kinds",
        "zset",
        "kinds of workers with the same functions and queues, by last beat (µs)",
        "trimmed by each beat",
    ),
    KeyRow("kind:<kind>", "hash", "function → its queue; under the empty name the queues that the kind serves", "TTL"),
    KeyRow("knowers:<kind>", "zset", "workers of the kind by last beat (µs)", "TTL; trimmed by each beat"),
    KeyRow("conf", "hash", "operator's settings of the fleet: functions that are paused in every queue", "few fields"),
    KeyRow("flow:<id>", "string", "jobs of a flow, and the parents of each", "TTL 30 d"),
    KeyRow("flow-more:<id>", "hash", "additions that jobs of a flow have made to it", "TTL 30 d; at most 20,000 jobs"),
    KeyRow("flows", "zset", "flows by creation time", "the last 1,000"),
    KeyRow(
        "consumers", "hash", "reader group of the journals → maximum number of events per lane", "one field per group"
    ),
    KeyRow("cron", "hash", "cron entry → start, fingerprint of its schedule, record", "unschedule; 10,000"),
    KeyRow("cron-paused", "hash", "cron entry → who paused it, and when", "with its entry"),
    KeyRow(
        "cron-duty", "zset", "processes that fire recurring jobs, by last announcement (µs)", "TTL; trimmed by each"
    ),
    KeyRow("cron-ledger:<entry>", "zset", "outcomes of its fires, by time", "1,000 notes; with its entry"),
    KeyRow(
        "lock:<name>",
        "zset",
        "running jobs that hold a lock, by its fencing token",
        "release, the next taker; TTL 30 d",
    ),
    KeyRow("lock-wait:<id>", "string", "the lock for which a running job waits, after two seconds", "TTL 6 s; renewed"),
    KeyRow("lock-state:<name>", "hash", "number of places of a lock, its last fencing token", "TTL 30 d"),
    KeyRow("notify:<channel>:gathered", "zset", "marks of processed notices, by time", "100,000; TTL 7 d"),
    KeyRow("notify:<channel>:windows", "zset", "kinds of notice by the end of their window", "one per kind; TTL 7 d"),
    KeyRow("notify:<channel>:groups", "hash", "kind → collected notices; its rate", "with its window; TTL 7 d"),
    KeyRow("notify:<channel>:due", "zset", "deliveries by the time of the next attempt", "1,000; TTL 7 d"),
    KeyRow("notify:<channel>:held", "hash", "delivery → attempts and content", "1,000; TTL 7 d"),
)


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
        "barrier", "claim_prefix", "conf", "dead", "dlq", "done", "events", "expiry", "fired", "gdue", "grouped",
        "held", "id_bytes", "id_prefix", "index", "index_prefix", "indexes", "job_prefix", "journal", "lane", "lease",
        "listeners", "locks", "meta", "outbox", "plain", "progress_prefix", "queue", "rates", "ready",
        "result_prefix", "ring", "runs", "seals", "tag", "totals", "tries", "unique", "wake", "watched",
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

    def index_of(self, name: str) -> str:
        """The key of the index of a tag, a user or a session."""
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
        self.conf: str = f"{tag}conf"
        self.cron: str = f"{tag}cron"
        self.flows: str = f"{tag}flows"
        self.consumers: str = f"{tag}consumers"
        self.cron_paused: str = f"{tag}cron-paused"
        self.cron_duty: str = f"{tag}cron-duty"
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

    def channel(self, name: str) -> ChannelKeys:
        """The keys of a notification channel."""
        from jobfleet.store.channel_keys import ChannelKeys  # only notifications need it

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
