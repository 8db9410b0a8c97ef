"""A worker of one lane for tests of strict sequences, and what the lane says of one. Jobs are named by letters."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.store.calls import control, enqueue, lease, settle
from jobfleet.store.calls.limits import SequenceRow, sequences
from jobfleet.store.records import Entry, Grant
from tests.lua.world import World
from tests.support.seed import S


def failure(job_id: str, token: int = 0) -> settle.Failure:
    """The failure of a run; without a token, of a job behind a failed head."""
    guard = settle.TOKEN_VALID if token else settle.DOOMED
    return settle.fail(
        job_id, token, record=b"record", ttl_ms=1000, duration_us=5, reason="error", tries="1:0:0:0:0", guard=guard
    )


def entry(world: World, suffix: str, *, policy: str = "s", when: str = "", band: int = 2, group: str = "acme") -> Entry:
    """A job of a sequence."""
    return Entry(world.id(suffix), band, when, f"g {group}\no {policy}", b"envelope")


def enter(world: World, names: str, *, policy: str = "s", when: str = "", group: str = "acme") -> None:
    """Enqueue jobs, one per letter."""
    made = [entry(world, name, policy=policy, when=when, group=group) for name in names]
    assert world.go(enqueue.enqueue(world.lane, made)) == [True] * len(names)


class Worker:
    """Claims and settles, and remembers what it holds."""

    def __init__(self, world: World) -> None:
        self.world, self.nonce = world, 0
        self.held: dict[str, Grant] = {}

    def claim(self, limit: int = 50) -> str:
        """The names of the jobs that a claim grants, with spaces between longer ones."""
        self.nonce += 1
        call = lease.claim(self.world.lane, child="w.1", nonce=self.nonce, lease_us=60 * S, limit=limit)
        grants = self.world.go(call).grants
        self.held |= {grant.id.rpartition(".")[2]: grant for grant in grants}
        names = [grant.id.rpartition(".")[2] for grant in grants]
        return ("" if all(len(name) == 1 for name in names) else " ").join(names)

    def end(self, name: str, verb: str = "complete", *, delay_us: int = 0) -> str:
        """Settle a job that it holds; the letter of the answer."""
        held = self.held.pop(name)
        job_id, token = held.id, held.token
        items: dict[str, settle.Item] = {
            "complete": settle.complete(job_id, token, record=b"r", ttl_ms=1000, duration_us=5),
            "retry": settle.retry(job_id, token, delay_us=delay_us, tries="1:0:0:0:0"),
            "fail": failure(job_id, token),
            "release": settle.release(job_id, token),
            "expire": settle.expire(job_id, token, ttl_ms=1000),
            "move": settle.move(job_id, token, to="big.0.x", ttl_ms=1000),
        }
        return self.world.go(settle.settle(self.world.lane, [items[verb]])).letters


def row(world: World, group: str = "acme") -> SequenceRow | None:
    """A sequence; None if there is none."""
    _, rows = world.go(sequences(world.lane, group))
    return rows[0] if rows else None


def standing(world: World, group: str = "acme") -> tuple[str, str, str]:
    """The head, its state, and the jobs behind it."""
    found = row(world, group)
    assert found is not None
    return found.head.rpartition(".")[2], found.state, "".join(one.rpartition(".")[2] for one in found.ids)


def cancelled(world: World, name: str) -> str:
    """Cancel a job; the letter of the answer."""
    return world.go(control.cancel(world.keys, world.lane, [world.id(name)], by="ann", ttl_ms=1000))


def replayed(world: World, *names: str) -> Sequence[str]:
    """Replay dead letters; a word for each."""
    return world.go(control.replay(world.lane, [world.id(name) for name in names], by="ann"))


def doomed(world: World) -> tuple[str, str]:
    """The head and the jobs that a tick names."""
    found = world.go(lease.tick(world.lane)).doomed
    return (found.head, "".join(job_id[-1] for job_id, _, _ in found.jobs)) if found else ("", "")


def fail_rest(world: World, names: Sequence[str]) -> str:
    """Fail jobs as the leases duty does after a tick; a letter for each."""
    return world.go(settle.settle(world.lane, [failure(world.id(name)) for name in names])).letters
