"""Every key and channel of jobfleet, in one place.

A queue has lanes, and a lane is a hash slot: all its keys share the tag ``{<ns>:<queue>:<lane>}``.
Fleet-wide keys share ``{<ns>}``. `KEY_TABLE` is the documentation: the keyspace page is made from
it, and a test fails where a key is left without a TTL, an owner that deletes it, or a bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from jobfleet.model import split_id

BANDS = 4
NORMAL = 2
"""The band of jobs that say nothing of their priority."""
WORK = (*[f"ready:{band}" for band in range(BANDS)], "lease", "expiry", "outbox", "rates")
"""The keys of a lane of which at least one exists while something is to be done in it."""
KEPT = ("done", "dlq", "locks", "indexes")
"""The keys of a lane of which at least one exists while it keeps something that is to go one day."""


class KeyRow(NamedTuple):
    """One kind of key: what it holds and why it does not stay for ever."""

    name: str
    type: str
    holds: str
    ends: str


ANSWERED = KeyRow("answer:<call>", "string", "what a call was answered that may come again", "TTL 1 min")

KEY_TABLE: tuple[KeyRow, ...] = (
    KeyRow("ready:<p>", "zset", "ids by due time (µs, Redis's clock), p = 0 CRITICAL … 3 LOW", "claim, cancel, expire"),
    KeyRow("job:<id>", "string", "envelope: clear header and body; Redis looks into neither", "the final transition"),
    KeyRow("meta", "hash", "id → clear record: expiry, retention, unique key and scope", "the final transition"),
    KeyRow("tries", "hash", "id → budgets spent, suspicion, history of runs; once one is set", "the final transition"),
    KeyRow("lease", "zset", "running ids by lease deadline (µs)", "every settle"),
    KeyRow(
        "runs",
        "hash",
        "id → token, child, claimed, lease, band; who asked to cancel, when, how far",
        "every settle",
    ),
    KeyRow("result:<id>", "string", "how it ended; also the tombstone that refuses a repeated enqueue", "TTL"),
    KeyRow("progress:<id>", "string", "last progress record", "TTL"),
    KeyRow("reported:<id>", "string", "token and number of the last report of progress", "TTL"),
    KeyRow(
        "log:<id>", "list", "the job's own log, its tail; a line is: token n bytes at level text", "TTL; 1,000 lines"
    ),
    KeyRow("steps:<id>", "hash", "step → its encoded result; at most 1,000, 4 MiB", "TTL"),
    KeyRow("done", "stream", "one entry per finishing batch: ids, outcomes, durations", "MAXLEN; retention duty"),
    KeyRow("dlq", "stream", "failed jobs: envelope, meta, record, reason, tries", "replay, purge; retention duty"),
    KeyRow("dead", "hash", "id → entry in dlq", "with its entry"),
    KeyRow("grouped", "zset", "jobs of groups that wait: band, group, due time and id", "claim, cancel, expire"),
    KeyRow("ring", "zset", "band and group by its turn; those that rest further on", "with its last waiting job"),
    KeyRow("gdue", "zset", "band and group by when its turn is to be looked at (µs)", "claim; its last waiting job"),
    KeyRow("held", "zset", "running jobs of groups: group and id", "every settle"),
    KeyRow("rates", "zset", "group by when its tokens are full again (µs); empty: the queue", "tick, once they are"),
    KeyRow("expiry", "zset", "waiting ids by expires_at, only of jobs that have one", "claim, cancel, expire"),
    KeyRow("parents:<id>", "hash", "whom a job waits for, and what became of each", "TTL, renewed while it waits"),
    KeyRow("dependants:<id>", "zset", "who waits for a job", "the relay"),
    KeyRow("unique", "hash", "key → holder's id, till when, since when, last debounced", "the final transition; locks"),
    KeyRow("locks", "zset", "keys held for a time, by when that is over (µs)", "two with each new one; retention duty"),
    KeyRow(
        "index:<name>",
        "zset",
        "ids by when they were enqueued; a name is tag:<t>, user:<u> or session:<s>",
        "retention duty; TTL 40 d, renewed",
    ),
    KeyRow("indexes", "zset", "index → when it is looked through for what is gone (µs)", "with its index"),
    KeyRow("watched", "hash", "id → 1 for jobs that dependants wait for", "the final transition"),
    KeyRow("outbox", "stream", "one record per settled parent that is watched", "the relay"),
    KeyRow("journal", "stream", "lifecycle events, while a consumer is registered", "journal_max; all read it"),
    KeyRow("fired", "hash", "cron entry → last fire that was dealt with, and its job", "with its entry"),
    KeyRow("wake", "zset", "the marker on which idle children block", "one member"),
    KeyRow("wake:<kind>", "zset", "the marker for children that know what others have left", "one member; TTL 1 h"),
    KeyRow(
        "lane",
        "hash",
        "last token, primary's replication id, last TIME seen, hold, longest lease, clocks of bands, ahead",
        "few fields",
    ),
    KeyRow(
        "conf",
        "hash",
        "operator's settings: paused by whom, when and why; paused functions; journal, limits, aging, paused groups",
        "10,000 groups",
    ),
    KeyRow("totals", "hash", "counts for ever, and how many waiting jobs have tries", "few fields"),
    KeyRow("listeners", "string", "a mark: somebody listens to the lane's events", "TTL 1 min"),
    KeyRow(
        "aside:<name>", "any", "what stood at a key and nothing could read, until it was moved", "TTL 30 d; one a key"
    ),
    KeyRow("claim:<child>", "string", "its last claim (nonce, ids, tokens), or `buried`", "TTL 1 h"),
    KeyRow("sent:<child>", "string", "its last finishing trip: nonce and answers", "TTL 10 min"),
    ANSWERED,
)
FLEET_KEY_TABLE: tuple[KeyRow, ...] = (
    ANSWERED,
    KeyRow(
        "aside:<name>", "any", "what stood at a key and nothing could read, until it was moved", "TTL 30 d; one a key"
    ),
    KeyRow("queues", "hash", "queue → home lanes, lanes", "remove_queue; max_queues"),
    KeyRow("workers", "zset", "worker ids by last beat (µs)", "trimmed by each beat"),
    KeyRow("worker:<id>", "string", "a worker's own account of itself", "TTL"),
    KeyRow("functions", "hash", "function → queue and options, published by workers", "one field a function"),
    KeyRow(
        "kinds", "zset", "kinds of workers, which know and serve the same, by last beat (µs)", "trimmed by each beat"
    ),
    KeyRow("kind:<kind>", "hash", "function → its queue; under the empty name the queues that the kind serves", "TTL"),
    KeyRow("knowers:<kind>", "zset", "its workers by last beat (µs)", "TTL; trimmed by each beat"),
    KeyRow("conf", "hash", "operator's settings of the fleet: functions that are paused in every queue", "few fields"),
    KeyRow("flow:<id>", "string", "the jobs of a flow, and whom each waits for", "TTL 30 d"),
    KeyRow("flow-more:<id>", "hash", "what jobs of a flow have added to it", "TTL 30 d; at most 20,000 jobs"),
    KeyRow("flows", "zset", "flows by when they were made", "the last 1,000"),
    KeyRow("consumers", "hash", "who reads the journals → how many events a lane keeps at most", "one field a group"),
    KeyRow("cron", "hash", "cron entry → since when, fingerprint of its times, record", "unschedule; 10,000"),
    KeyRow("cron-paused", "hash", "cron entry → who paused it, and when", "with its entry"),
    KeyRow("cron-duty", "zset", "who fires recurring jobs, by last announcement (µs)", "TTL; trimmed by each"),
    KeyRow("cron-ledger:<entry>", "zset", "what became of its fires, by time", "1,000 notes; with its entry"),
    KeyRow("notify:<channel>:gathered", "zset", "marks of notices taken in, by when", "100,000; TTL 7 d"),
    KeyRow("notify:<channel>:windows", "zset", "kinds of notice by when their window ends", "one a kind; TTL 7 d"),
    KeyRow("notify:<channel>:groups", "hash", "kind → what has gathered; its rate", "with its window; TTL 7 d"),
    KeyRow("notify:<channel>:due", "zset", "deliveries by when to try them", "1,000; TTL 7 d"),
    KeyRow("notify:<channel>:held", "hash", "delivery → attempts and what it tells", "1,000; TTL 7 d"),
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
    """

    __slots__ = (
        "claim_prefix", "conf", "dead", "dlq", "done", "events", "expiry", "fired", "gdue", "grouped", "held",
        "id_bytes", "id_prefix", "index", "index_prefix", "indexes", "job_prefix", "journal", "lane", "lease",
        "listeners", "locks", "meta", "outbox", "plain", "progress_prefix", "queue", "rates", "ready",
        "result_prefix", "ring", "runs", "tag", "totals", "tries", "unique", "wake", "watched",
    )  # fmt: skip

    def __init__(self, namespace: str, queue: str, index: int) -> None:
        self.queue = queue
        self.index = index
        self.tag = tag = f"{{{namespace}:{queue}:{index}}}:"
        self.id_prefix = f"{queue}.{index}."
        self.id_bytes = self.id_prefix.encode()
        self.ready = tuple(f"{tag}ready:{band}" for band in range(BANDS))
        self.lease = f"{tag}lease"
        self.runs = f"{tag}runs"
        self.meta = f"{tag}meta"
        self.tries = f"{tag}tries"
        self.done = f"{tag}done"
        self.dlq = f"{tag}dlq"
        self.dead = f"{tag}dead"
        self.expiry = f"{tag}expiry"
        self.grouped = f"{tag}grouped"
        self.ring = f"{tag}ring"
        self.gdue = f"{tag}gdue"
        self.held = f"{tag}held"
        self.rates = f"{tag}rates"
        self.fired = f"{tag}fired"
        self.unique = f"{tag}unique"
        self.locks = f"{tag}locks"
        self.indexes = f"{tag}indexes"
        self.watched = f"{tag}watched"
        self.outbox = f"{tag}outbox"
        self.journal = f"{tag}journal"
        self.wake = f"{tag}wake"
        self.lane = f"{tag}lane"
        self.conf = f"{tag}conf"
        self.totals = f"{tag}totals"
        self.plain = (self.ready[NORMAL], self.wake, self.totals)
        self.events = f"{tag}events"
        self.listeners = f"{tag}listeners"
        self.index_prefix = f"{tag}index:"
        self.job_prefix = f"{tag}job:"
        self.result_prefix = f"{tag}result:"
        self.progress_prefix = f"{tag}progress:"
        self.claim_prefix = f"{tag}claim:"

    def __repr__(self) -> str:
        return f"Lane({self.tag!r})"

    def job(self, job_id: str) -> str:
        """Where the envelope lies."""
        return self.job_prefix + job_id

    def result(self, job_id: str) -> str:
        """Where the ending is written."""
        return self.result_prefix + job_id

    def reported(self, job_id: str) -> str:
        """Where the number of the last report of progress is written."""
        return f"{self.tag}reported:{job_id}"

    def progress(self, job_id: str) -> str:
        """Where the last progress is written."""
        return self.progress_prefix + job_id

    def log(self, job_id: str) -> str:
        """Where the job's own log is kept."""
        return f"{self.tag}log:{job_id}"

    def steps(self, job_id: str) -> str:
        """Where the results of its steps are kept."""
        return f"{self.tag}steps:{job_id}"

    def index_of(self, name: str) -> str:
        """Where the jobs of a tag, a user or a session are named."""
        return self.index_prefix + name

    def claim(self, child: str) -> str:
        """Where a child's last claim is remembered."""
        return self.claim_prefix + child

    def wake_of(self, kind: str) -> str:
        """The marker for idle children of a kind."""
        return f"{self.wake}:{kind}"

    def sent(self, child: str) -> str:
        """Where a child's last finishing trip is remembered."""
        return f"{self.tag}sent:{child}"

    def parents(self, job_id: str) -> str:
        """Where it stands whom a job waits for."""
        return f"{self.tag}parents:{job_id}"

    def dependants(self, job_id: str) -> str:
        """Where it stands who waits for a job."""
        return f"{self.tag}dependants:{job_id}"

    def job_events(self, job_id: str) -> str:
        """The channel of one job."""
        return f"{self.tag}events:{job_id}"


class ChannelKeys:
    """The key names of one notification channel.

    Attributes:
        gathered: Marks of notices taken in.
        windows: Kinds of notice, by when their window ends.
        groups: What has gathered.
        due: Deliveries, by when to try them.
        held: What they tell.
    """

    __slots__ = ("due", "gathered", "groups", "held", "windows")

    def __init__(self, fleet_tag: str, channel: str) -> None:
        tag = f"{fleet_tag}notify:{channel}:"
        self.gathered = f"{tag}gathered"
        self.windows = f"{tag}windows"
        self.groups = f"{tag}groups"
        self.due = f"{tag}due"
        self.held = f"{tag}held"


class Keyspace:
    """All key names of a namespace.

    Args:
        namespace: What separates fleets that share a Redis.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        tag = f"{{{namespace}}}:"
        self.tag = tag
        self.queues = f"{tag}queues"
        self.workers = f"{tag}workers"
        self.functions = f"{tag}functions"
        self.kinds = f"{tag}kinds"
        self.control = f"{tag}control"
        self.conf = f"{tag}conf"
        self.cron = f"{tag}cron"
        self.flows = f"{tag}flows"
        self.consumers = f"{tag}consumers"
        self.cron_paused = f"{tag}cron-paused"
        self.cron_duty = f"{tag}cron-duty"
        self.lane = cache(self._lane)

    def _lane(self, queue: str, index: int) -> Lane:
        return Lane(self.namespace, queue, index)

    def worker(self, worker_id: str) -> str:
        """Where a worker's account of itself lies."""
        return f"{self.tag}worker:{worker_id}"

    def kind(self, kind: str) -> str:
        """Where it stands what workers of a kind know and serve."""
        return f"{self.tag}kind:{kind}"

    def knowers(self, kind: str) -> str:
        """Where the workers of a kind are named."""
        return f"{self.tag}knowers:{kind}"

    def flow(self, flow_id: str) -> str:
        """Where it stands what a flow is made of."""
        return f"{self.tag}flow:{flow_id}"

    def flow_more(self, flow_id: str) -> str:
        """Where it stands what its jobs have added to it."""
        return f"{self.tag}flow-more:{flow_id}"

    def cron_ledger(self, entry: str) -> str:
        """Where it stands what became of a cron entry's fires."""
        return f"{self.tag}cron-ledger:{entry}"

    def channel(self, name: str) -> ChannelKeys:
        """The keys of a notification channel."""
        return ChannelKeys(self.tag, name)

    def signs(self, queue: str, index: int, names: Sequence[str]) -> tuple[str, ...]:
        """Some keys of a lane, such as `WORK`, to see whether one exists. Unlike `lane`, this remembers nothing."""
        tag = f"{{{self.namespace}:{queue}:{index}}}:"
        return tuple(tag + name for name in names)

    def lane_of(self, job_id: str) -> Lane:
        """The lane that an id names.

        Raises:
            JobNotFound: It is no id.
        """
        queue, lane, _ = split_id(job_id)
        return self.lane(queue, lane)
