"""Until when a call may run: the store tells by what it knows of Redis's clock, and asks again when that was wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
from redis import exceptions

from jobfleet.clock import monotonic
from jobfleet.errors import StoreUnavailable
from jobfleet.store import trip as module
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, Command
from jobfleet.store.calls.control import pause, resume
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from jobfleet.store.trip import ASK, FRESH, ServerClock, trip
from tests.support.state import server_now

LANE = Keyspace("jobfleet").lane("mail", 0)
PAUSE = pause(LANE, by="ann").named()
LATE, PAUSED = [b"too-late"], [b"paused", 1]
AWAY = exceptions.ConnectionError("Connection closed by server.")
S = 1_000_000


def deadlines(step: Any) -> list[int]:
    return [int(command[-1]) for command in cast(list[Command], step)]


class Hand:
    """A trip that is driven by hand, on a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, patience: float | None) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        self.clock = ServerClock()
        self.trip = trip([PAUSE], patience=patience, url="u", attempt=5.0, clock=self.clock)

    def send(self, replies: list[Any] | None) -> Any:
        return self.trip.send(replies)


Driven = Callable[[float | None], Hand]


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> Driven:
    return lambda patience: Hand(monkeypatch, patience)


def test_the_clock_is_asked_first_and_the_deadline_is_patience_after_the_first_sending(driven: Driven) -> None:
    hand = driven(10.0)

    assert hand.send(None) == [ASK]
    hand.now += 0.5
    assert deadlines(hand.send([[b"5000", b"250000"]])) == [5010 * S + 250_000]


def test_a_repetition_has_the_same_deadline_and_the_same_id(driven: Driven) -> None:
    hand = driven(10.0)
    hand.send(None)
    (first,) = hand.send([[b"5000", b"0"]])
    hand.send([AWAY])
    hand.now += 3.0

    assert hand.send(None) == [ASK]  # what answers now may be another server
    (second,) = hand.send([[b"5003", b"0"]])

    assert second == first


def test_a_call_that_was_too_late_by_a_wrong_clock_is_sent_again_by_the_right_one(driven: Driven) -> None:
    hand = driven(10.0)
    hand.clock.learn([b"1000", b"0"], hand.now)
    assert deadlines(hand.send(None)) == [1010 * S]

    assert hand.send([LATE]) == [ASK]
    assert deadlines(hand.send([[b"5000", b"0"]])) == [5010 * S]
    with pytest.raises(StopIteration) as end:
        hand.send([PAUSED])
    assert end.value.value == [True]


def test_who_has_no_patience_left_for_a_late_call_is_told_that_redis_is_away(driven: Driven) -> None:
    hand = driven(10.0)
    hand.clock.learn([b"5000", b"0"], hand.now)
    hand.send(None)
    hand.now += 11.0

    with pytest.raises(StoreUnavailable, match="the request reached it too late"):
        hand.send([LATE])


def test_with_endless_patience_each_attempt_has_a_deadline_of_its_own(driven: Driven) -> None:
    hand = driven(None)
    hand.clock.learn([b"5000", b"0"], hand.now)
    assert deadlines(hand.send(None)) == [5005 * S]
    hand.send([AWAY])
    hand.now += 30.0

    hand.send(None)
    assert deadlines(hand.send([[b"5030", b"0"]])) == [5035 * S]


def test_an_attempt_may_take_as_long_as_its_answer_is_waited_for_however_short_patience_is(driven: Driven) -> None:
    hand = driven(0.0)
    hand.clock.learn([b"5000", b"0"], hand.now)

    assert deadlines(hand.send(None)) == [5005 * S]


def test_the_estimate_is_never_behind_the_servers_clock_and_is_not_believed_for_long(raw: redis.Redis) -> None:
    clock, asked = ServerClock(), monotonic()
    clock.learn([str(part).encode() for part in raw.time()], asked)

    for _ in range(50):
        assert server_now(raw) <= clock.at(monotonic())
    assert clock.is_known(asked)
    assert not clock.is_known(asked + FRESH)
    clock.forget()
    assert not clock.is_known(asked)


@pytest.mark.parametrize("wrong_by", [-3600, 3600])
def test_a_wrong_estimate_costs_a_round_trip_and_no_call(redis_url: str, raw: redis.Redis, wrong_by: int) -> None:
    store = Store(target(redis_url), patience=2.0)
    seconds, micros = raw.time()
    store.clock.learn([str(seconds + wrong_by).encode(), str(micros).encode()], monotonic())

    assert [store.run(pause(LANE, by="ann")), store.run(resume(LANE))] == [True, True]
    store.close()


@pytest.mark.parametrize("patience", [None, 2.0])
async def test_guarded_calls_run_together_with_others_on_a_loop(redis_url: str, patience: float | None) -> None:
    store = AsyncStore(target(redis_url), patience=patience)
    calls: list[Call[Any]] = [pause(LANE, by="ann"), resume(LANE), resume(LANE)]

    assert await store.run_many(calls) == [True, True, False]
    assert await store.run_many(calls) == [True, True, False]
    await store.close()


def test_the_same_call_run_twice_is_two_calls(redis_url: str) -> None:
    store, call = Store(target(redis_url), patience=2.0), pause(LANE, by="ann")

    assert [store.run(call), store.run(call)] == [True, False]
    store.close()
