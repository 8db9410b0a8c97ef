from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.calls.flow import Edge, block
from jobfleet.store.keys import BLOCKED
from jobfleet.store.records import Entry, Holder
from tests.lua.enqueue.test_enqueue_guards import HELD
from tests.lua.world import World

A, B = Edge("mail.0.a", 0, "c"), Edge("other.0.b", 1, "w")


def entry(world: World, *, when: str = "", meta: str = "", band: int = 2) -> Entry:
    return Entry(world.id("k"), band, when, meta, b"call")


def test_a_job_stands_behind_its_guard_where_no_claim_looks(world: World) -> None:
    call = block(world.lane, entry(world, when="+5", band=1), [A, B], ttl_ms=60_000)

    assert world.run(call) is True

    state = world.state()
    assert state.pop("parents:mail.0.k")[":open"] == "3"
    assert world.raw.zscore(world.lane.ready[1], "mail.0.k") == BLOCKED
    del state["ready:1"]
    assert state == {"job:mail.0.k": "call", "totals": {"enqueued": "1"}}
    assert world.raw.hgetall(world.lane.parents(world.id("k"))) == {
        b":when": b"+5", b":open": b"3", b":guard": b"?c 0", b"mail.0.a": b"?c 0", b"other.0.b": b"?w 1",
    }  # fmt: skip
    assert world.again(call) is False


def test_more_parents_are_named_in_a_further_call(world: World) -> None:
    world.run(block(world.lane, entry(world), [A], ttl_ms=60_000))

    assert world.run(block(world.lane, entry(world), [A, B], ttl_ms=60_000)) is False

    assert world.raw.hmget(world.lane.parents(world.id("k")), ":open", "other.0.b") == [b"3", b"?w 1"]


def test_what_expires_is_kept_with_it(world: World) -> None:
    world.run(block(world.lane, entry(world, meta="x +5000000\nr 7"), [A], ttl_ms=60_000))

    assert world.state()["meta"]["mail.0.k"].endswith("\nr 7")
    assert list(world.state()["expiry"]) == ["mail.0.k"]


def test_a_job_that_waits_for_nobody_or_has_been_is_left_alone(world: World) -> None:
    world.seed.waiting("k")
    assert world.refused(block(world.lane, entry(world), [A], ttl_ms=60_000)) is None

    world.raw.flushall()
    world.raw.set(world.lane.result(world.id("k")), "completed 1 1\n")
    assert world.refused(block(world.lane, entry(world), [A], ttl_ms=60_000)) is None


def test_listeners_hear_of_it(world: World) -> None:
    with world.listening("mail.0.k") as heard:
        world.run(block(world.lane, entry(world), [A], ttl_ms=60_000))

    assert heard == [("events:mail.0.k", "1 enqueued k 0 0 now"), ("events", "1 enqueued k 0 0 now")]


@pytest.mark.parametrize(("scope", "kept"), [("", "0"), ("\ns q", "0"), ("\ns 60000000", "now+60s")])
def test_it_takes_its_unique_key_and_holds_it_while_it_waits(world: World, scope: str, kept: str) -> None:
    call = block(world.lane, entry(world, meta=f"u once{scope}"), [A], ttl_ms=60_000)

    assert world.run(call) is True

    assert world.state()["unique"] == {"once": f"mail.0.k {kept} now"}
    assert world.state().get("locks") == ({"once": kept} if kept != "0" else None)
    assert world.again(call) is False


@pytest.mark.parametrize(("holder", "status", "has_started"), HELD)
def test_a_key_that_another_holds_is_refused(world: World, holder: object, status: str, has_started: bool) -> None:
    assert callable(holder)
    job_id = holder(world)
    world.seed.holds("once", job_id)

    said = world.refused(block(world.lane, entry(world, meta="u once"), [A], ttl_ms=60_000))

    assert said == Holder(job_id, status, has_started)


def test_a_key_that_it_holds_itself_though_it_is_forgotten_is_no_other_s(world: World) -> None:
    world.seed.holds("once", world.id("k"), till=30)

    assert world.refused(block(world.lane, entry(world, meta="u once"), [A], ttl_ms=60_000)) is None


def test_the_journal_keeps_it_once(world: World) -> None:
    world.seed.journal()

    world.run(block(world.lane, entry(world, band=1), [A], ttl_ms=60_000))

    line = f"enqueued mail.0.k 0 1 {BLOCKED}"
    raw: Any = world.raw
    assert raw.xrange(world.lane.journal)[0][1][b"1"].decode() == line
    assert world.state()["journal"][0]["1e"] == "call"
    world.again(block(world.lane, entry(world, band=1), [A], ttl_ms=60_000))
