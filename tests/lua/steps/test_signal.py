from __future__ import annotations

import re
from typing import Any

from jobfleet.store.call import Call
from jobfleet.store.calls import run as calls
from jobfleet.store.calls.control import reschedule
from jobfleet.store.calls.settle import settle, wait
from tests.lua.world import World

HOUR_US = 3_600_000_000


def sent(
    world: World, suffix: str, name: str = "go", *, value: bytes = b"1", nonce: str = "n1", **options: Any
) -> Call[str]:
    return calls.signal(world.lane, world.id(suffix), name, value, by="ann", nonce=nonce, ttl_ms=60_000, **options)


def waiting(world: World, suffix: str, name: str = "go", **options: Any) -> str:
    """A job that waits since a run."""
    job_id = world.seed.running(suffix, token=7, **options)
    call = wait(job_id, 7, key=f"x1 {name}", name=name, delay_us=HOUR_US, ttl_ms=60_000)
    assert world.run(settle(world.lane, [call])).letters == "s"
    world.raw.delete(world.lane.wake)
    return job_id


def records(world: World, job_id: str) -> dict[Any, Any]:
    return world.raw.hgetall(world.lane.steps(job_id))


def due(world: World, job_id: str) -> float:
    """Its place in its band."""
    score = world.raw.zscore(world.lane.ready[2], job_id)
    assert score is not None
    return score


def soon(world: World) -> int:
    """A second from now, in µs."""
    return (int(world.raw.time()[0]) + 1) * 1_000_000


def test_a_job_that_waits_for_it_is_due_at_once_and_a_worker_is_woken(world: World) -> None:
    job_id = waiting(world, "a")
    call = sent(world, "a")

    assert world.run(call) == "s"

    assert due(world, job_id) <= soon(world)
    assert world.raw.exists(world.lane.wake) == 1
    assert records(world, job_id)[b"x:go"].endswith(b" n1\n1")
    assert world.raw.hmget(world.lane.totals, "suspended", "signalled") == [b"1", b"1"]
    before = world.state()
    assert world.again(call) == "s"
    assert world.run(sent(world, "a")) == "s"  # the same nonce: its first reply was lost
    assert world.state() == before


def test_one_that_waits_for_something_else_stays_where_it_is(world: World) -> None:
    others = [waiting(world, "a", "stop"), waiting(world, "b"), world.seed.waiting("c", due=600)]
    world.run(reschedule(world.lane, others[1:2], by=None, when=f"+{2 * HOUR_US}"))  # an operator has put it elsewhere
    places = [due(world, job_id) for job_id in others]

    assert [world.run(sent(world, suffix)) for suffix in "abc"] == ["s", "s", "s"]

    assert [due(world, job_id) for job_id in others] == places
    assert world.raw.exists(world.lane.wake) == 0
    assert all(b"x:go" in records(world, job_id) and world.raw.pttl(world.lane.steps(job_id)) > 0 for job_id in others)


def test_the_first_of_a_name_wins(world: World) -> None:
    world.seed.running("a")
    assert world.run(sent(world, "a", value=b"1")) == "s"

    assert world.refused(sent(world, "a", value=b"2", nonce="n2")) == "k"


def test_one_of_a_token_comes_through_though_another_one_came_first(world: World) -> None:
    waits, later, plain = waiting(world, "a", f"{calls.BY_TOKEN}go"), world.seed.running("b"), waiting(world, "c")
    for suffix in "abc":
        assert world.run(sent(world, suffix, value=b"1")) == "s"
    assert due(world, waits) > soon(world), "it waits for a token"

    proven = [sent(world, suffix, value=b"2", nonce="n2", has_token=True) for suffix in "abc"]

    assert [world.run(call) for call in proven] == ["s", "k", "k"], "the first one of a name wins, but for who waits"
    assert due(world, waits) <= soon(world)
    for job_id in (waits, later, plain):
        kept = {name: value.partition(b" ")[2] for name, value in records(world, job_id).items() if name[:2] == b"x:"}
        assert kept == {b"x:go": b"n1\n1", b"x:\x1fgo": b"n2\n2"}
    before = world.state()
    again = [sent(world, suffix, value=b"3", nonce=nonce, has_token=True) for suffix in "abc" for nonce in ("n2", "n3")]
    assert [world.run(call) for call in again] == ["s", "k"] * 3
    assert world.state() == before


def test_a_job_that_has_ended_or_is_unknown_gets_none(world: World) -> None:
    world.seed.completed("a")
    world.seed.dead("b", result=False)

    assert [world.refused(sent(world, suffix)) for suffix in "abx"] == ["f", "f", "u"]


def test_a_job_that_keeps_too_much_gets_none(world: World) -> None:
    job_id = world.seed.running("a")
    world.raw.hset(world.lane.steps(job_id), mapping={"": calls.MOST_STEP_BYTES})

    assert world.refused(sent(world, "a")) == "m"


def test_a_signal_that_came_before_the_end_of_the_run_makes_the_job_due_at_once(world: World) -> None:
    job_id = world.seed.running("a", token=7)
    world.run(sent(world, "a"))
    call = wait(job_id, 7, key="x1 go", name="go", delay_us=HOUR_US, ttl_ms=60_000)

    assert world.run(settle(world.lane, [call])).letters == "s"

    assert due(world, job_id) <= soon(world)
    assert world.raw.exists(world.lane.wake) == 1


def test_a_job_of_a_group_waits_and_continues_in_its_turn(world: World) -> None:
    job_id = waiting(world, "a", meta="x 5", group="eu")
    record: Any = world.raw.hget(world.lane.meta, job_id)
    assert re.fullmatch(rb"k 60000\nw \d{16}\ng eu", record or b"")  # what has started does not expire
    assert due(world, job_id) < 0

    assert world.run(sent(world, "a")) == "s"

    assert world.raw.zcount(world.lane.gdue, "-inf", soon(world)) == 1  # its group is looked at
    assert due(world, job_id) < 0


def test_who_listens_and_the_journal_hear_of_it(world: World) -> None:
    world.seed.running("a")
    world.seed.journal()

    with world.listening(world.id("a")) as heard:
        world.run(sent(world, "a"))

    assert heard == [("events:mail.0.a", "1 signalled a 0 1000000 now"), ("events", "1 signalled a 0 1000000 now")]
    assert world.state()["journal"] == [{"at": "now", "1": "signalled mail.0.a 0 go ann"}]
