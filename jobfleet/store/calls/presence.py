"""beat, leave and command: which workers there are, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping

from jobfleet.events import Command
from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.enqueue import lanes_of
from jobfleet.store.keys import Keyspace
from jobfleet.store.script import load
from jobfleet.store.values import Present


def beat(
    keys: Keyspace,
    worker: str,
    *,
    account: bytes,
    gone_us: int,
    functions: Mapping[str, bytes] | None = None,
    queues: Mapping[str, tuple[int, int]] | None = None,
) -> Call[Present]:
    """Say that a worker lives.

    Args:
        keys: The fleet's keys.
        worker: Its id.
        account: What it says of itself.
        gone_us: After how many µs of silence a worker counts as gone.
        functions: What to publish of the functions it knows.
        queues: Queues to restore where they are not known any more: home lanes and lanes of each.
    """
    published = [part for item in (functions or {}).items() for part in item]
    restored = [part for name, (home, lanes) in (queues or {}).items() for part in (name, f"{home}:{lanes}")]
    return Call(
        load("beat"),
        (keys.workers, keys.worker(worker), keys.functions, keys.queues),
        (worker, gone_us, account, len(published) // 2, *published, *restored),
        _present,
    )


def _present(reply: Reply) -> Present:
    return Present(int(reply[1]), int(reply[2]), queues_of(reply[3]), bytes(reply[4]))


def queues_of(pairs: Reply) -> dict[str, tuple[int, int]]:
    """Queues with their home lanes and lanes, from a flat reply."""
    return {pairs[i].decode(): lanes_of(pairs[i + 1]) for i in range(0, len(pairs), 2)}


def leave(keys: Keyspace, worker: str) -> Call[bool]:
    """Say goodbye for a worker; False when it was not known."""
    return Call(load("leave"), (keys.workers, keys.worker(worker)), (worker,), lambda reply: bool(reply[1]))


def command(keys: Keyspace, wanted: Command) -> Call[bool]:
    """Tell a worker's supervisor what is wanted; False when no such worker was heard of lately."""
    return Call(
        load("command"),
        (keys.workers,),
        (wanted.worker, keys.control, wanted.line()),
        lambda reply: bool(reply[0] == b"told"),
    )
