"""When all jobs have ended, every key ends by itself or is one of a bounded set; nothing of an open job is left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis

from jobfleet.store.calls import run
from jobfleet.store.calls.control import cancel, purge, replay, trim
from jobfleet.store.calls.enqueue import debounce, enqueue, open_queue, replace
from jobfleet.store.calls.lease import bury, claim, tick
from jobfleet.store.calls.presence import beat, leave
from jobfleet.store.calls.run import Report, keep, progress
from jobfleet.store.calls.settle import (
    STILL_EXPIRED,
    STILL_WAITING,
    Item,
    complete,
    expire,
    fail,
    park,
    release,
    retry,
    settle,
    with_kept,
)
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Entry
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.support.seed import S
from tests.support.state import server_now, short

KEYS = Keyspace("jf")
LANE = KEYS.lane("mail", 0)
MINUTE = 60 * S
TRIES = "1:0:0:0:0\nran"

# Without open jobs these may stay for ever; KEY_TABLE says what bounds them. All others end, or have a TTL.
BOUNDED = {
    "done", "dlq", "dead", "outbox", "journal", "wake", "lane", "conf", "totals", "queues", "workers", "functions",
    "indexes",
}  # fmt: skip
FIELDS = {"wake": 1, "lane": 5, "conf": 4, "totals": 20}


def debris(raw: redis.Redis) -> list[str]:
    """What is left on the server though no job is open, a sentence each."""
    rows = {re.sub(r"<[a-z]+>", ".+", row.name) for row in (*KEY_TABLE, *FLEET_KEY_TABLE)}
    found = []
    for key in sorted(key.decode() for key in cast(list[bytes], raw.keys("*"))):
        name = short(key, KEYS)
        if not any(re.fullmatch(row, name) for row in rows):
            found.append(f"{name} is in no table")
        elif raw.ttl(key) < 0 and name not in BOUNDED:
            found.append(f"{name} has no end")
        elif name in FIELDS and size(raw, key) > FIELDS[name]:
            found.append(f"{name} has {size(raw, key)} fields")
    dlq: Any = raw.xrange(LANE.dlq)
    dead: Any = raw.hgetall(LANE.dead)
    letters = {entry.decode(): fields[b"id"].decode() for entry, fields in dlq}
    entries = {job_id.decode(): entry.decode() for job_id, entry in dead.items()}
    found += [f"dead has {job_id} without its letter" for job_id in entries if letters.get(entries[job_id]) != job_id]
    found += [
        f"dlq has {job_id} without its entry" for entry, job_id in letters.items() if entries.get(job_id) != entry
    ]
    return found


def size(raw: redis.Redis, key: str) -> int:
    return raw.zcard(key) if key.endswith("wake") else raw.hlen(key)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store(target(redis_url))
    yield store
    store.close()


class Fleet:
    """A child, a supervisor and a reaper, as far as this test needs them."""

    def __init__(self, store: Store, raw: redis.Redis) -> None:
        self.run = store.run
        self.raw = raw
        self.nonce = 0

    def put(self, suffix: str, *, when: str = "", scope: str = "") -> str:
        """Enqueue a job that has everything a job can have."""
        job_id = LANE.id_prefix + suffix
        meta = f"x {server_now(self.raw) + MINUTE}\nr 600000\nu key of {suffix}{scope}\ni tag:eu\ni user:{suffix}"
        assert self.run(enqueue(LANE, [Entry(job_id, 2, when, meta, b"envelope")])) == [True]
        self.raw.hset(LANE.watched, job_id, "1")
        return job_id

    def claim(self) -> int:
        """Claim the one job that is due; its token."""
        self.nonce += 1
        (grant,) = self.run(claim(LANE, child="w.1", nonce=self.nonce, lease_us=MINUTE, limit=5)).grants
        return grant.token

    def start(self, suffix: str) -> tuple[str, int]:
        """Enqueue and claim a job, and report progress."""
        job_id = self.put(suffix)
        token = self.claim()
        assert self.run(progress(LANE, [Report(job_id, token, 1, b"half")], ttl_ms=600_000)) == "o"
        line = run.Entry(job_id, token, 1, 600_000, b"5 20 half")
        assert self.run(run.log(LANE, [line], most_lines=9, most_bytes=99)) == "o"
        assert self.run(keep(LANE, job_id, token, ttl_ms=600_000, step="s:half", record=b"half")) == "kept"
        return job_id, token

    def settle(self, item: Item, letters: str = "s") -> None:
        self.nonce += 1
        assert self.run(settle(LANE, [item], child="w.1", nonce=self.nonce)).letters == letters

    def complete(self, job_id: str, token: int) -> None:
        self.settle(with_kept(complete(job_id, token, record=b"record", ttl_ms=600_000, duration_us=5)))

    def fail(self, job_id: str, token: int) -> None:
        self.settle(
            fail(job_id, token, record=b"r", ttl_ms=600_000, duration_us=5, reason="error", tries=TRIES), letters="s"
        )

    def overdue(self, job_id: str) -> None:
        """Let a lease be overdue, and two ticks have been there."""
        self.run(tick(LANE))
        self.raw.hset(LANE.lane, "hold", 0)
        self.raw.zadd(LANE.lease, {job_id: server_now(self.raw) - S})
        assert [held.id for held in self.run(tick(LANE)).overdue] == [job_id]


def completed(fleet: Fleet) -> None:
    fleet.complete(*fleet.start("completed"))


def failed(fleet: Fleet) -> None:
    fleet.fail(*fleet.start("failed"))


def retried(fleet: Fleet) -> None:
    job_id, token = fleet.start("retried")
    fleet.settle(retry(job_id, token, delay_us=0, tries=TRIES))
    fleet.complete(job_id, fleet.claim())


def parked(fleet: Fleet) -> None:
    job_id, token = fleet.start("parked")
    fleet.settle(park(job_id, token, delay_us=0, tries=TRIES))
    fleet.fail(job_id, fleet.claim())


def released_and_expired(fleet: Fleet) -> None:
    job_id, token = fleet.start("released")
    fleet.settle(release(job_id, token))
    fleet.raw.zadd(LANE.expiry, {job_id: server_now(fleet.raw) - S})
    assert fleet.run(tick(LANE)).expired == (job_id,)
    fleet.settle(expire(job_id, 0, ttl_ms=600_000, guard=STILL_WAITING))


def expired_while_running(fleet: Fleet) -> None:
    job_id, token = fleet.start("expired")
    fleet.settle(expire(job_id, token, ttl_ms=600_000))


def cancelled_while_waiting(fleet: Fleet) -> None:
    job_id = fleet.put("scheduled", when=f"+{MINUTE}")
    assert fleet.run(cancel(KEYS, LANE, [job_id], by="ann", ttl_ms=600_000)) == "c"


def cancelled_while_running(fleet: Fleet) -> None:
    job_id, token = fleet.start("cancelled")
    assert fleet.run(cancel(KEYS, LANE, [job_id], by="ann", ttl_ms=600_000)) == "r"
    fleet.settle(release(job_id, token), letters="c")


def crashed(fleet: Fleet) -> None:
    job_id, token = fleet.start("crashed")
    fleet.overdue(job_id)
    item = fail(
        job_id, token, record=b"", ttl_ms=600_000, duration_us=5, reason="crashed", tries=TRIES, guard=STILL_EXPIRED
    )
    assert fleet.run(settle(LANE, [item])).letters == "s"


def replayed(fleet: Fleet) -> None:
    job_id, token = fleet.start("replayed")
    fleet.fail(job_id, token)
    assert fleet.run(replay(LANE, [job_id], by="ann")) == ["replayed"]
    fleet.complete(job_id, fleet.claim())


def purged(fleet: Fleet) -> None:
    job_id, token = fleet.start("purged")
    fleet.fail(job_id, token)
    assert fleet.run(purge(LANE, [job_id])) == 1


def claimed_by_key(fleet: Fleet) -> None:
    job_id = fleet.put("queued", scope="\ns q")
    token = fleet.claim()
    assert not fleet.raw.exists(LANE.unique)
    fleet.complete(job_id, token)


def replaced(fleet: Fleet) -> None:
    job_id = fleet.put("replaced", when=f"+{MINUTE}")
    meta = "u key of replaced"
    entry = Entry(LANE.id_prefix + "instead", 2, "", meta, b"envelope")
    assert fleet.run(replace(LANE, entry, key=meta[2:], holder=job_id, ttl_ms=600_000)) == "replaced"
    fleet.complete(entry.id, fleet.claim())


def debounced(fleet: Fleet) -> None:
    job_id = fleet.put("debounced")
    later = Entry(LANE.id_prefix + "later", 0, "", "u key of debounced", b"envelope")
    assert fleet.run(debounce(LANE, later, key="key of debounced", holder=job_id, longest_us=S))[0] == "debounced"
    fleet.complete(job_id, fleet.claim())


def held_for_a_time(fleet: Fleet) -> None:
    job_id = fleet.put("timed", scope=f"\ns {MINUTE}")
    fleet.complete(job_id, fleet.claim())
    assert fleet.raw.hexists(LANE.unique, "key of timed")
    over = server_now(fleet.raw) - S
    fleet.raw.hset(LANE.unique, "key of timed", f"{job_id} {over} {over - MINUTE}")
    fleet.raw.zadd(LANE.locks, {"key of timed": over})
    fleet.run(trim(LANE, done_before_ms=1, dead_before_ms=1, dead_max=100))


def buried(fleet: Fleet) -> None:
    job_id, token = fleet.start("orphaned")
    assert [held.id for held in fleet.run(bury(LANE, "w.1"))[1]] == [job_id]
    fleet.run(settle(LANE, [with_kept(complete(job_id, token, record=b"", ttl_ms=600_000, duration_us=5))]))


ENDINGS: tuple[Callable[[Fleet], None], ...] = (
    completed, failed, retried, parked, released_and_expired, expired_while_running, cancelled_while_waiting,
    cancelled_while_running, crashed, replayed, purged, claimed_by_key, replaced, debounced, held_for_a_time, buried,
)  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_ending_leaves_anything_of_an_open_job(
    ending: Callable[[Fleet], None], store: Store, raw: redis.Redis
) -> None:
    ending(Fleet(store, raw))

    assert debris(raw) == []


def test_a_fleet_that_did_everything_is_clean_in_the_end(store: Store, raw: redis.Redis) -> None:
    raw.hset(LANE.conf, "journal", "1")
    store.run(open_queue(KEYS, "mail", 1))
    store.run(beat(KEYS, "w", account=b"", gone_us=20 * S, functions={"f": b"record"}))

    fleet = Fleet(store, raw)
    for ending in ENDINGS:
        ending(fleet)
    store.run(leave(KEYS, "w"))

    assert debris(raw) == []
    assert raw.hget(LANE.totals, "retrying") in {None, b"0"}
    assert raw.xlen(LANE.outbox) == len(ENDINGS)  # a replayed parent is watched no more: it was told of once


@pytest.mark.parametrize(
    ("leak", "sentence"),
    [
        (lambda raw: raw.hset(LANE.tries, "mail.0.a", "1:0"), "tries has no end"),
        (lambda raw: raw.hset(LANE.runs, "mail.0.a", "7|w.1"), "runs has no end"),
        (lambda raw: raw.zadd(LANE.lease, {"mail.0.a": 1}), "lease has no end"),
        (lambda raw: raw.hset(LANE.unique, "key", "mail.0.a"), "unique has no end"),
        (lambda raw: raw.zadd(LANE.locks, {"key": 1}), "locks has no end"),
        (lambda raw: raw.zadd(LANE.expiry, {"mail.0.a": 1}), "expiry has no end"),
        (lambda raw: raw.hset(LANE.watched, "mail.0.a", "1"), "watched has no end"),
        (lambda raw: raw.set(LANE.job("mail.0.a"), ""), "job:mail.0.a has no end"),
        (lambda raw: raw.set(LANE.result("mail.0.a"), ""), "result:mail.0.a has no end"),
        (lambda raw: raw.set(LANE.sent("w.1"), ""), "sent:w.1 has no end"),
        (lambda raw: raw.set(f"{LANE.tag}surprise", "", ex=1000), "surprise is in no table"),
        (lambda raw: raw.zadd(LANE.wake, {"w": 0, "v": 0}), "wake has 2 fields"),
        (lambda raw: raw.hset(LANE.dead, "mail.0.a", "1-1"), "dead has mail.0.a without its letter"),
        (lambda raw: raw.xadd(LANE.dlq, {"id": "mail.0.a"}), "dlq has mail.0.a without its entry"),
    ],
)
def test_the_checker_finds_a_leak(
    leak: Callable[[redis.Redis], object], sentence: str, store: Store, raw: redis.Redis
) -> None:
    completed(Fleet(store, raw))

    leak(raw)

    assert debris(raw) == [sentence]
