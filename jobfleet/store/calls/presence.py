"""Calls for workers: beat, leave, know, kinds, command, report_runs, keep_stacks, stacks, attend and attendants."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from jobfleet.events import Command
from jobfleet.model.names import QUEUE_RULE
from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.enqueue import ONE_LANE, known_lanes, lanes_of
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import KindSeen, KindsSeen, Known, Present
from jobfleet.store.rows import fields, kept, report, shown, text_of
from jobfleet.store.script import load

REPORT_TTL_MS = 3_600_000
"""For how long a worker's report of its runs is stored after the last change."""
STACKS_TTL_MS = 60_000
"""For how long the answer of a worker that was asked for stacks is stored."""
STACKS = "stacks"
"""The kind of body for which such an answer is sealed."""
FIRING_MOST = 2
"""Number of workers that fire recurring jobs without a reaper: two, so that no fire is missed when one ends."""


class Attended(NamedTuple):
    """The reply to an announcement.

    Attributes:
        reapers: Number of other live reapers that have announced themselves.
        entries: Number of recurring jobs.
        fires: Whether the announced process must fire them.
    """

    reapers: int
    entries: int
    fires: bool


class Attendant(NamedTuple):
    """A process that fires recurring jobs, or that relays an outbox.

    Attributes:
        role: ``reaper`` or ``worker``; ``relay`` for one that relays and fires nothing.
        id: Its id.
        silent: Microseconds since its last announcement.
    """

    role: str
    id: str
    silent: int


def beat(
    keys: Keyspace,
    worker: str,
    *,
    account: bytes,
    gone_us: int,
    serves: Sequence[str] = (),
    functions: Mapping[str, bytes] | None = None,
    queues: Mapping[str, tuple[int, int]] | None = None,
) -> Call[Present]:
    """Send a worker's heartbeat.

    Args:
        keys: The fleet's keys.
        worker: The worker's id.
        account: The worker's encoded account.
        gone_us: Silence in µs after which a worker counts as gone.
        serves: The queues that it serves; the reply has their lanes.
        functions: Records of functions to publish.
        queues: Queues to restore if they are unknown: numbers of home lanes and of lanes.
    """
    published = [part for item in (functions or {}).items() for part in item]
    restored = [part for name, (home, lanes) in (queues or {}).items() for part in (name, f"{home}:{lanes}")]
    return Call(
        load("beat"),
        (keys.workers, keys.worker(worker), keys.functions, keys.queues),
        (worker, gone_us, account, len(published) // 2, len(serves), *published, *serves, *restored),
        partial(_present, serves),
    )


def _present(serves: Sequence[str], reply: Reply) -> Present:
    lanes = {queue: known_lanes(queue, text) for queue, text in zip(serves, reply[3], strict=True) if text}
    return Present(int(reply[1]), int(reply[2]), lanes, bytes(reply[4]))


def queues_of(pairs: Reply) -> dict[str, tuple[int, int]]:
    """Parse queues with their numbers of home lanes and of lanes; invalid entries are left out."""
    return sound_queues(pairs)[0]


def sound_queues(pairs: Reply) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Like `queues_of`, with descriptions of the entries that were left out."""
    found, problems = fields(pairs, lanes_of, "queues")
    for text in map(text_of, pairs[::2]) if problems else ():
        if text not in found and QUEUE_RULE.fullmatch(text):
            found[text] = ONE_LANE
    strange = tuple(
        f"queues has {shown(name.encode())}, which is not a name" for name in found if not QUEUE_RULE.fullmatch(name)
    )
    if strange:
        report(strange)
        found = {name: lanes for name, lanes in found.items() if QUEUE_RULE.fullmatch(name)}
    return found, (*problems, *strange)


def report_runs(keys: Keyspace, worker: str, report: bytes, *, ttl_ms: int = REPORT_TTL_MS) -> Call[int]:
    """Report what a worker has counted of its runs since its start; returns Redis's time, µs."""
    return Call(
        load("report_runs"),
        (keys.reports, keys.report(worker)),
        (worker, ttl_ms, report),
        lambda reply: int(reply[1]),
    )


def leave(keys: Keyspace, worker: str, kinds: Sequence[str] = ()) -> Call[bool]:
    """Remove a worker with children of these kinds; False if it was unknown."""
    knowers = [keys.knowers(kind) for kind in kinds]
    return Call(
        load("leave"),
        (keys.workers, keys.worker(worker), keys.kinds, *knowers),
        (worker, *kinds),
        lambda reply: bool(reply[1]),
    )


def know(
    keys: Keyspace, worker: str, kind: str, *, gone_us: int, functions: Mapping[str, str] | None = None
) -> Call[Known]:
    """Record that a worker has children of a kind.

    Args:
        keys: The fleet's keys.
        worker: The worker's id.
        kind: The kind's id.
        gone_us: Silence in µs after which a worker counts as gone.
        functions: The functions of the kind, each with its queue, and under "" the queues that it serves; None if they
            were published before.
    """
    pairs = [part for item in (functions or {}).items() for part in item]
    return Call(
        load("know"),
        (keys.kinds, keys.kind(kind), keys.knowers(kind)),
        (worker, kind, gone_us, keys.control, *pairs),
        lambda reply: Known(bool(reply[2]), frozenset(text_of(part) for part in reply[3]), int(reply[4])),
    )


def kinds(keys: Keyspace, *, gone_us: int, function: str = "", had: Collection[str] = ()) -> Call[KindsSeen]:
    """Return the kinds of live workers and their functions.

    Args:
        keys: The fleet's keys.
        gone_us: Silence in µs after which a worker counts as gone.
        function: A function; the reply says whether workers that publish no kind may know it.
        had: The kinds whose functions the caller already knows.
    """
    return Call(
        load("kinds"),
        (keys.kinds, keys.workers, keys.functions),
        (keys.tag, gone_us, function, f" {' '.join(had)} "),
        _kinds,
    )


def _kinds(reply: Reply) -> KindsSeen:
    rows = reply[3]
    return KindsSeen(
        int(reply[2]),
        tuple(KindSeen(text_of(rows[i]), text_of(rows[i + 1]), _texts(rows[i + 2])) for i in range(0, len(rows), 3)),
    )


def _texts(pairs: Reply) -> dict[str, str]:
    texts = [text_of(part) for part in pairs]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def command(keys: Keyspace, wanted: Command) -> Call[bool]:
    """Send a command to a worker's supervisor; False if no such worker is alive."""
    return Call(
        load("command"),
        (keys.workers,),
        (wanted.worker, keys.commands, wanted.line(), keys.control),
        lambda reply: bool(reply[0] == b"told"),
    )


def keep_stacks(keys: Keyspace, nonce: str, answer: bytes) -> Call[None]:
    """Store the answer of a worker that was asked for the stacks of a child."""
    sealed = answer if keys.seals is None else keys.seals.value(answer, STACKS, nonce)
    return Call(load("keep_stacks"), (keys.stacks(nonce),), (STACKS_TTL_MS, sealed), lambda _: None)


def stacks(keys: Keyspace, nonce: str) -> Call[bytes]:
    """Return the answer of a worker; empty before there is one."""

    def opened(answer: bytes) -> bytes:
        return answer if keys.seals is None else keys.seals.open_value(answer, STACKS, nonce)

    return Call(load("stacks"), (keys.stacks(nonce),), (), lambda reply: opened(bytes(reply[1])))


def attend(
    keys: Keyspace,
    process: str,
    role: Literal["reaper", "worker", "relay", "nobody"],
    *,
    gone_us: int,
    wanted: bool = False,
) -> Call[Attended]:
    """Announce a process that fires recurring jobs, or that relays an outbox.

    Args:
        keys: The fleet's keys.
        process: The id of the process.
        role: Its role; ``nobody`` if it stops.
        gone_us: Silence in µs after which a process counts as gone.
        wanted: Whether a worker may fire although there are no entries yet, because its functions will add some.
    """
    args = (process, role, gone_us, FIRING_MOST, int(wanted))
    return Call(load("attend"), (keys.cron_duty, keys.cron), args, _attended)


def _attended(reply: Reply) -> Attended:
    return Attended(int(reply[2]), int(reply[3]), bool(reply[4]))


def attendants(keys: Keyspace) -> Call[list[Attendant]]:
    """Return the announced processes that fire recurring jobs or relay an outbox, including dead ones."""
    return Call(load("attendants"), (keys.cron_duty,), (), _attendants)


def _attendants(reply: Reply) -> list[Attendant]:
    now, rows = int(reply[1]), reply[2]

    def read(row: tuple[bytes, bytes]) -> Attendant:
        role, _, process = row[0].decode().partition(":")
        return Attendant(role, process, now - int(float(row[1])))

    return kept(zip(rows[::2], rows[1::2], strict=True), read, "cron-duty")
