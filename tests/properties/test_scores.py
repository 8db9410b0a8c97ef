"""The scores of jobs that wait, as Python and as Lua have them: on a real server."""

from __future__ import annotations

import inspect as source
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from jobfleet.clock import to_us
from jobfleet.model.option_checks import LATEST
from jobfleet.store import keys
from tests.support.lua import library
from tests.support.server import RedisServer

LIBRARY = library("base/number", "waiting/score")
TO_TEXT = "if type(value) == 'number' then return int(value) end return value and tostring(value) or 'false'"
LATEST_US = to_us(LATEST.timestamp())
NUMBERS = ("GROUPED", "AGE", "WITHHELD", "BLOCKED")
OF_SCORE: list[Callable[[int], Any]] = [
    keys.is_blocked, keys.is_withheld, keys.ungrouped, keys.due_of_score,
]  # fmt: skip
NOW_MOST = 3_000_000_000_000_000
"""No job is withheld that is due later, since only a job that was claimed is: year 2065."""
DUES = st.integers(0, LATEST_US)


def withheld_score(due: int) -> int:
    """The score of a job whose function is paused. One that was due before WITHHELD - AGE counts as due then."""
    return max(due, keys.WITHHELD - keys.AGE) + keys.AGE


SCORES = st.one_of(
    DUES,
    DUES.map(keys.grouped_score),
    st.integers(0, NOW_MOST).map(withheld_score),
    st.just(keys.BLOCKED),
)


@pytest.fixture(scope="module")
def lua(server: RedisServer) -> Iterator[Callable[[str, object], str]]:
    """Evaluates an expression of `x` among the shared functions."""
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:

        def value_of(expression: str, x: object = 0) -> str:
            script = f"{LIBRARY}local x = ARGV[1] local value = {expression} {TO_TEXT}"
            return cast(str, cast(Any, client).eval(script, 0, str(x)))

        yield value_of


@pytest.fixture(scope="module")
def raw_lane(server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client of the session's server."""
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        yield client


def as_lua(value: object) -> str:
    return str(value).lower()


def is_of_score(name: str, function: Callable[..., object]) -> bool:
    return not name.startswith("_") and ("score" in name or "score" in source.signature(function).parameters)


def test_both_have_the_same_numbers_and_functions(lua: Callable[..., str]) -> None:
    assert [lua(name) for name in NUMBERS] == [str(getattr(keys, name)) for name in NUMBERS]
    functions = {name for name, function in source.getmembers(keys, source.isfunction) if is_of_score(name, function)}
    compared = {function.__name__ for function in (keys.grouped_score, withheld_score, *OF_SCORE)}
    assert {name for name in functions if not name.endswith("_bounds")} | {withheld_score.__name__} == compared
    assert all(lua(f"type({name}) == 'function'") == "true" for name in compared)


@given(due=DUES)
@example(due=0)
@example(due=keys.WITHHELD - keys.AGE - 1)
@example(due=keys.WITHHELD - keys.AGE)
def test_both_write_the_same_score(lua: Callable[..., str], due: int) -> None:
    for function, most in ((keys.grouped_score, LATEST_US), (withheld_score, NOW_MOST)):
        x = min(due, most)
        assert lua(f"{function.__name__}(tonumber(x))", x) == as_lua(function(x)), function.__name__


@given(score=SCORES)
@example(score=-1)
@example(score=0)
@example(score=keys.WITHHELD - 1)
@example(score=keys.WITHHELD)
@example(score=keys.BLOCKED - 1)
def test_both_read_the_same_of_a_score(lua: Callable[..., str], score: int) -> None:
    for function in OF_SCORE:
        assert lua(f"{function.__name__}(x)", score) == as_lua(function(score)), function.__name__


@given(due=st.integers(0, NOW_MOST))
def test_a_due_time_comes_back_from_its_score(due: int) -> None:
    assert keys.due_of_score(due) == due
    assert keys.due_of_score(keys.grouped_score(due)) == due
    assert keys.due_of_score(withheld_score(due)) == max(due, keys.WITHHELD - keys.AGE)


@given(due=DUES)
def test_the_regimes_lie_apart(due: int) -> None:
    assert keys.grouped_score(due) < 0 <= due < keys.WITHHELD
    assert keys.WITHHELD <= withheld_score(min(due, NOW_MOST)) < keys.BLOCKED


@given(dues=st.lists(st.integers(0, NOW_MOST), max_size=8), bounds=st.tuples(DUES, DUES), is_open=st.booleans())
def test_bounds_find_the_jobs_that_are_due_between_them(
    raw_lane: redis.Redis, dues: list[int], bounds: tuple[int, int], is_open: bool
) -> None:
    start, stop = ("-inf", "+inf") if is_open else (str(min(bounds)), f"({max(bounds)}")
    members = {
        f"{regime} {n}": score_of(due)
        for n, due in enumerate(dues)
        for regime, score_of in (("plain", int), ("grouped", keys.grouped_score), ("withheld", withheld_score))
    }
    raw_lane.delete("ready")
    raw_lane.zadd("ready", {**members, "blocked": keys.BLOCKED})

    within = [n for n, due in enumerate(dues) if is_open or min(bounds) <= due < max(bounds)]
    found = {name: set(cast(Any, raw_lane).zrangebyscore("ready", *limits)) for name, limits in {
        "plain": keys.plain_bounds(start, stop), "grouped": keys.grouped_bounds(start, stop),
        "withheld": keys.WITHHELD_BOUNDS, "blocked": keys.BLOCKED_BOUNDS,
    }.items()}  # fmt: skip

    assert {name for name in found["plain"] if name.startswith("plain")} == {f"plain {n}" for n in within}
    assert found["grouped"] == {f"grouped {n}" for n in within}
    assert found["withheld"] == {f"withheld {n}" for n in range(len(dues))}
    assert found["blocked"] == {"blocked"}
