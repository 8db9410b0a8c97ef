"""The stored line of a limit, as Python and as Lua read it: on a real server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from jobfleet.model.limits import BURST_MAX, CONCURRENCY_MAX, UNLIMITED, Limit, LimitChange
from tests.support.lua import library
from tests.support.server import RedisServer

READ = (
    library("group/limit")
    + """
local limits = limits_of(ARGV[1] ~= '' and ARGV[1], ARGV[2] ~= '' and limits_of(ARGV[2]) or nil)
local reply = {}
for at, name in ipairs({'most', 'every', 'burst', 'weight'}) do reply[at] = string.format('%.17g', limits[name]) end
return reply
"""
)
CHANGE = library("group/limit") + "return changed_limit(ARGV[1], ARGV[2])"
RATES = st.one_of(
    st.none(),
    st.just(UNLIMITED),
    st.builds(lambda count, period: f"{count}/{period}", st.integers(1, 5000), st.sampled_from(("s", "min", "h", "d"))),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "concurrency": st.one_of(st.none(), st.just(UNLIMITED), st.integers(1, CONCURRENCY_MAX)),
    "rate": RATES,
    "burst": st.one_of(st.none(), st.integers(1, BURST_MAX)),
    "weight": st.one_of(st.none(), st.integers(1, 10_000).map(lambda n: n / 100)),
}
CHANGES = st.fixed_dictionaries(FIELDS).map(lambda fields: LimitChange(**cast(Any, fields)))


@pytest.fixture(scope="module")
def lua(server: RedisServer) -> Iterator[redis.Redis]:
    """The session's server."""
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        yield client


def changed(lua: redis.Redis, line: str, change: LimitChange) -> str:
    return cast(str, cast(Any, lua).eval(CHANGE, 0, line, change.limit().change()))


def in_force(own: Limit, every: Limit) -> tuple[float, float, int, float]:
    """What holds for a group: its own limit, and what that has not set of the limit of all groups."""
    rate = every if own.every_us is None else own
    most = every.concurrency if own.concurrency is None else own.concurrency
    weight = every.weight if own.weight is None else own.weight
    return (
        0.0 if most is None or math.isinf(most) else most,
        rate.every_us or 0.0,
        rate.burst or 1 if rate.every_us else 1,
        weight or 1.0,
    )


def test_each_field_of_a_limit_is_compared() -> None:
    assert {*FIELDS, "aging"} == {*LimitChange._fields}  # aging has a field of its own in Redis


@given(own=st.lists(CHANGES, max_size=3), every=st.lists(CHANGES, max_size=2))
def test_python_and_lua_read_the_same(lua: redis.Redis, own: list[LimitChange], every: list[LimitChange]) -> None:
    lines = ["", ""]
    for at, changes in enumerate((own, every)):
        for change in changes:
            lines[at] = changed(lua, lines[at], change)

    most, each, burst, weight = (float(part) for part in cast(Any, lua).eval(READ, 0, *lines))

    expected = in_force(*(Limit.parse(line) for line in lines))
    assert (most, each, burst if each else 1, weight) == expected


@given(before=CHANGES, change=CHANGES)
def test_a_change_sets_what_it_gives_and_keeps_the_rest(
    lua: redis.Redis, before: LimitChange, change: LimitChange
) -> None:
    first = Limit.parse(changed(lua, "", before))

    after = Limit.parse(changed(lua, changed(lua, "", before), change))

    given_ = Limit.parse(change.limit().change().replace("=", "-"))
    for name, value in given_._asdict().items():
        is_unset = change.limit()._asdict()[name] == 0 and name == "burst"
        kept = None if is_unset else first._asdict()[name]
        assert after._asdict()[name] == (kept if value is None else value), name
