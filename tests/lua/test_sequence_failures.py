"""What a failed head of a strict sequence means for the rest, and a random walk over all of it."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from jobfleet.store.calls import enqueue, lease
from jobfleet.store.calls.dead import undo_replay
from jobfleet.store.calls.limits import unpark
from tests.lua.world import World
from tests.support.sequences import Worker, cancelled, doomed, enter, entry, fail_rest, replayed, row, standing


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world)


def test_a_failed_head_parks_its_sequence_until_somebody_resumes_it(world: World, worker: Worker) -> None:
    enter(world, "abc", policy="p")
    worker.claim()
    worker.end("a", "fail")
    enter(world, "d", policy="p")

    assert standing(world) == ("a", "parked", "bcd")
    assert worker.claim() == ""
    assert world.run(unpark(world.lane, "acme", world.id("b"))) is False

    assert world.run(unpark(world.lane, "acme", world.id("a"))) is True

    assert standing(world) == ("b", "waiting", "cd")
    assert worker.claim() == "b"
    assert world.run(unpark(world.lane, "acme", world.id("b"))) is False


def test_a_parked_head_that_is_replayed_runs_first(world: World, worker: Worker) -> None:
    enter(world, "ab", policy="p")
    worker.claim()
    worker.end("a", "fail")

    assert replayed(world, "a") == ["replayed"]

    assert standing(world) == ("a", "waiting", "b")
    assert worker.claim() == "a"


def test_a_replayed_job_takes_its_old_place(world: World, worker: Worker) -> None:
    enter(world, "abcd")
    for name in "ab":
        worker.claim()
        worker.end(name, "fail")
    worker.claim()

    replayed(world, "b", "a")

    assert standing(world) == ("c", "running", "abd")
    worker.end("c")
    assert worker.claim() == "a"


def test_a_replay_that_is_undone_parks_the_sequence_again(world: World, worker: Worker) -> None:
    enter(world, "ab", policy="p")
    worker.claim()
    worker.end("a", "fail")
    copy = {"reason": "error", "band": "2", "tries": "1:0:0:0:0", "meta": "g acme\no p", "record": "r", "died": "1"}
    for name, text in copy.items():
        world.raw.hset(f"{world.lane.tag}rescued:{world.id('a')}", name, text)
    replayed(world, "a")

    assert world.go(undo_replay(world.lane, [world.id("a")], ttl_ms=1000)) == "u"

    assert standing(world) == ("a", "parked", "b")


def test_a_failed_head_fails_all_that_waited_behind_it(world: World, worker: Worker) -> None:
    enter(world, "abc", policy="f")
    worker.claim()
    worker.end("a", "fail")
    enter(world, "d", policy="f")

    assert (standing(world), doomed(world)) == (("a", "failing", "bcd"), ("mail.0.a", "bc"))
    assert worker.claim() == ""
    assert fail_rest(world, "bcd") == "ssl"

    assert (standing(world), doomed(world)) == (("d", "waiting", ""), ("", ""))
    assert worker.claim() == "d"
    assert set(world.state()["dead"]) == {"mail.0.a", "mail.0.b", "mail.0.c"}
    assert fail_rest(world, "bc") == "dd"


def test_foreign_entries_stop_no_sequence(world: World, worker: Worker) -> None:
    world.raw.zadd(world.lane.grouped, {b"fa": 0, b"facme\0not a place\0x": 0, b"sacme\0not a place\0x": 0})
    enter(world, "abc", policy="f")
    worker.claim()
    worker.end("a", "fail")

    assert doomed(world) == ("mail.0.a", "bc")


def test_the_rest_is_spared_if_somebody_resumes_or_replays_in_time(world: World, worker: Worker) -> None:
    enter(world, "abc", policy="f")
    worker.claim()
    worker.end("a", "fail")

    replayed(world, "a")
    assert (standing(world), fail_rest(world, "bc")) == (("a", "waiting", "bc"), "ll")

    worker.claim()
    worker.end("a", "fail")
    world.go(unpark(world.lane, "acme", world.id("a")))
    assert (standing(world), fail_rest(world, "bc")) == (("b", "waiting", "c"), "ll")


def test_the_last_doomed_job_may_be_cancelled_and_a_lone_head_fails_alone(world: World, worker: Worker) -> None:
    enter(world, "ab", policy="f")
    worker.claim()
    worker.end("a", "fail")

    cancelled(world, "b")
    assert row(world) is None

    enter(world, "c", policy="f")
    worker.claim()
    worker.end("c", "fail")
    assert (row(world), doomed(world)) == (None, ("", ""))


class Walk:
    """Random enqueues, claims, endings and acts of operators on three sequences, one of each policy."""

    POLICIES: ClassVar = {"a": "s", "b": "p", "c": "f"}
    ACTS = ("enqueue", "enqueue", "claim", "claim", "end", "end", "cancel", "resume", "tick")

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.dice, self.worker = world, random.Random(seed), Worker(world)
        self.order: dict[str, list[str]] = {group: [] for group in self.POLICIES}
        self.ended: dict[str, list[str]] = {group: [] for group in self.POLICIES}
        self.number = 0

    def enqueue(self, group: str) -> None:
        """A job takes the last place."""
        self.number += 1
        name = f"{group}{self.number:03}"
        made = entry(self.world, name, policy=self.POLICIES[group], group=group, band=self.dice.randrange(4))
        self.world.go(enqueue.enqueue(self.world.lane, [made]))
        self.order[group].append(name)

    def claim(self, _: str) -> None:
        """No claim may start a job of a sequence that has a running one."""
        before = {name[0] for name in self.worker.held}
        for name in self.worker.claim(3).split():
            assert name[0] not in before, "two jobs of a sequence run at once"
            before.add(name[0])

    def end(self, _: str) -> None:
        """A run ends, or waits again."""
        if not self.worker.held:
            return
        name = self.dice.choice(sorted(self.worker.held))
        verb = self.dice.choice(("complete", "complete", "retry", "release", "fail", "expire"))
        self.worker.end(name, verb)
        if verb not in ("retry", "release"):
            self.ended[name[0]].append(name)

    def cancel(self, group: str) -> None:
        """A waiting job is cancelled."""
        name = self.dice.choice(self.order[group] or [""])
        if name and name not in self.worker.held and cancelled(self.world, name) == "c":
            self.order[group].remove(name)

    def resume(self, group: str) -> None:
        """An operator resumes a sequence, parked or not."""
        if (found := row(self.world, group)) is not None:
            self.world.go(unpark(self.world.lane, group, found.head))

    def tick(self, _: str) -> None:
        """A reaper fails what is doomed."""
        if (found := self.world.go(lease.tick(self.world.lane)).doomed) is not None:
            names = [job_id.rpartition(".")[2] for job_id, _, _ in found.jobs]
            for name, letter in zip(names, fail_rest(self.world, names), strict=True):
                assert letter == "s"
                self.order[name[0]].remove(name)


@pytest.mark.parametrize("seed", range(4))
def test_sequences_never_overlap_or_reorder(world: World, seed: int) -> None:
    walk = Walk(world, seed)

    for _ in range(250):
        getattr(walk, walk.dice.choice(walk.ACTS))(walk.dice.choice("abc"))

    assert all(walk.ended.values())
    for group, ended in walk.ended.items():
        assert ended == walk.order[group][: len(ended)]
