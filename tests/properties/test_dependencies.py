"""Random histories of jobs that wait for others, on a real server, held against a simple model.

Jobs in two queues wait for up to three others; they run, fail, are cancelled and replayed, and the relay is killed
between any two steps. None starts before its edges let it, none runs twice without a replay; at the end, once all
is relayed, every job has ended but for those that wait for a replay.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, errors, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from jobfleet import After, Fleet, Job, JobStatus
from jobfleet.codec.frames import seal_record
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model.option_types import Otherwise
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import lease, settle
from jobfleet.store.keys import Keyspace
from jobfleet.store.script import Script, load
from jobfleet.store.trip import LazyCalls
from tests.lua.world import mutated

KEYS = Keyspace("jobfleet")
LANES = {queue: KEYS.lane(queue, 0) for queue in ("default", "other")}
RECORD = seal_record({"function": "test.add"})
QUEUES = st.sampled_from(sorted(LANES))
PICK = st.integers(0, 30)
POLICY: st.SearchStrategy[Otherwise] = st.sampled_from(["cancel", "cancel", "run", "wait"])
ROUNDS = 100
MUTANTS = {
    "a child that starts one parent early": ("unblock", "open[c] == 0 and 'u'", "open[c] <= 1 and 'u'"),
    "an edge that asks for no success": ("unblock", "if policy == 'r' or", "if true or"),
}

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@dataclass
class Row:
    """What the model knows of a job."""

    edges: dict[str, Otherwise] = field(default_factory=dict)
    starts: int = 0
    replays: int = 0
    was_cancelled: bool = False


class Mortal(AsyncStore):
    """Dies after so many calls, also in the midst of a trip."""

    mutants: dict[str, Script]
    left: int | None = None

    async def run_many(self, calls: Sequence[Call[Any]] | LazyCalls, **options: Any) -> list[Any]:
        assert not isinstance(calls, LazyCalls), "relays enqueue nothing in bulk"
        answers: list[Any] = []
        for call in calls:
            if self.left is not None:
                if self.left == 0:
                    raise asyncio.CancelledError
                self.left -= 1
            mutant = self.mutants.get(call.script.name, call.script)
            answers += await super().run_many((call._replace(script=mutant),), **options)
        return answers


class DependencyMachine(RuleBasedStateMachine):
    """Two queues of a lane each, one child, and relays that die."""

    fleet: Fleet
    raw: redis.Redis
    mutants: dict[str, Script]

    def __init__(self) -> None:
        super().__init__()
        self.raw.flushall()
        self.fleet.context.queues.clear()
        self.rows: dict[str, Row] = {}
        self.nonces: Counter[str] = Counter()
        self.loop = asyncio.Runner()
        self.has_failed: set[str] = set()
        """Jobs that have ever ended otherwise than completed."""

    def picked(self, pick: int) -> str | None:
        ids = list(self.rows)
        return ids[pick % len(ids)] if ids else None

    @rule(queue=QUEUES, parents=st.lists(st.tuples(PICK, POLICY), max_size=3))
    def adds(self, queue: str, parents: list[tuple[int, Otherwise]]) -> None:
        edges = {parent: policy for pick, policy in parents if (parent := self.picked(pick)) is not None}
        after = [After(parent, policy) for parent, policy in edges.items()]
        job_id = self.fleet.enqueue(Job("add", "test.add", (1, 2), queue=queue, depends_on=after or None))
        self.rows[job_id] = Row(edges)

    @rule(queue=QUEUES, most=st.integers(1, 4), fails=st.booleans())
    def works(self, queue: str, most: int, fails: bool) -> None:
        lane = LANES[queue]
        self.nonces[queue] += 1
        call = lease.claim(lane, child="w.1", nonce=self.nonces[queue], lease_us=60_000_000, limit=most)
        for grant in self.fleet.store.run(call).grants:
            row = self.rows[grant.id]
            row.starts += 1
            assert row.starts <= 1 + row.replays, "it runs twice"
            self.may_start(grant.id)
            if fails:
                item: settle.Item = settle.fail(
                    grant.id, grant.token, record=RECORD, ttl_ms=600_000, duration_us=1, reason="error",
                    tries="1:0:0:0:0",
                )  # fmt: skip
                self.has_failed.add(grant.id)
            else:
                item = settle.complete(grant.id, grant.token, record=RECORD, ttl_ms=600_000, duration_us=1)
            assert self.fleet.store.run(settle.settle(lane, [item])).letters == "s"

    def may_start(self, job_id: str) -> None:
        """Every edge lets it: its parent has completed, or has ended and that is enough."""
        for parent, policy in self.rows[job_id].edges.items():
            status = self.fleet.poll(parent).status
            is_free = status is JobStatus.COMPLETED or (
                policy == "run" and (status.is_final or self.rows[parent].replays)
            )
            assert is_free, f"it starts though {parent} is {status} and its edge says {policy}"

    @rule(pick=PICK)
    def cancels(self, pick: int) -> None:
        job_id = self.picked(pick)
        if job_id is not None and self.fleet.cancel(job_id):
            self.rows[job_id].was_cancelled = True
            self.has_failed.add(job_id)

    @rule(pick=PICK)
    def replays(self, pick: int) -> None:
        failed = [job_id for job_id in self.rows if self.fleet.poll(job_id).status is JobStatus.FAILED]
        if failed and self.fleet.replay(failed[pick % len(failed)]):
            self.rows[failed[pick % len(failed)]].replays += 1

    @rule(steps=st.integers(1, 40))
    def relays(self, steps: int) -> None:
        self.loop.run(self.relay(steps))

    async def relay(self, steps: int | None = None) -> None:
        """Relay, by one that dies after so many calls, or by one that does not."""
        store = Mortal(self.fleet.store.at)
        store.mutants, store.left = self.mutants, steps
        with suppress(asyncio.CancelledError):
            await Relay(store, KEYS, JobConfig(), Tally()).turn()
        await store.close()

    def teardown(self) -> None:
        """Let all that can end do so, and see whether anything is stuck."""
        try:
            for _ in range(ROUNDS):
                before = self.statuses()
                for queue in LANES:
                    self.works(queue, 4, fails=False)
                self.loop.run(self.relay())
                if self.statuses() == before:
                    break
            for job_id, status in self.statuses().items():
                self.has_ended(job_id, status)
        finally:
            self.loop.close()

    def statuses(self) -> dict[str, JobStatus]:
        return {job_id: self.fleet.poll(job_id).status for job_id in self.rows}

    def has_ended(self, job_id: str, status: JobStatus) -> None:
        row = self.rows[job_id]
        if status is JobStatus.BLOCKED:
            unmet = [parent for parent in row.edges if self.fleet.poll(parent).status is not JobStatus.COMPLETED]
            awaited = [
                parent for parent in unmet if row.edges[parent] == "wait" or not self.fleet.poll(parent).status.is_final
            ]
            assert awaited, f"{job_id} is stuck"
            return
        assert status.is_final, f"{job_id} is {status}"
        if status is JobStatus.CANCELLED and not row.was_cancelled:
            assert any(
                parent in self.has_failed or self.fleet.poll(parent).status is JobStatus.CANCELLED
                for parent, policy in row.edges.items()
                if policy == "cancel"
            ), f"{job_id} was cancelled for nothing"


@pytest.fixture
def play(redis_url: str, raw: redis.Redis) -> Iterator[Callable[..., None]]:
    """Play histories on the session's server, with mutants in the place of scripts."""
    fleet = Fleet(redis_url)

    def played(examples: int, mutants: dict[str, Script] | None = None, **options: Any) -> None:
        body = {"fleet": fleet, "raw": raw, "mutants": mutants or {}}
        run_state_machine_as_test(
            type("Machine", (DependencyMachine,), body),
            settings=settings(
                max_examples=examples, stateful_step_count=25, deadline=None, database=None,
                suppress_health_check=list(HealthCheck), **options,
            ),
        )  # fmt: skip

    yield played
    fleet.close()


def test_no_history_starts_a_job_early_or_leaves_one_stuck(play: Callable[..., None]) -> None:
    asked = os.environ.get("JOBFLEET_TEST_EXAMPLES")

    play(int(asked or 40), derandomize=not asked)


@pytest.mark.first(1)
@pytest.mark.timeout(600)  # how long the search takes depends on the machine
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_machine_finds_a_planted_bug(mutant: str, play: Callable[..., None]) -> None:
    name, old, new = MUTANTS[mutant]

    with pytest.raises((AssertionError, errors.Flaky, ExceptionGroup)):
        play(
            200,
            {name: mutated(load(name), old, new)},
            derandomize=True,
            phases=(Phase.generate,),
            report_multiple_bugs=False,
        )
