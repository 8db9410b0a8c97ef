"""Random histories of jobs with unique keys on a real server, held against a model of who holds which.

Whatever happens to a holder, its key is free when its scope says so, and never before; every enqueue may run
twice, as if its reply was lost. Time is moved by moving the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, errors, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from jobfleet.errors import JobfleetError
from jobfleet.store.call import Call
from jobfleet.store.calls import enqueue as calls
from jobfleet.store.calls import flow
from jobfleet.store.calls.control import cancel, replay, trim
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.settle import STILL_EXPIRED, STILL_WAITING, expire, settle
from jobfleet.store.records import Entry, Holder
from jobfleet.store.script import Script, load
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.model import item_of
from tests.lua.world import KEYS, LANE, mutated
from tests.support.seed import S
from tests.support.state import exact, server_now

T = TypeVar("T")

MINUTE = 60 * S
SCOPES = {"open": "", "queued": "\ns q", "timed": f"\ns {MINUTE}"}
OPEN = ("waiting", "blocked", "running")
PARENT = "other.0.parent"
PICK = st.integers(0, 40)
KEY = st.sampled_from(("k", "l"))


@dataclass
class Job:
    """What the model knows of a job."""

    id: str
    key: str
    scope: str
    place: str = "waiting"
    token: int = 0
    tried: bool = False


@dataclass
class Lock:
    """Who holds a key: for as long as it is open, or for a time."""

    holder: str
    timed: bool


class KeyMachine(RuleBasedStateMachine):
    """One lane, two keys, one child, a reaper and an operator."""

    store: Store
    raw: redis.Redis
    mutants: Mapping[str, Script]

    def __init__(self) -> None:
        super().__init__()
        self.raw.flushall()
        self.jobs: dict[str, Job] = {}
        self.locks: dict[str, Lock] = {}
        self.over: set[str] = set()
        self.nonce = 0
        self.made = 0
        self.envelopes: dict[str, bytes] = {}

    def run(self, call: Call[T]) -> T:
        return self.store.run(call._replace(script=self.mutants.get(call.script.name, call.script)))

    def unmoved(self, call: Call[T]) -> T:
        before = self.without_answers()
        answer = self.run(call)
        assert self.without_answers() == before
        return answer

    def without_answers(self) -> dict[str, Any]:
        """All but the answers that are kept of calls by id: running a call value again is a call of its own."""
        return {name: value for name, value in exact(self.raw).items() if ":answer:" not in name}

    def one(self, pick: int, *places: str) -> Job | None:
        found = [job for job in self.jobs.values() if job.place in places]
        return found[pick % len(found)] if found else None

    def standing(self, key: str) -> Lock | None:
        return None if key in self.over else self.locks.get(key)

    def takes(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.locks[job.key] = Lock(job.id, job.scope == "timed")
        self.over.discard(job.key)

    def leaves(self, job: Job) -> None:
        lock = self.locks.get(job.key)
        if lock is not None and lock.holder == job.id and not lock.timed:
            del self.locks[job.key]

    def ends(self, job: Job, place: str) -> None:
        job.place = place
        self.leaves(job)

    @rule(key=KEY, scope=st.sampled_from(tuple(SCOPES)), mode=st.sampled_from(("replace", "debounce", "block", "")),
          later=st.booleans(), again=st.booleans())  # fmt: skip
    def enqueues(self, key: str, scope: str, mode: str, later: bool, again: bool) -> None:
        self.made += 1
        job = Job(f"{LANE.id_prefix}{self.made:03}", key, scope)
        meta = f"x +{MINUTE}\nu {key}{SCOPES[scope]}"
        entry = Entry(job.id, self.made % 4, f"+{MINUTE}" if later else "", meta, job.id.encode())
        if mode == "block":
            self.waits_for_another(entry, job, again=again)
            return
        lock, held = self.standing(key), calls.enqueue(LANE, [entry])
        (answer,) = self.run(held)
        if lock is None:
            assert answer is True
            self.takes(job)
            self.envelopes[job.id] = entry.envelope
            assert not again or self.unmoved(held) == [False]
            return
        holder = self.jobs[lock.holder]
        may_change = holder.place in ("waiting", "blocked") and not holder.tried
        assert isinstance(answer, Holder)
        assert (answer.id, answer.has_started) == (holder.id, not may_change)
        if mode:
            self.displaces(mode, entry, job, holder, may_change=may_change, again=again)

    def displaces(self, mode: str, entry: Entry, job: Job, holder: Job, *, may_change: bool, again: bool) -> None:
        call: Call[Any] = (
            calls.replace(LANE, entry, key=job.key, holder=holder.id, ttl_ms=600_000)
            if mode == "replace"
            else calls.debounce(LANE, entry, key=job.key, holder=holder.id, longest_us=None)
        )
        word = self.run(call) if mode == "replace" else self.run(call)[0]
        may_change = may_change and (mode == "replace" or holder.place == "waiting")
        assert word == (f"{mode}d" if may_change else "changed")
        if may_change and mode == "replace":
            self.ends(holder, "cancelled")
            self.takes(job)
            self.envelopes[job.id] = entry.envelope
            assert not again or self.unmoved(call) == "exists"
        elif may_change:
            holder.scope = job.scope
            self.envelopes[holder.id] = entry.envelope
            assert not again or self.unmoved(call)[0] == "debounced"

    def waits_for_another(self, entry: Entry, job: Job, *, again: bool) -> None:
        lock, held = self.standing(job.key), flow.block(LANE, entry, [flow.Edge(PARENT, 0, "c")], ttl_ms=600_000)
        answer = self.run(held)
        if lock is not None:
            assert isinstance(answer, Holder)
            assert answer.id == lock.holder
            return
        assert answer is True
        job.place = "blocked"
        self.takes(job)
        self.envelopes[job.id] = entry.envelope
        if again:
            assert self.run(held) is False

    def waits_no_more(self, job: Job) -> None:
        told = [flow.ParentEnd(job.id, parent, "completed", b"") for parent in (flow.GUARD, PARENT)]
        assert self.run(flow.unblock(LANE, told, ttl_ms=600_000)) == "bu"
        job.place = "waiting"

    @rule(limit=st.integers(1, 3), unblocks=st.booleans())
    def claims(self, limit: int, unblocks: bool) -> None:
        self.nonce += 1
        if unblocks and (blocked := self.one(0, "blocked")):
            self.waits_no_more(blocked)
        for band in LANE.ready:  # all that wait are due
            for member in self.members(band):
                if self.jobs[member].place != "blocked":
                    self.raw.zadd(band, {member: 1})
        for grant in self.run(claim(LANE, child="w.1", nonce=self.nonce, lease_us=MINUTE, limit=limit)).grants:
            job = self.jobs[grant.id]
            job.place, job.token = "running", grant.token
            if job.scope == "queued":
                self.leaves(job)

    @rule(pick=PICK, verb=st.sampled_from(("complete", "fail", "retry", "release", "expire")))
    def finishes(self, pick: int, verb: str) -> None:
        if job := self.one(pick, "running"):
            assert self.run(settle(LANE, [item_of(verb, job.id, job.token)])).letters == "s"
            self.settled(job, verb)

    def settled(self, job: Job, verb: str) -> None:
        if verb in ("retry", "release"):
            job.place, job.tried = "waiting", job.tried or verb == "retry"
        else:
            self.ends(job, "failed" if verb == "fail" else "ended")

    @rule(pick=PICK, verb=st.sampled_from(("fail", "retry")))
    def crashes(self, pick: int, verb: str) -> None:
        if job := self.one(pick, "running"):
            now = server_now(self.raw)
            self.raw.hset(LANE.lane, mapping={"seen": now, "hold": 0})
            self.raw.zadd(LANE.lease, {job.id: now - S})
            assert self.run(settle(LANE, [item_of(verb, job.id, job.token, STILL_EXPIRED)])).letters == "s"
            self.settled(job, verb)

    @rule(pick=PICK)
    def is_cancelled(self, pick: int) -> None:
        if job := self.one(pick, *OPEN):
            letter = self.run(cancel(KEYS, LANE, [job.id], by="ann", ttl_ms=600_000))
            if letter == "r":
                assert self.run(settle(LANE, [item_of("release", job.id, job.token)])).letters == "c"
            self.ends(job, "ended")

    @rule(pick=PICK)
    def expires(self, pick: int) -> None:
        job = self.one(pick, "waiting", "blocked")
        if job is not None and job.id in self.members(LANE.expiry):
            self.raw.zadd(LANE.expiry, {job.id: server_now(self.raw) - S})
            assert self.run(settle(LANE, [expire(job.id, 0, ttl_ms=600_000, guard=STILL_WAITING)])).letters == "s"
            self.ends(job, "ended")

    @rule(pick=PICK)
    def is_replayed(self, pick: int) -> None:
        if job := self.one(pick, "failed"):
            lock = self.standing(job.key)
            (word,) = self.run(replay(LANE, [job.id], by="ann"))
            if lock is not None and lock.holder != job.id:
                assert word == f"duplicate:{lock.holder}"
                return
            assert word == "replayed"
            job.place, job.tried = "waiting", True
            if lock is None:
                self.takes(job)

    @rule(key=KEY)
    def its_time_is_over(self, key: str) -> None:
        lock = self.locks.get(key)
        if lock is not None and lock.timed:
            past = server_now(self.raw) - S
            self.raw.hset(LANE.unique, key, f"{lock.holder} {past} {past - MINUTE}")
            self.raw.zadd(LANE.locks, {key: past})
            self.over.add(key)

    @rule()
    def is_trimmed(self) -> None:
        self.run(trim(LANE, done_before_ms=1, dead_before_ms=1, dead_max=100))
        for key in self.over:
            del self.locks[key]
        self.over.clear()

    def members(self, name: str) -> list[str]:
        found: Any = self.raw.zrange(name, 0, -1)
        return [member.decode() for member in found]

    @invariant()
    def the_server_knows_who_holds_which(self) -> None:
        found: Any = self.raw.hgetall(LANE.unique)
        held = {key.decode(): lock.decode().split(" ")[:2] for key, lock in found.items()}
        wanted = {key: [lock.holder, "timed" if lock.timed else "0"] for key, lock in self.locks.items()}
        assert wanted.keys() - self.over <= held.keys() <= wanted.keys()  # a time that is over goes sooner or later
        for key, (holder, till) in held.items():
            assert [holder, till if till == "0" else "timed"] == wanted[key]
        timed = {key for key, lock in self.locks.items() if lock.timed and key not in self.over}
        assert timed <= set(self.members(LANE.locks))

    @invariant()
    def no_key_has_two_open_holders(self) -> None:
        for key in ("k", "l"):
            never_claimed = [
                job for job in self.jobs.values() if job.key == key and job.place in OPEN and not job.token
            ]
            untimed = [job for job in never_claimed if job.scope != "timed" and not job.tried]
            assert len(untimed) <= 1

    @invariant()
    def no_lock_outlives_its_job(self) -> None:
        for lock in self.locks.values():
            assert lock.timed or self.jobs[lock.holder].place in OPEN

    @invariant()
    def an_open_job_is_the_last_that_it_stands_for(self) -> None:
        for job in self.jobs.values():
            if job.place in OPEN:
                assert self.raw.get(LANE.job(job.id)) == self.envelopes[job.id]


@pytest.fixture
def play(redis_url: str, raw: redis.Redis) -> Iterator[Callable[..., None]]:
    """Play histories on the session's server, with mutants in the place of scripts."""
    store = Store(target(redis_url))

    def played(examples: int, mutants: Mapping[str, Script] | None = None, **options: Any) -> None:
        body = {"store": store, "raw": raw, "mutants": mutants or {}}
        run_state_machine_as_test(
            type("Machine", (KeyMachine,), body),
            settings=settings(
                max_examples=examples, stateful_step_count=30, deadline=None, database=None,
                suppress_health_check=list(HealthCheck), derandomize=True, **options,
            ),
        )  # fmt: skip

    yield played
    store.close()


def test_no_history_breaks_an_invariant(play: Callable[..., None]) -> None:
    play(30)


_FLUSHED, _FORGETFUL = "redis.call('HDEL', keys.unique, unpack(free))", "redis.call('EXISTS', keys.unique)"
_ITS_OWN = "if holder == id and (tonumber(till) or 0) == 0 then"
MUTANTS = {
    "a key that its job's end does not free": ("settle", _FLUSHED, _FORGETFUL),
    "a key that a cancellation does not free": ("cancel", _FLUSHED, _FORGETFUL),
    "a time that an end cuts short": ("settle", _ITS_OWN, "if holder == id then"),
    "an end that frees another's key": ("settle", _ITS_OWN, "if (tonumber(till) or 0) == 0 then"),
    "a claim that frees no key": ("claim", "if #freed > 0 then", "if false then"),
    "an enqueue that looks at no lock": ("enqueue", "taken[key] or lock_on(KEYS[9], lane, key, at)", "taken[key]"),
    "a time that never ends": ("enqueue", "return lock.till > now and lock or nil", "return lock"),
    "a blocked job that looks at no lock": ("block", "key and lock_on(KEYS[8], tag, key, now)", "nil"),
    "a replay that takes no key": ("replay", "if key and not taken[key].is_held then", "if key and false then"),
    "a replacement of a job that has started": (
        "replace", "or redis.call('HEXISTS', tag .. 'tries', holder) == 1\n", "\n",
    ),
}  # fmt: skip


@pytest.mark.first(3)
@pytest.mark.timeout(600)  # how long the search takes depends on the machine
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_machine_finds_a_planted_bug(mutant: str, play: Callable[..., None]) -> None:
    name, old, new = MUTANTS[mutant]
    planted = {name: mutated(load(name), old, new)}

    with pytest.raises((AssertionError, JobfleetError, errors.Flaky, ExceptionGroup)):
        play(300, planted, phases=(Phase.generate,), report_multiple_bugs=False)
