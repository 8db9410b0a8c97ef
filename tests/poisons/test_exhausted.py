"""Streams to which nothing can be added, and numbers of trips that were never sent; users have their roles' rights."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Mute
from jobfleet.services.duties.leases import Leases
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.retention import Retention
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import journal
from jobfleet.store.journal import Event, parse
from jobfleet.store.target import target
from tests.poisons.conftest import KEYS, LANE, WAITS, Working
from tests.support import users
from tests.support.waiting import wait_until

M = (1 << 64) - 1
LAST, NEAR, LATE = f"{M}-{M}", f"{M}-{M - 3}", f"{M}-0"
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


class Ward(NamedTuple):
    """A fleet whose processes have the rights of their roles.

    Attributes:
        fleet: The fleet, as the worker and as the program that enqueues.
        operator: The fleet, as an operator.
        url: Returns the URL for a role.
        runs: How often each job has run.
        raw: A client that may do anything.
    """

    fleet: Fleet
    operator: Fleet
    url: Callable[[str], str]
    runs: Counter[str]
    raw: Any

    def enqueue(self, name: str, **options: Any) -> str:
        """Enqueue a job that counts its runs."""
        return self.fleet.enqueue(Job(name, "test.count", args=(name,), id=name, max_retries=0, **options))

    def reap(self) -> None:
        """Do a turn of each duty as a reaper."""

        async def turn() -> None:
            store = AsyncStore(target(self.url("reaper")), patience=5)
            for duty in (Retention, Leases, Relay):
                await duty(store, KEYS, self.fleet.config, Mute()).turn()
            await store.close()

        asyncio.run(turn())

    def id(self, name: str) -> str:
        """The id of a job."""
        return f"{LANE.id_prefix}{name}"

    def await_ends(self, wanted: dict[str, str]) -> None:
        """Wait until the jobs have ended so and no run is left, and reap meanwhile."""
        deadline = time.monotonic() + WAITS

        def ends() -> dict[str, str]:
            return {
                name: str(one.status) for name, one in zip(wanted, self.fleet.poll_many([*wanted]), strict=True) if one
            }

        while (ends() != wanted or self.raw.hlen(LANE.runs)) and time.monotonic() < deadline:
            self.reap()
        assert ends() == wanted
        assert self.raw.hlen(LANE.runs) == self.raw.zcard(LANE.lease) == 0

    @property
    def told(self) -> str:
        """What doctor says of damage."""
        return next(f"{one.seen} {one.remedy}" for one in self.operator.doctor().findings if one.check == "damage")


@pytest.fixture
def ward(redis_url: str, raw: redis.Redis) -> Iterator[Ward]:
    """A fleet with a function that counts its runs, and fails if the name of the job says so."""
    users.create(raw)
    runs: Counter[str] = Counter()

    def count(name: str) -> str:
        runs[name] += 1
        if name.startswith("bad"):
            raise ValueError(name)
        return name

    def url(role: str) -> str:
        return users.url_as(redis_url, role)

    registry = Registry()
    with (
        Fleet(url("worker"), registry=registry, lease=6, retry_delay=0.05, patience=5) as fleet,
        Fleet(url("operator"), patience=5) as operator,
    ):
        registry.register(count, name="test.count", fleet=fleet)
        yield Ward(fleet, operator, url, runs, raw)


@pytest.mark.parametrize(
    ("name", "end"),
    [("outbox", LAST), ("journal", LAST), ("done", LAST), ("dlq", LAST), ("outbox", NEAR), ("dlq", LATE)],
)
def test_each_job_runs_once_and_nothing_is_lost(name: str, end: str, ward: Ward, working: Working) -> None:
    ward.fleet.store.run(journal.register(LANE, "archive", most=1000))
    ward.enqueue("before")
    with working(ward.fleet):
        ward.await_ends({ward.id("before"): "completed"})
    ward.raw.xadd(LANE.tag + name, {"foo": "bar"}, id=end)
    if end == LAST:
        assert f"{name} ends at {end}" in ward.told
    parent = ward.enqueue("parent")
    names = [parent, ward.enqueue("child", depends_on=[parent]), ward.enqueue("bad"), ward.enqueue("plain")]

    with working(ward.fleet):
        ward.await_ends({one: "failed" if one.endswith("bad") else "completed" for one in names})

    assert ward.runs == {"before": 1, "parent": 1, "child": 1, "bad": 1, "plain": 1}
    ward.reap()  # nobody may have met a stream that ends far ahead
    assert [letter.id for letter in ward.operator.dead()] == ["default.0.bad"]
    assert f"moved aside: {LANE.tag}aside:{name}" in ward.told
    ended = {event.id for event in archived(ward.raw) if event.event in {"completed", "failed"}}
    assert ended == {ward.id("before"), *names}


def archived(raw: Any) -> Iterator[Event]:
    """What the archive reads of the journal."""
    for entry, fields in raw.xreadgroup("archive", "one", {LANE.journal: ">"})[0][1]:
        if b"at" in fields:
            yield from parse(int(entry.partition(b"-")[0]), [part for pair in fields.items() for part in pair])


def test_an_action_of_an_operator_is_audited(ward: Ward) -> None:
    ward.raw.xadd(KEYS.audit, {"x": "y"}, id=LAST)

    ward.operator.pause("default", by="ann")

    assert [entry.action for entry in ward.operator.audit().entries] == ["queue.pause"]
    assert "moved aside: aside:audit" in ward.told


def test_a_child_goes_on_after_the_number_of_a_trip_that_was_never_sent(ward: Ward, working: Working) -> None:
    first, later = ({ward.id(f"{name}{n}"): "completed" for n in range(5)} for name in ("job", "later"))
    raw = ward.raw
    with working(ward.fleet):
        for n in range(5):
            ward.enqueue(f"job{n}")
        ward.await_ends(first)
        for key in raw.keys(f"{LANE.tag}sent:*"):
            raw.set(key, "99999999999999999 x")
            raw.set(key.replace(b"sent:", b"claim:"), "999999 x")
        for n in range(5):
            ward.enqueue(f"later{n}")
        ward.await_ends(later)

    assert ward.runs == {name.rpartition(".")[2]: 1 for name in first | later}


@pytest.mark.parametrize("name", ["outbox", "journal", "done"])
def test_a_worker_moves_aside_what_its_runs_meet(name: str, ward: Ward, working: Working) -> None:
    ward.fleet.store.run(journal.register(LANE, "archive", most=1000))
    parent = ward.enqueue("parent")
    names = [parent, ward.enqueue("child", depends_on=[parent])]
    ward.raw.xadd(LANE.tag + name, {"foo": "bar"}, id=LAST)

    with working(ward.fleet):
        wait_until(lambda: f"moved aside: {LANE.tag}aside:{name}" in ward.told, why="the worker has moved it aside")
        ward.await_ends(dict.fromkeys(names, "completed"))

    assert ward.runs == {"parent": 1, "child": 1}
    assert {event.id for event in archived(ward.raw) if event.event == "completed"} == set(names)


@pytest.mark.parametrize(("member", "score"), [("0", "inf"), ("0", "1"), ("z", "-inf"), ("z", "-0.5")])
@pytest.mark.parametrize("is_early", [True, False], ids=["before the jobs", "behind the jobs"])
def test_a_member_of_another_score_hides_no_group_and_keeps_the_order(
    ward: Ward, working: Working, caplog: pytest.LogCaptureFixture, member: str, score: str, is_early: bool
) -> None:
    producer = redis.Redis.from_url(ward.url("producer"), protocol=2)
    began: list[str] = []
    ward.fleet.context.registry.register(began.append, name="test.begin", fleet=ward.fleet)
    if is_early:
        producer.zadd(LANE.grouped, {member: score})
    plain = [ward.enqueue(f"plain{n}", group=f"g{n % 3}") for n in range(6)]
    strict = [
        ward.fleet.enqueue(Job(f"step{n}", "test.begin", (str(n),), id=f"step{n}", group="line", order="strict"))
        for n in range(5)
    ]
    if not is_early:
        producer.zadd(LANE.grouped, {member: score})

    with working(ward.fleet):
        ward.await_ends(dict.fromkeys([*plain, *strict], "completed"))

    assert began == ["0", "1", "2", "3", "4"]
    assert set(ward.raw.zrange(LANE.grouped, 0, -1, withscores=True)) <= {(member.encode(), 0.0)}
    ward.reap()
    told = [record.message for record in caplog.records if record.message.startswith("leases.mended")]
    assert told == [
        f"leases.mended key={LANE.grouped} a member with another score than 0 hid other members; it has 0 now"
    ]


def test_a_member_of_another_score_frees_no_slot_of_a_group(ward: Ward, working: Working) -> None:
    ward.operator.limits.set("default", group="g", concurrency=1, by="ann")
    running: list[int] = []
    most: list[int] = []

    async def hold() -> None:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.02)
        running.pop()

    ward.fleet.context.registry.register(hold, name="test.hold", fleet=ward.fleet)
    ids = [ward.fleet.enqueue(Job("hold", "test.hold", id=f"hold{n}", group="g")) for n in range(8)]
    ward.raw.zadd(LANE.held, {"a": "inf"})

    with working(ward.fleet):
        ward.await_ends(dict.fromkeys(ids, "completed"))

    assert set(most) == {1}
