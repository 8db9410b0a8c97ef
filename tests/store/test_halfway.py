"""Scripts that a key of a wrong type ends halfway: after the repair, the repeated call completes the job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobfleet.model.limits import Demand
from jobfleet.store.calls.control import replay
from jobfleet.store.calls.cron import fire
from jobfleet.store.calls.enqueue import enqueue, replace
from jobfleet.store.calls.flow import Blocked, Edge, block, block_many
from jobfleet.store.calls.inspect import explain
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.limits import Passing, pass_gates
from jobfleet.store.calls.run import Emission, emit_chunks, signal
from jobfleet.store.calls.settle import complete, settle, wait, withhold
from jobfleet.store.keys import BLOCKED
from jobfleet.store.records import Entry
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.world import World

META = "x +5000000\nr 7\nu key\ns 60000000\ni tag:red"
PARENTS = (Edge("mail.0.a", 0, "c"), Edge("other.0.b", 1, "w"))
LEASE_US = 60_000_000


@pytest.fixture
def world(redis_url: str, raw: redis.Redis) -> Iterator[World]:
    store = Store(target(redis_url), patience=2.0)
    yield World(store, raw)
    store.close()


def damage(world: World, name: str) -> None:
    """Put a text where the scripts expect another type."""
    world.raw.set(world.lane.tag + name, "no such type")


def whole(world: World, suffix: str) -> bool:
    """Whether a job with `META` has everything that it needs."""
    job_id, lane, raw = world.id(suffix), world.lane, world.raw
    return bool(
        raw.exists(lane.job(job_id))
        and raw.zscore(lane.ready[2], job_id)
        and raw.hexists(lane.meta, job_id)
        and raw.zscore(lane.expiry, job_id)
        and raw.hexists(lane.unique, "key")
        and raw.zscore(lane.locks, "key")
        and raw.zcard(lane.indexes) == 1
    )


@pytest.mark.parametrize("name", ["meta", "expiry", "unique", "locks", "ready:2", "indexes"])
def test_an_enqueued_job_is_whole(world: World, name: str) -> None:
    damage(world, name)

    assert world.run(enqueue(world.lane, [Entry(world.id("k"), 2, "", META, b"call")])) == [True]
    assert whole(world, "k")


@pytest.mark.parametrize("name", ["meta", "expiry", "unique", "locks", "ready:2", "indexes"])
def test_a_blocked_job_is_whole(world: World, name: str) -> None:
    damage(world, name)

    assert world.run(block(world.lane, Entry(world.id("k"), 2, "", META, b"call"), PARENTS, ttl_ms=60_000)) is True
    assert whole(world, "k")
    assert world.raw.zscore(world.lane.ready[2], world.id("k")) == BLOCKED
    assert world.raw.hget(world.lane.parents(world.id("k")), ":open") == b"3"


@pytest.mark.parametrize("name", ["ready:2", "totals", "watched", "parents:mail.0.k", "dependants:mail.0.k"])
def test_blocked_jobs_of_one_call_are_whole(world: World, name: str) -> None:
    damage(world, name)
    items = [
        Blocked(Entry(world.id(suffix), 2, "", "", b"call"), PARENTS, ["mail.0.z"], is_guarded=True) for suffix in "kl"
    ]

    letters = world.run(block_many(world.lane, items, ttl_ms=60_000))
    assert set(letters) <= {"c", "w"}
    for suffix in "kl":
        job_id, lane, raw = world.id(suffix), world.lane, world.raw
        assert raw.exists(lane.job(job_id))
        assert raw.zscore(lane.ready[2], job_id) == BLOCKED
        assert raw.hget(lane.parents(job_id), ":open") == b"3"
        assert raw.zrange(lane.dependants(job_id), 0, -1) == [b"mail.0.z"]
        assert raw.hexists(lane.watched, job_id)


@pytest.mark.parametrize("name", ["meta", "expiry", "unique", "locks", "ready:2", "indexes", "fired"])
def test_the_job_of_a_fire_is_whole(world: World, name: str) -> None:
    damage(world, name)
    entry = Entry(world.id("k"), 2, str(world.now), META, b"call")

    assert world.run(fire(world.lane, "nightly", 17_000_000, entry, overlap="allow")).word == "fired"
    assert whole(world, "k")
    assert world.raw.hget(world.lane.fired, "nightly") == b"17000000 mail.0.k"


@pytest.mark.parametrize("name", ["meta", "ready:2", "grouped", "totals"])
def test_the_job_of_a_fire_waits_with_its_group(world: World, name: str) -> None:
    damage(world, name)
    entry = Entry(world.id("k"), 2, str(world.now), "g group", b"call")

    assert world.run(fire(world.lane, "nightly", 17_000_000, entry, overlap="allow")).word == "fired"
    assert world.raw.zscore(world.lane.ready[2], world.id("k"))
    assert world.raw.zscore(world.lane.grouped, b"group") or world.raw.zcard(world.lane.grouped) == 1


@pytest.mark.parametrize("name", ["expiry", "indexes", "locks"])
def test_a_replacing_job_is_whole(world: World, name: str) -> None:
    world.seed.holds("key", world.seed.waiting("a", meta="u key"))
    damage(world, name)
    entry = Entry(world.id("b"), 2, "", META, b"call")

    call = replace(world.lane, entry, key="key", holder=world.id("a"), ttl_ms=600_000)

    assert world.run(call) == "replaced"
    assert whole(world, "b")
    assert world.raw.zcard(world.lane.ready[2]) == 1


@pytest.mark.parametrize("name", ["tries", "meta", "watched", "unique", "ready:2", "grouped"])
def test_a_replayed_job_is_whole(world: World, name: str) -> None:
    world.seed.dead("a", meta="g group\nu key")
    world.raw.zadd(world.lane.dependants(world.id("a")), {"mail.0.b": 0})
    damage(world, name)

    assert world.run(replay(world.lane, [world.id("a")], by="ann")) == ["replayed"]
    assert world.raw.exists(world.lane.job(world.id("a")))
    assert world.raw.zcard(world.lane.ready[2]) == 1
    assert world.raw.zcard(world.lane.grouped) == 1
    assert world.raw.hget(world.lane.meta, world.id("a")) == b"g group\nu key"


@pytest.mark.parametrize("value", ["", "no number"])
def test_a_lane_whose_longest_lease_was_lost_learns_it_again(world: World, value: str) -> None:
    world.seed.waiting("a")
    world.run(claim(world.lane, child="w.1", nonce=1, lease_us=LEASE_US, limit=5))
    world.raw.hdel(world.lane.lane, "longest")
    if value:
        world.raw.hset(world.lane.lane, "longest", value)
    world.seed.waiting("b")

    answer = world.run(claim(world.lane, child="w.1", nonce=2, lease_us=LEASE_US, limit=5))

    assert [grant.id for grant in answer.grants] == [world.id("b")]
    assert world.raw.hget(world.lane.lane, "longest") == str(LEASE_US).encode()


@pytest.mark.parametrize(("state", "field"), [("open", "until"), ("half", "ok")])
def test_a_breaker_with_a_field_that_is_not_a_number_is_repaired(world: World, state: str, field: str) -> None:
    demand = Demand("breaker:function:f", words="0.5 2 2 60000000 1000000")
    world.raw.hset(world.keys.gate(demand.gate), mapping={"state": state, field: "soon"})

    seen = world.run(pass_gates(world.keys, "c", [Passing(world.id("a"), 7, (demand,))]))

    assert seen.refusals == (demand.gate if state == "open" else "",), "it has lost its end: somebody must close it"
    assert world.raw.hget(f"{world.keys.tag}aside:gate:{demand.gate}:fields", field) == b"soon"


def test_a_damaged_stream_or_step_of_a_job_harms_no_other_job_of_its_call(world: World) -> None:
    for suffix in "abc":
        world.seed.running(suffix)
    damage(world, "chunks:mail.0.b")
    damage(world, "steps:mail.0.b")

    emissions = [Emission(world.id(suffix), 7, 60_000, 1, [b"out"]) for suffix in "abc"]
    assert world.run(emit_chunks(world.lane, emissions, most=10, most_bytes=1000)) == "ooo"
    waits = [wait(world.id(suffix), 7, key="s#1", name="", delay_us=9_000_000, ttl_ms=60_000) for suffix in "abc"]

    assert world.run(settle(world.lane, waits)).letters == "sss"
    assert world.raw.zcard(world.lane.ready[2]) == 3
    assert world.raw.hexists(world.lane.steps(world.id("b")), "w:s#1")


def test_a_damaged_step_stops_neither_a_signal_nor_a_look_at_its_job(world: World) -> None:
    job_id = world.seed.waiting("a")
    damage(world, "steps:mail.0.a")
    assert world.run(signal(world.lane, job_id, "go", b"1", by=None, nonce="n", ttl_ms=60_000)) == "s"

    damage(world, "steps:mail.0.a")
    assert world.run(explain(world.lane, job_id))


@pytest.mark.parametrize("member", ["sg\0no place\0mail.0.x", "fg\0x", "sg", "hg"])
def test_foreign_entries_of_a_sequence_let_its_jobs_run(world: World, member: str) -> None:
    world.raw.zadd(world.lane.grouped, {member: 0})
    entries = [Entry(world.id(suffix), 2, "", "g g\no s", b"call") for suffix in "ab"]
    assert world.run(enqueue(world.lane, entries)) == [True, True]

    for nonce, suffix in enumerate("ab", start=1):
        (grant,) = world.run(claim(world.lane, child="w.1", nonce=nonce, lease_us=LEASE_US, limit=5)).grants
        assert grant.id == world.id(suffix)
        ends = [complete(grant.id, grant.token, record=b"r", ttl_ms=1000, duration_us=5)]
        assert world.run(settle(world.lane, ends)).letters == "s"


def test_a_run_that_never_started_gets_one_token_back(world: World) -> None:
    world.seed.running("a")
    world.raw.hset(world.lane.conf, "limit", "- 1000000 100 - 1/s")
    full = world.now + 50_000_000
    world.raw.zadd(world.lane.rates, {"": full})
    damage(world, "ready:2")

    answer = world.run(settle(world.lane, [withhold(world.id("a"), 7, due=world.now, function="f")]))

    assert answer.letters == "s"
    assert full - float(str(world.raw.zscore(world.lane.rates, ""))) == 1_000_000
