"""Random histories of a lane on a real server, held against a model: whatever happens, whatever is repeated.

Every call may run twice, as if its reply was lost; runs that have lost their lease go on as zombies;
time is moved by moving the data. `JOBFLEET_MACHINE_EXAMPLES` asks for more histories than the gate runs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, errors, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from jobfleet.errors import JobfleetError
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import bury, claim, renew, tick
from jobfleet.store.calls.run import Report, progress
from jobfleet.store.calls.settle import KEEPS, STILL_EXPIRED, STILL_WAITING, expire, settle, with_kept
from jobfleet.store.records import Entry
from jobfleet.store.script import Script, load
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.model import MINUTE, OPEN, VERBS, Job, Model, item_of
from tests.lua.world import LANE, mutated
from tests.properties.mutants import MUTANTS, RARE
from tests.properties.operators import ACTS, AGAIN, ENDED, PICK, Operators, act
from tests.support.seed import S
from tests.support.state import server_now


class LaneMachine(Operators, RuleBasedStateMachine):
    """One lane, three children, a supervisor and reapers."""

    def __init__(self) -> None:
        Model.__init__(self)
        RuleBasedStateMachine.__init__(self)
        self.raw.flushall()
        self.children = ["w.1", "w.2", "w.3"]
        self.nonces: Counter[str] = Counter()
        self.trips: Counter[str] = Counter()

    @initialize()
    def jobs_are_there(self) -> None:
        for band in (2, 1, 2, 3):
            self.enqueues(band, later=False, fancy=band == 2, again=False)
        self.claims(0, limit=2, again=False)
        self.raw.hset(LANE.lane, "seen", server_now(self.raw))

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        name, drawn = data.draw(st.sampled_from(ACTS), label="act")
        getattr(self, name)(**{key: data.draw(strategy, label=key) for key, strategy in drawn.items()})

    @act(band=st.integers(0, 3), later=st.booleans(), fancy=st.booleans(), again=AGAIN)
    def enqueues(self, band: int, later: bool, fancy: bool, again: bool) -> None:
        suffix = f"{len(self.jobs):03}"
        job = Job(LANE.id_prefix + suffix, band, fancy, expiring=fancy, may_expire=fancy, watched=fancy)
        meta = f"x {server_now(self.raw) + MINUTE}\nr 600000\nu key {suffix}" if fancy else ""
        call = enqueue(LANE, [Entry(job.id, band, f"+{MINUTE}" if later else "", meta, b"envelope")])
        assert self.run(call) == [True]
        self.jobs[job.id] = job
        self.totals["enqueued"] += 1
        if fancy:
            self.raw.hset(LANE.watched, job.id, "1")
        if again:
            assert self.unmoved(call) == [False]

    @act(pick=PICK)
    def enqueues_a_known_id(self, pick: int) -> None:
        if job := self.one(pick, *OPEN, *ENDED):
            assert self.unmoved(enqueue(LANE, [Entry(job.id, 0, "", "", b"other")])) == [False]

    @act(4, pick=PICK, limit=st.integers(1, 3), again=AGAIN)
    def claims(self, pick: int, limit: int, again: bool) -> None:
        child = self.children[pick % 3]
        self.nonces[child] += 1
        call = claim(LANE, child=child, nonce=self.nonces[child], lease_us=MINUTE, limit=limit)
        standing = [(band, due, job_id) for band in range(4) for job_id, due in self.scores(LANE.ready[band]).items()]
        answer = self.run(call)
        if self.paused:
            assert answer.word == "paused"
            assert not again or self.unmoved(call).word == "empty"
            return
        due = sorted(row for row in standing if row[1] <= answer.now)
        assert [(grant.band, grant.due, grant.id) for grant in answer.grants] == due[:limit]
        for grant in answer.grants:
            job = self.jobs[grant.id]
            assert (job.place, grant.token > self.last_token) == ("waiting", True)
            self.last_token = grant.token
            self.totals["retrying"] -= job.tried
            job.place, job.token, job.child, job.expiring = "running", grant.token, child, False
        if again and answer.grants:
            second = self.unmoved(call)
            assert [(grant.id, grant.token) for grant in second.grants] == [
                (grant.id, grant.token) for grant in answer.grants
            ]
            assert self.unmoved(call._replace(args=(*call.args[:2], 0, *call.args[3:]))).word == "stale"

    @act(pick=PICK, again=AGAIN)
    def renews(self, pick: int, again: bool) -> None:
        held = [(job.id, job.token) for job in self.of("running")]
        late = self.past[-3:]
        if not held + late:
            return
        call = renew(LANE, held + late, lease_us=MINUTE)
        for _ in range(1 + again):
            answer = self.run(call)
            assert answer.lost == tuple(late)
            assert {(one.id, one.token) for one in answer.cancelled} == {
                (job.id, job.token) for job in self.of("running") if job.marked
            }
        assert set(self.scores(LANE.lease).values()) <= {answer.now + MINUTE}

    @act(pick=PICK, again=AGAIN)
    def reports_progress(self, pick: int, again: bool) -> None:
        running = self.of("running")
        pairs = [(job.id, job.token) for job in running] + self.past[-3:]
        if pairs:
            call = progress(LANE, [Report(*pair, 1, str(pair).encode()) for pair in pairs], ttl_ms=600_000)
            letters = "".join("c" if job.marked else "o" for job in running) + "l" * len(self.past[-3:])
            assert self.run(call) == letters
            assert not again or self.unmoved(call) == letters
            for job_id, token in pairs[: len(running)]:
                assert self.raw.get(LANE.progress(job_id)) == str((job_id, token)).encode()

    @act(4, pick=PICK, verb=st.sampled_from(VERBS), by_child=st.booleans(), again=AGAIN)
    def finishes(self, pick: int, verb: str, by_child: bool, again: bool) -> None:
        job = self.one(pick, "running")
        if job is None:
            return
        self.trips[job.child] += 1
        who: dict[str, Any] = {"child": job.child, "nonce": self.trips[job.child]} if by_child else {}
        item = item_of(verb, job.id, job.token)
        if verb == "complete" and job.is_kept:  # the child cannot know of a signal
            assert self.unmoved(settle(LANE, [item])).letters == KEEPS
            item = with_kept(item)
        call: Call[Any] = settle(LANE, [item], **who)
        assert self.run(call).letters == (letter := self.settled(job, verb))
        if again and by_child:
            assert self.unmoved(call).letters == letter
        elif again and job.place in OPEN:
            assert self.run(call).letters == "l"
            self.totals["lost"] += 1
        elif again:
            assert self.unmoved(call).letters == "d"

    @act(3, pick=PICK, verb=st.sampled_from(VERBS))
    def a_zombie_finishes(self, pick: int, verb: str) -> None:
        if not self.past:
            return
        job_id, token = self.past[-1 - pick % len(self.past)]
        job = self.jobs[job_id]
        done = job.place in ENDED and job.token == token
        before = self.dump()
        assert self.run(settle(LANE, [item_of(verb, job_id, token)])).letters == ("d" if done else "l")
        self.totals["lost"] += not done
        assert {**self.dump(), "totals": 0} == {**before, "totals": 0}

    @act(2, pick=PICK)
    def a_lease_runs_out(self, pick: int) -> None:
        if job := self.one(pick, "running"):
            self.raw.zadd(LANE.lease, {job.id: server_now(self.raw) - S})

    @act(3, verb=st.sampled_from(("retry", "release", "fail", "expire")), renewed=st.booleans())
    def a_reaper_comes(self, verb: str, renewed: bool) -> None:
        leases = self.scores(LANE.lease)
        answer = self.run(tick(LANE))
        late = {job_id for job_id, deadline in leases.items() if deadline <= answer.now}
        assert {held.id for held in answer.overdue} == (set() if answer.hold else late)
        for job_id in late if answer.hold else ():
            call = settle(LANE, [item_of(verb, job_id, self.jobs[job_id].token, STILL_EXPIRED)])
            assert self.unmoved(call).letters == "h"
        for held in answer.overdue:
            job = self.jobs[held.id]
            assert (held.token, held.run.child) == (job.token, job.child)
            call = settle(LANE, [item_of(verb, held.id, held.token, STILL_EXPIRED)])
            if renewed:
                self.run(renew(LANE, [(held.id, held.token)], lease_us=MINUTE))
                assert self.unmoved(call).letters == "a"
                continue
            assert self.run(call).letters == self.settled(job, verb)
            second = self.run(call).letters  # another reaper
            assert second == ("l" if job.place in OPEN else "d")
            self.totals["lost"] += second == "l"

    @act(gap=st.sampled_from((False, False, True)))
    def time_passes(self, gap: bool) -> None:
        if gap:
            self.raw.hset(LANE.lane, "seen", server_now(self.raw) - MINUTE)
        else:
            self.raw.hset(LANE.lane, "hold", 0)

    @act(pick=PICK)
    def a_waiting_job_becomes_due(self, pick: int) -> None:
        if job := self.one(pick, "waiting"):
            self.raw.zadd(LANE.ready[job.band], {job.id: server_now(self.raw)})
            job.withheld = False

    @act(pick=PICK)
    def a_waiting_job_expires(self, pick: int) -> None:
        jobs = [job for job in self.of("waiting") if job.expiring]
        if jobs:
            job = jobs[pick % len(jobs)]
            self.raw.zadd(LANE.expiry, {job.id: server_now(self.raw) - S})
            assert self.run(tick(LANE)).expired == (job.id,)
            call = settle(LANE, [expire(job.id, 0, ttl_ms=600_000, guard=STILL_WAITING)])
            assert self.run(call).letters == "s"
            job.token = 0
            self.end(job, "expired")
            self.totals["lost"] += self.run(call).letters == "l"

    @act(pick=PICK, again=AGAIN)
    def a_child_dies(self, pick: int, again: bool) -> None:
        place = pick % 3
        child = self.children[place]
        board = [(job.id, job.token) for job in self.of("running") if job.child == child]
        call = bury(LANE, child, board + self.past[-2:])  # code of earlier runs may not be stoppable
        for _ in range(1 + again):
            assert sorted((held.id, held.token) for held in self.run(call)[1]) == sorted(board)
        late = claim(LANE, child=child, nonce=self.nonces[child] + 1, lease_us=MINUTE, limit=3)
        assert self.unmoved(late).word == "buried"
        self.children[place] = f"{child}x"

    @invariant()
    def the_server_is_as_the_model_says(self) -> None:
        found = self.dump()
        self.what_is_open_has_all_it_needs(found)
        self.what_has_ended_stays_as_it_ended(found)


@pytest.fixture
def play(redis_url: str, raw: redis.Redis) -> Iterator[Callable[..., None]]:
    """Play histories on the session's server, with mutants in the place of scripts."""
    store = Store(target(redis_url))

    def played(examples: int, mutants: Mapping[str, Script] | None = None, **options: Any) -> None:
        body = {"store": store, "raw": raw, "mutants": mutants or {}}
        run_state_machine_as_test(
            type("Machine", (LaneMachine,), body),
            settings=settings(
                max_examples=examples, stateful_step_count=40, deadline=None, database=None,
                suppress_health_check=list(HealthCheck), **options,
            ),
        )  # fmt: skip

    yield played
    store.close()


@pytest.mark.timeout(0 if "JOBFLEET_MACHINE_EXAMPLES" in os.environ else 300)
def test_no_history_breaks_an_invariant(play: Callable[..., None]) -> None:
    asked = os.environ.get("JOBFLEET_MACHINE_EXAMPLES")

    phases = (Phase.generate, Phase.shrink) if asked else (Phase.generate,)
    play(int(asked or 15), derandomize=not asked, phases=phases)


@pytest.mark.first(3)
@pytest.mark.timeout(600)  # how long the search takes depends on the machine
@pytest.mark.parametrize(
    "mutant", [pytest.param(name, marks=pytest.mark.slow) if name in RARE else name for name in MUTANTS]
)
def test_the_machine_finds_a_planted_bug(mutant: str, play: Callable[..., None]) -> None:
    name, old, new = MUTANTS[mutant]
    planted = {name: mutated(load(name), old, new)}

    with pytest.raises((AssertionError, JobfleetError, errors.Flaky, ExceptionGroup)):
        play(300, planted, derandomize=True, phases=(Phase.generate,), report_multiple_bugs=False)
