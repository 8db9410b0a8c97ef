"""The context of an operation: settings, keys, registered functions, and recent reads of queues and functions."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.clock import monotonic
from jobfleet.codec import Limits
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.model import Job
from jobfleet.model.option_types import FAST, LEVELS
from jobfleet.model.spec import check_job
from jobfleet.store.call import FSYNC, Barrier, Call
from jobfleet.store.calls import enqueue as calls
from jobfleet.store.calls import inspect, presence
from jobfleet.store.calls.enqueue import mark
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import FleetSeen, KindsSeen

if TYPE_CHECKING:
    from jobfleet.functions.registry import Registry
    from jobfleet.model.audit import Source
    from jobfleet.payloads.payloads import Payloads

READ_AGAIN_AFTER = 0.5
"""Seconds for which a level that the server cannot provide is refused without a new read."""
REMEMBERED = 5.0
"""Seconds for which the lanes of a queue and the published functions are used without a new read."""


def _default_registry() -> Registry:
    from jobfleet.functions.registry import REGISTRY  # a supervisor pauses and settles, and knows no function

    return REGISTRY


class QueueLanes(NamedTuple):
    """The lanes of a queue.

    Attributes:
        read_at: When they were read, monotonic seconds.
        home: The number of lanes in which groups, unique keys and ids of callers have their place.
        total: The number of lanes.
    """

    read_at: float
    home: int
    total: int


@dataclass(frozen=True, slots=True)
class Published:
    """A read of the published functions of the fleet.

    Attributes:
        read_at: When it was read, monotonic seconds.
        fleet: What was read; None before the first read.
        hints: Warnings for names that are not among them; empty for a name that some worker runs all the same.
    """

    read_at: float = 0.0
    fleet: FleetSeen | None = None
    hints: dict[str, str] = field(default_factory=dict)


class ServerFacts(NamedTuple):
    """What the server can confirm.

    Attributes:
        read_at: When it was read, monotonic seconds; 0 for never.
        replicas: The number of connected replicas; None if it is unknown.
        has_aof: Whether it has an append-only file and WAITAOF; None if that is unknown.
    """

    read_at: float = 0.0
    replicas: int | None = None
    has_aof: bool | None = None

    def is_fresh(self, now: float) -> bool:
        """Whether it was read so recently that it is not read again, even if a level is missing."""
        return 0 <= now - self.read_at < READ_AGAIN_AFTER


UNKNOWN = ServerFacts()
CLUSTERS = ("cluster://", "clusters://")
"""The beginnings of the URLs of clusters."""


@dataclass(slots=True)
class FleetContext:
    """The data that operations on one fleet share; it does no I/O.

    Attributes:
        config: The settings.
        keys: The key names.
        registry: The functions that this process knows.
        limits: The limits of an envelope.
        payloads: The payload store; None if the settings name none.
        inline_max: The largest envelope and record, in bytes, that does not go to the payload store.
        windows: The least seconds for which an id is remembered: a generated id, and an id that the caller gave.
        queues: The lanes of each queue that was read.
        published: The last read of the published functions.
        unregistered: The plain functions for which the published functions were searched.
        levels: The durability of each queue that was read and whose jobs are not ``fast`` by default.
        facts: What the server of each lane can confirm; on one server, all lanes share what is known.
        has_warned: Whether a slow disk was reported.
        ignores_levels: Whether every job is ``fast``, as in tests in memory.
        is_of_run: Whether it enqueues what running jobs write for themselves. Such a job gets its level if the server
            can provide it; it is not refused.
        source: Through what operators act with this context, for the audit.
        audit_again: Until when the audit is not written, because Redis has refused it; monotonic seconds.
    """

    config: JobConfig
    registry: Registry = field(default_factory=_default_registry)
    keys: Keyspace = field(init=False)
    limits: Limits = field(init=False)
    payloads: Payloads | None = field(init=False, default=None)
    inline_max: int = field(init=False, default=sys.maxsize)
    windows: tuple[float, float] = field(init=False)
    queues: dict[str, QueueLanes] = field(default_factory=dict)
    published: Published = field(default_factory=Published)
    unregistered: set[str] = field(default_factory=set)
    levels: dict[str, str] = field(default_factory=dict)
    facts: dict[str, ServerFacts] = field(default_factory=dict)
    has_warned: bool = False
    ignores_levels: bool = False
    is_of_run: bool = False
    source: Source = "python"
    audit_again: float = 0.0

    def __post_init__(self) -> None:
        """Derive the fields that follow from the settings."""
        self.keys = Keyspace.of(self.config)
        self.windows = (self.config.dedupe_window, self.config.own_id_window)
        self.limits = limits_of(self.config)
        if self.config.payload_store:
            from jobfleet.payloads.payloads import Payloads  # few fleets have one

            self.payloads = Payloads(self.config)
            self.inline_max = min(self.config.payload_threshold, self.config.max_payload)

    def apply_hooks(self, job: Job) -> Job:
        """Return the job as the `around_enqueue` hooks change it, with the trace context of the running code.

        Raises:
            InvalidJob: The argument, or the answer of a hook, is not a `Job`.
        """
        if type(job) is not Job:
            check_job(job)
        hooks = self.registry.hooks
        return hooks.apply(job) if hooks.around_enqueues or hooks.tracer else job

    def has_queue(self, queue: str) -> bool:
        """Whether the lanes of a queue were read within the last `REMEMBERED` seconds."""
        known = self.queues.get(queue)
        return known is not None and monotonic() - known.read_at < REMEMBERED

    def remember(self, queue: str, lanes: tuple[int, int], level: str = "") -> None:
        """Record the home lanes and the lanes of a queue, and the durability that an operator has set for it."""
        self.queues[queue] = QueueLanes(monotonic(), *lanes)
        level = level if level in LEVELS else self.config.durability
        if level == FAST or self.ignores_levels:
            self.levels.pop(queue, None)
        else:
            self.levels[queue] = level

    @property
    def is_spread(self) -> bool:
        """Whether lanes may be on several nodes."""
        return self.config.url.lower().startswith(CLUSTERS)

    def facts_of(self, lane: Lane) -> ServerFacts:
        """What is known of the server of a lane."""
        return self.facts.get(lane.tag if self.is_spread else "", UNKNOWN)

    def learn(self, lane: Lane, facts: ServerFacts) -> None:
        """Record what the server of a lane can confirm."""
        self.facts[lane.tag if self.is_spread else ""] = facts

    def can_confirm(self, level: str, lane: Lane) -> bool:
        """Whether the server of a lane was seen to provide a level within the last `REMEMBERED` seconds."""
        facts = self.facts_of(lane)
        if not facts.read_at or monotonic() - facts.read_at >= REMEMBERED:
            return False
        if level == FSYNC:
            return facts.has_aof is not False
        return facts.replicas is None or facts.replicas >= max(1, self.config.confirming_replicas)

    def barrier(self, lane: Lane, levels: Collection[str]) -> Barrier:
        """The barrier for writes to a lane."""
        timeout_ms = round(self.config.confirm_timeout * 1000)
        replicas = self.config.confirming_replicas
        return Barrier(mark(lane), frozenset(levels), replicas, timeout_ms, self.is_spread)

    def open_queue_call(self, queue: str) -> Call[calls.OpenedQueue]:
        """The call that opens a queue and returns its home lanes and its lanes."""
        return calls.open_queue(self.keys, queue, self.config.lanes.get(queue, 1), most=self.config.max_queues)

    def fleet_call(self) -> Call[FleetSeen]:
        """The call that reads the workers and their published functions; it lists no queues."""
        return inspect.fleet(self.keys, most=0)

    def kinds_call(self) -> Call[KindsSeen]:
        """The call that reads which functions live workers know."""
        return presence.kinds(self.keys, gone_us=round(self.config.gone_after * 1e6))

    def lanes_of(self, queue: str, lanes: int) -> list[Lane]:
        """All lanes of a queue."""
        return [self.keys.lane(queue, index) for index in range(lanes)]
