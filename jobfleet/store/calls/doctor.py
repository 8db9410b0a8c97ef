"""Calls of `doctor`: server, lacking, runs, locks, kept and topology read; only repair writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.inspect import MISSING_RUN, run_of
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import RunRecord
from jobfleet.store.rows import number_of, shown, text_of, wrong_with
from jobfleet.store.script import load

CHUNK = 50
LEASES = 25
"""Maximum number of leases per page, and of runs that are checked with them."""
LOCKS = 500
FOR_EVER = -1
GONE = -2


class Leased(NamedTuple):
    """A lease and its run.

    Attributes:
        id: The job's id.
        deadline: End of the lease in µs; 0 if there is none.
        run: The run; None if there is none.
        has_envelope: Whether the job's envelope exists.
        wrong: The defect of the row; otherwise empty.
    """

    id: str
    deadline: int
    run: RunRecord | None
    has_envelope: bool
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Leases:
    """A page of the leases of a lane.

    Attributes:
        now: Redis's time, µs.
        hold: Time until which leases are not reaped, in µs; 0 if they are.
        leases: Number of leases.
        runs: Number of runs.
        rows: The page, by deadline, followed by runs without a lease that were found.
    """

    now: int
    hold: int
    leases: int
    runs: int
    rows: tuple[Leased, ...]


@dataclass(frozen=True, slots=True)
class Locks:
    """A sample of the unique keys of a lane.

    Attributes:
        held: Number of keys.
        looked: Number of checked keys.
        over: Number of checked keys whose time was over long ago.
        left: Keys whose holder is not open any more, and the holder.
    """

    held: int
    looked: int
    over: int
    left: Mapping[str, str]


class Kept(NamedTuple):
    """The stored result of a job.

    Attributes:
        size: Its size in bytes.
        left: Remaining lifetime in ms; `FOR_EVER`, or `GONE`.
    """

    size: int
    left: int


class Broken(NamedTuple):
    """A contradiction in a lane.

    Attributes:
        kind: lease, run, key or ttl; see the script `repair`.
        job_id: The job.
        key: The unique key; otherwise empty.
    """

    kind: str
    job_id: str
    key: str = ""


def server(keys: Keyspace) -> Call[tuple[int, Mapping[str, str]]]:
    """Return Redis's time, and the INFO of server, memory, persistence and replicas; empty if INFO is not permitted."""
    return Call(load("server"), (keys.queues,), (), _server)


def server_of(lane: Lane) -> Call[tuple[int, Mapping[str, str]]]:
    """Return the same of the node of a lane."""
    return Call(load("server"), (lane.lane,), (), _server)


def _server(reply: Reply) -> tuple[int, Mapping[str, str]]:
    return int(reply[1]), _info(reply[2])


def _info(text: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines if value}


def lacking(keys: Keyspace, commands: Sequence[str]) -> Call[tuple[int, ...] | None]:
    """Return the numbers, from 0, of the commands that the calling user may not run; None if the server cannot check.

    Args:
        keys: The fleet's keys.
        commands: At most 50 commands with arguments, a word per line.
    """
    return Call(load("lacking"), (keys.queues,), tuple(commands), _lacking)


def _lacking(reply: Reply) -> tuple[int, ...] | None:
    numbers = tuple(int(number) - 1 for number in reply[1])
    return None if numbers == (-1,) else numbers


def runs(lane: Lane, *, skip: int = 0) -> Call[Leases]:
    """Return a page of the leases of a lane with their runs, and runs without a lease."""
    return Call(load("runs"), (lane.lease,), (lane.tag, skip, LEASES), partial(_leases, lane))


def _leases(lane: Lane, reply: Reply) -> Leases:
    rows = tuple(_leased(lane, row) for row in reply[5:])
    return Leases(int(reply[1]), number_of(reply[2]), int(reply[3]), int(reply[4]), rows)


def _leased(lane: Lane, row: Reply) -> Leased:
    run = run_of(row[2]) if row[2] else None
    wrong = wrong_with(row[0], b"", b"", lane.id_prefix) or (
        f"its run is {shown(row[2])}" if run is MISSING_RUN else ""
    )
    return Leased(text_of(row[0]), number_of(row[1]), run, bool(row[3]), wrong)


def locks(lane: Lane, *, grace_us: int) -> Call[Locks]:
    """Check 500 random unique keys of a lane, or all if there are no more.

    Args:
        lane: The lane.
        grace_us: Time for which a key whose time is over may remain.
    """
    return Call(load("locks"), (lane.unique,), (lane.tag, LOCKS, grace_us), _locks)


def _locks(reply: Reply) -> Locks:
    left = reply[4]
    pairs = {text_of(left[i]): text_of(left[i + 1]) for i in range(0, len(left), 2)}
    return Locks(int(reply[1]), int(reply[2]), int(reply[3]), pairs)


def repair(lane: Lane, found: Sequence[Broken], *, ttl_ms: int) -> Call[str]:
    """Repair at most 50 contradictions; the reply has one letter for each: r repaired, n not there any more.

    Args:
        lane: The lane.
        found: The contradictions.
        ttl_ms: Time in ms for which a result without a TTL is stored from now on.
    """
    return Call(
        load("repair"),
        (lane.lease, lane.runs, lane.unique, lane.lane, *(lane.result(one.job_id) for one in found)),
        (lane.tag, ttl_ms, *(part for one in found for part in one)),
        lambda reply: str(reply[1].decode()),
    )


def kept(lane: Lane, ids: Sequence[str]) -> Call[list[Kept]]:
    """Return the sizes and remaining lifetimes of the results of at most 50 jobs."""
    return Call(load("kept"), (lane.lane,), (lane.tag, *ids), _kept)


def _kept(reply: Reply) -> list[Kept]:
    numbers = reply[1]
    return [Kept(int(numbers[i]), int(numbers[i + 1])) for i in range(0, len(numbers), 2)]


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node of a cluster.

    Attributes:
        address: Its host and port.
        is_primary: Whether it is a primary.
        health: ``online``, ``loading`` or ``failed``.
    """

    address: str
    is_primary: bool
    health: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the slots, and the nodes that have it.

    Attributes:
        slots: The first and the last slot of each range.
        nodes: The nodes.
    """

    slots: tuple[tuple[int, int], ...]
    nodes: tuple[ClusterNode, ...]

    @property
    def primary(self) -> ClusterNode | None:
        """The node that serves the slots."""
        return next((node for node in self.nodes if node.is_primary and node.health != "failed"), None)


@dataclass(frozen=True, slots=True)
class Topology:
    """The nodes of a cluster; without shards for one server.

    Attributes:
        shards: The shards.
    """

    shards: tuple[Shard, ...] = ()

    @property
    def missing(self) -> int:
        """The number of slots that no living primary serves."""
        served = sum(last - first + 1 for shard in self.shards if shard.primary for first, last in shard.slots)
        return REDIS_CLUSTER_HASH_SLOTS - served if self.shards else 0

    def node_of(self, lane: Lane) -> ClusterNode | None:
        """The node that serves a lane; None if it is unknown."""
        slot = key_slot(lane.lane.encode())
        for shard in self.shards:
            if any(first <= slot <= last for first, last in shard.slots):
                return shard.primary
        return None


def topology(keys: Keyspace) -> Call[Topology]:
    """Return the nodes of the cluster, as the node of the fleet's keys sees them."""
    return Call(load("topology"), (keys.queues,), (), lambda reply: Topology(tuple(map(_shard, reply[1]))))


def _shard(row: Sequence[Any]) -> Shard:
    fields = _pairs(row)
    bounds = [int(slot) for slot in fields["slots"]]
    slots = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    return Shard(slots, tuple(map(_node, fields["nodes"])))


def _node(row: Sequence[Any]) -> ClusterNode:
    fields = _pairs(row)
    host = bytes(fields.get("endpoint") or fields["ip"]).decode()
    port = int(fields.get("port") or fields["tls-port"])
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ClusterNode(address, fields["role"] == b"master", bytes(fields["health"]).decode())


def _pairs(row: Sequence[Any]) -> Mapping[str, Any]:
    return {bytes(name).decode(): value for name, value in zip(row[::2], row[1::2], strict=True)}
