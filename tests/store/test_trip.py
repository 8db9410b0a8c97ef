"""A round trip's thinking, driven by hand: no server, no socket, no clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from redis import exceptions

from jobfleet import FleetFull
from jobfleet.errors import ConfigError, JobfleetError, ScriptContractError, StoreUnavailable
from jobfleet.store import trip as module
from jobfleet.store.call import FOR_FAKE, Call, Reply
from jobfleet.store.script import Script, parse_header
from jobfleet.store.trip import Step, Trip, only, trip
from tests.support.clock import Clock

HEADER = parse_header(
    "probe",
    "-- probe: a script of these tests.\n"
    "-- FLAGS   -\n"
    '-- RETURNS {"done", number} | {"empty"}\n'
    "-- EMITS   -\n"
    "-- COST    O(1)\n",
)
WORDS = frozenset({b"done", b"empty"})
WRITER = Script("probe", HEADER, b"#!lua\nsource", b"source", "5f" * 20, read_only=False, words=WORDS)
READER = Script("probe", HEADER, b"#!lua\nsource", b"source", "5f" * 20, read_only=True, words=WORDS)
AWAY = exceptions.ConnectionError("Connection closed by server.")
LOADING = exceptions.BusyLoadingError("Redis is loading the dataset in memory")
NOSCRIPT = exceptions.NoScriptError("No matching script.")
OOM = exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
DONE = [[b"done", 1], [b"done", 2], [b"done", 3]]


def number(reply: Reply) -> int:
    return int(reply[1]) if len(reply) > 1 else 0


def call(name: str, script: Script = WRITER) -> Call[int]:
    return Call(script, ("key",), (name,), number)


CALLS = [call("a"), call("b"), call("c")]


class Told:
    """A recorder that remembers."""

    def __init__(self) -> None:
        self.trips: list[tuple[int, Any]] = []
        self.stumbles: list[BaseException] = []

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        self.trips.append((len(calls), seconds))

    def stumbled(self, error: BaseException) -> None:
        self.stumbles.append(error)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(random, "uniform", lambda _, high: high)
    return clock


def drive(steps: Trip, clock: Clock, *answers: list[Any]) -> tuple[list[Any], list[Step]]:
    """Answer each exchange in turn; the trip's results and every step it asked for."""
    asked: list[Step] = []
    left = list(answers)
    step = next(steps)
    while True:
        asked.append(step)
        try:
            if isinstance(step, float):
                clock.now += step
                step = next(steps)
            else:
                step = steps.send(left.pop(0))
        except StopIteration as end:
            assert not left
            return end.value, asked


def by_hash(*names: str | int) -> list[tuple[Any, ...]]:
    return [("EVALSHA", "5f" * 20, 1, "key", name) for name in names]


def by_source(*names: str) -> list[tuple[Any, ...]]:
    return [("EVAL", b"#!lua\nsource", 1, "key", name) for name in names]


def test_what_is_answered_at_once_takes_one_exchange(clock: Clock) -> None:
    told = Told()

    results, asked = drive(trip(CALLS, patience=10, url="u", recorder=told), clock, DONE)

    assert results == [1, 2, 3]
    assert asked == [by_hash("a", "b", "c")]
    assert (told.trips, told.stumbles) == ([(3, 0.0)], [])


def test_a_reader_goes_by_the_command_that_cannot_write(clock: Clock) -> None:
    calls = [call("a", READER)]

    _, asked = drive(trip(calls, patience=10, url="u"), clock, [NOSCRIPT], [[b"empty"]])

    assert asked == [[("EVALSHA_RO", "5f" * 20, 1, "key", "a")], [("EVAL_RO", b"#!lua\nsource", 1, "key", "a")]]


def test_fakeredis_always_gets_the_plain_source(clock: Clock) -> None:
    _, asked = drive(trip([call("a", READER)], patience=10, url="u", spelling=FOR_FAKE), clock, [AWAY], [[b"empty"]])

    plain = [("EVAL", b"source", 1, "key", "a")]
    assert asked == [plain, 0.05, plain]


def test_a_script_that_is_not_loaded_goes_by_source_at_once(clock: Clock) -> None:
    told = Told()

    results, asked = drive(
        trip(CALLS, patience=10, url="u", recorder=told), clock, [NOSCRIPT, DONE[1], NOSCRIPT], [DONE[0], DONE[2]]
    )

    assert results == [1, 2, 3]
    assert asked == [by_hash("a", "b", "c"), [*by_source("a"), *by_hash("c")]]  # the first one loads it for the other
    assert told.stumbles == []


@pytest.mark.parametrize("error", [AWAY, LOADING, TimeoutError(), exceptions.ResponseError("MISCONF no disk")])
def test_what_was_not_answered_is_asked_again_after_a_pause(error: BaseException, clock: Clock) -> None:
    told = Told()

    results, asked = drive(
        trip(CALLS, patience=10, url="u", recorder=told), clock, [DONE[0], error, error], [DONE[1], error], [DONE[2]]
    )

    assert results == [1, 2, 3]
    assert asked == [by_hash("a", "b", "c"), 0.05, by_hash("b", "c"), 0.1, by_hash("c")]
    assert told.stumbles == [error, error]
    assert told.trips == [(3, pytest.approx(0.15))]


def test_a_call_that_was_sent_by_source_goes_by_hash_after_an_outage(clock: Clock) -> None:
    _, asked = drive(trip(CALLS[:1], patience=10, url="u"), clock, [NOSCRIPT], [AWAY], [DONE[0]])

    assert asked == [by_hash("a"), by_source("a"), 0.05, by_hash("a")]


def test_pauses_double_up_to_a_second(clock: Clock) -> None:
    _, asked = drive(trip(CALLS[:1], patience=None, url="u"), clock, *[[AWAY]] * 8, [DONE[0]])

    assert [step for step in asked if isinstance(step, float)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_a_pause_takes_half_to_all_of_its_time_at_random(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, _: low)

    _, asked = drive(trip(CALLS[:1], patience=None, url="u"), clock, [AWAY], [AWAY], [DONE[0]])

    assert [step for step in asked if isinstance(step, float)] == [0.025, 0.05]


def test_patience_ends_before_a_pause_that_would_exceed_it(clock: Clock) -> None:
    steps = trip(CALLS[:1], patience=1.0, url="redis://ann:***@host/0")

    with pytest.raises(StoreUnavailable) as caught:
        drive(steps, clock, *[[AWAY]] * 5)

    assert clock.now == pytest.approx(1_000.75)
    assert str(caught.value) == (
        "No Redis at redis://ann:***@host/0 (Connection closed by server). Start it there, or correct the URL."
    )


def test_no_patience_means_one_exchange(clock: Clock) -> None:
    with pytest.raises(StoreUnavailable):
        drive(trip(CALLS, patience=0, url="u"), clock, [DONE[0], AWAY, AWAY])


def test_a_script_is_loaded_though_patience_is_none_at_all(clock: Clock) -> None:
    results, _ = drive(trip(CALLS[:1], patience=0, url="u"), clock, [NOSCRIPT], [DONE[0]])

    assert results == [1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OOM, FleetFull),
        (exceptions.AuthenticationError("Authentication required."), ConfigError),
        (exceptions.NoPermissionError("User bob has no permissions"), ConfigError),
    ],
)
def test_a_final_error_is_the_value_of_its_call_alone(
    error: BaseException, kind: type[JobfleetError], clock: Clock
) -> None:
    results, asked = drive(trip(CALLS, patience=10, url="u"), clock, [DONE[0], error, AWAY], [DONE[2]])

    assert (results[0], type(results[1]), results[2]) == (1, kind, 3)
    assert asked == [by_hash("a", "b", "c"), 0.05, by_hash("c")]


@pytest.mark.parametrize("heals", [True, False])
def test_a_script_that_failed_is_tried_once_more_and_is_told_so(heals: bool, clock: Clock) -> None:
    script = replace(WRITER, anyway=0)
    calls = [call("a", script), call("b", script)]
    error = exceptions.ResponseError("WRONGTYPE Operation against a key")

    results, asked = drive(trip(calls, patience=10, url="u"), clock, [DONE[0], error], [DONE[1] if heals else error])

    assert asked == [by_hash("a", "b"), by_hash(1)]
    assert results[0] == 1
    assert results[1] == 2 if heals else isinstance(results[1], ScriptContractError)


@pytest.mark.parametrize("reply", [[b"dome", 1], [], None, b"done", 1])
def test_a_reply_outside_of_the_contract_is_an_error_of_ours_and_of_its_call_alone(reply: Any, clock: Clock) -> None:
    results, _ = drive(trip(CALLS, patience=10, url="u"), clock, [DONE[0], reply, DONE[2]])

    assert (results[0], results[2]) == (1, 3)
    with pytest.raises(ScriptContractError, match="probe returned"):
        only(results[1:2])


def test_a_reply_that_cannot_be_read_is_an_error_of_its_call_alone(clock: Clock) -> None:
    results, _ = drive(trip(CALLS, patience=10, url="u"), clock, [DONE[0], [b"done", b"no number"], DONE[2]])

    assert (results[0], results[2]) == (1, 3)
    with pytest.raises(ScriptContractError, match="probe returned a reply that cannot be read"):
        only(results[1:2])


def test_nothing_to_run_is_answered_without_a_result(clock: Clock) -> None:
    results, asked = drive(trip([], patience=10, url="u"), clock, [])

    assert (results, asked) == ([], [[]])


def test_only_gives_the_value_of_one_call() -> None:
    assert only([7]) == 7


def test_only_raises_the_error_of_one_call() -> None:
    error = FleetFull()

    with pytest.raises(FleetFull) as caught:
        only([error])

    assert caught.value is error
