"""The long way, where the short one does not do: driven by hand, then on a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.clock import monotonic
from jobfleet.demo.jobs import add
from jobfleet.errors import ScriptContractError
from jobfleet.store.call import Call, Command
from jobfleet.store.calls.control import pause, resume
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Entry
from jobfleet.store.trip import REMEMBERED, Detours, ServerClock, straight, trip

LANE = Keyspace("jobfleet").lane("default", 0)
SHORT = enqueue(LANE, [Entry(LANE.id_prefix + "a", 2, "", "", b"x")])
OTHER = enqueue(Keyspace("jobfleet").lane("mail", 0), [Entry("mail.0.a", 2, "", "", b"x")])
DONE = [b"enqueued", b"c"]
DONE_AT_LENGTH = [b"enqueued", b"1795643456650487", b"c"]


def test_a_longer_way_is_gone_in_the_next_exchange_by_its_call_alone() -> None:
    detours = Detours()
    clock = ServerClock()
    clock.learn((b"1", b"0"), monotonic())
    steps = trip([SHORT, OTHER], patience=0, url="u", detours=detours, clock=clock)

    first = next(steps)
    second = steps.send([[b"longer"], DONE])
    with pytest.raises(StopIteration) as end:
        steps.send([DONE_AT_LENGTH])

    assert first == [SHORT.by_hash(), OTHER.by_hash()]
    (command,) = cast(list[Command], second)
    assert command[:-1] == instead(SHORT).by_hash()[:-1]  # but for its deadline
    assert end.value.value == [[True], [True]]


def test_what_an_exchange_has_answered_so_is_no_straight_end() -> None:
    assert straight([SHORT], [DONE]) == [[True]]
    assert straight([SHORT], [[b"longer"]]) is None


def test_the_longer_way_is_remembered_for_its_lane_and_for_a_while() -> None:
    detours = Detours()
    assert not detours

    assert detours.longer(SHORT, 100.0).by_hash() == instead(SHORT).by_hash()

    assert detours
    assert named(detours.chosen([SHORT, OTHER], 100.0)) == ["enqueue", "enqueue_plain"]
    assert named(detours.chosen([SHORT, OTHER], 100.0 + REMEMBERED)) == ["enqueue_plain", "enqueue_plain"]
    assert not detours


def test_a_script_without_a_longer_way_may_not_ask_for_one() -> None:
    with pytest.raises(
        ScriptContractError,
        match="enqueue_plain returned b'longer': its fast path was refused, and it has no general script",
    ):
        Detours().longer(SHORT._replace(instead=None), 0.0)


def instead(call: Call[Any]) -> Call[Any]:
    assert call.instead is not None
    return call.instead()


def named(calls: Sequence[Call[Any]]) -> list[str]:
    return [call.script.name for call in calls]


class Told:
    """A recorder that remembers which scripts were run."""

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        self.scripts += named(calls)

    def stumbled(self, error: BaseException) -> None:
        raise error

    def counted(self, verb: str, by: int) -> None:
        pass


def test_a_client_finds_the_longer_way_and_back(redis_url: str, raw: redis.Redis) -> None:
    told = Told()
    with Fleet(redis_url) as fleet:
        fleet.enqueue(Job("first", add, (1, 2)))
        fleet.store.recorder = told
        fleet.store.run(pause(LANE, by=None))
        ids = [fleet.enqueue(Job("later", add, (1, 2))) for _ in range(2)]
        fleet.store.run(resume(LANE))
        fleet.store.detours.chosen([], float("inf"))  # as if that was long ago
        ids.append(fleet.enqueue(Job("last", add, (1, 2))))

        assert told.scripts == ["pause", "enqueue", "enqueue", "resume", "enqueue_plain"]
        assert [fleet.poll(job_id).status for job_id in ids] == [JobStatus.QUEUED] * 3
