"""A strict sequence: its head alone may start, and the next job follows it in the order of enqueue."""

from __future__ import annotations

import pytest

from jobfleet.store.calls import control, cron, enqueue, flow, settle
from jobfleet.store.calls.control import pause_function, put_back
from jobfleet.store.calls.inspect import explain
from jobfleet.store.records import Entry
from tests.lua.world import World
from tests.support.seed import S
from tests.support.sequences import Worker, cancelled, enter, entry, replayed, standing


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world)


def test_jobs_of_a_sequence_wait_behind_its_head(world: World) -> None:
    call = enqueue.enqueue(world.lane, [entry(world, name) for name in "ab"])

    assert world.run(call) == [True, True]

    assert world.state()["ready:2"] == {"mail.0.a": "grouped now", "mail.0.b": 9 * 10**15}
    assert world.state()["gdue"] == {"2acme": "now"}
    assert set(world.state()["grouped"]) == {
        "2acme|now|mail.0.a", "hacme|mail.0.a", "sacme|now|mail.0.a", "sacme|now|mail.0.b",
    }  # fmt: skip
    assert world.state()["wake"] == {"w": 0}
    assert world.again(call) == [False, False]


def test_only_a_head_wakes_somebody(world: World, worker: Worker) -> None:
    enter(world, "a")
    worker.claim()
    world.raw.delete(world.lane.wake)

    enter(world, "b")
    assert "wake" not in world.state()

    worker.end("a")
    assert world.state()["wake"] == {"w": 0}


@pytest.mark.parametrize("verb", ["complete", "fail", "expire", "move"])
def test_the_next_one_follows_in_the_order_of_enqueue(world: World, worker: Worker, verb: str) -> None:
    enter(world, "cab")
    enter(world, "d")

    started = ""
    for _ in range(4):
        started += worker.claim()
        worker.end(started[-1], verb)

    assert started == "cabd"
    left = world.state()
    assert not {"grouped", "gdue", "ring", "held", "ready:2", "meta"} & left.keys()


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_head_that_waits_again_keeps_its_place(world: World, worker: Worker, verb: str) -> None:
    enter(world, "ab")

    for _ in range(3):
        assert worker.claim() == "a"
        worker.end("a", verb)

    assert standing(world) == ("a", "waiting", "b")


def test_a_head_that_retries_later_blocks_all_behind_it(world: World, worker: Worker) -> None:
    enter(world, "ab")
    worker.claim()
    worker.end("a", "retry", delay_us=30 * S)

    assert worker.claim() == ""

    seen = world.go(explain(world.lane, world.id("b"))).sequence
    assert seen is not None
    assert (seen.head, seen.state, world.time(seen.due), seen.before) == ("mail.0.a", "waiting", "now+30s", 1)


def test_a_delayed_job_waits_for_its_turn_and_then_for_its_time(world: World, worker: Worker) -> None:
    enter(world, "a")
    enter(world, "b", when=str(world.seed.at(30)))
    enter(world, "c")
    worker.claim()

    worker.end("a")

    assert standing(world) == ("b", "waiting", "c")
    assert worker.claim() == ""
    assert world.state()["ready:2"]["mail.0.b"] == "grouped now+30s"


def test_priorities_do_not_change_the_order(world: World, worker: Worker) -> None:
    world.go(enqueue.enqueue(world.lane, [entry(world, "a", band=3), entry(world, "b", band=0)]))
    world.go(enqueue.enqueue(world.lane, [entry(world, "x", group="other")]))

    assert worker.claim(1) == "x"
    assert worker.claim(1) == "a"
    worker.end("a")
    assert worker.claim() == "b"


def test_the_order_is_that_of_the_server_even_if_its_clock_steps_back(world: World, worker: Worker) -> None:
    enter(world, "a")
    ahead = world.seed.at(3600)
    world.raw.zadd(world.lane.grouped, {f"sacme\0{ahead:016}\0mail.0.z": 0})  # as if z had come under a later clock
    world.raw.zadd(world.lane.ready[2], {"mail.0.z": 9 * 10**15})
    world.raw.hset(world.lane.meta, "mail.0.z", f"g acme\no s\nn {ahead}")

    enter(world, "b")

    assert standing(world) == ("a", "waiting", "zb")


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_cancelled_job_loses_its_place(world: World, worker: Worker, name: str) -> None:
    enter(world, "abc", policy="p")

    assert cancelled(world, name) == "c"

    assert "".join([worker.claim(), worker.end(next(iter(worker.held))), worker.claim()]) in {"bsc", "asc"}
    assert name not in worker.held


def test_a_job_that_waits_for_parents_keeps_its_place(world: World, worker: Worker) -> None:
    enter(world, "a")
    for name in "bc":
        world.go(flow.block(world.lane, entry(world, name), [], ttl_ms=1000))
    enter(world, "d")
    worker.claim()

    def lift(name: str) -> str:
        return world.go(
            flow.unblock(world.lane, [flow.ParentEnd(world.id(name), flow.GUARD, "completed", b"")], ttl_ms=1000)
        )

    assert lift("c") == "b"  # its parents have ended, but it is not the head
    worker.end("a")
    assert (standing(world), worker.claim()) == (("b", "blocked", "cd"), "")
    assert lift("b") == "u"
    for name in "bcd":
        assert worker.claim() == name
        worker.end(name)


def test_a_replayed_parent_passes_the_head_that_waits_for_it(world: World, worker: Worker) -> None:
    enter(world, "p")
    worker.claim()
    edge = flow.Edge(world.id("p"), 0, "w")
    world.go(flow.block(world.lane, entry(world, "c"), [edge], ttl_ms=1000))
    worker.end("p", "fail")
    assert (standing(world), worker.claim()) == (("c", "blocked", ""), "")

    replayed(world, "p")

    assert worker.claim() == "p"
    worker.end("p")
    assert standing(world) == ("c", "blocked", "")


def test_a_recurring_job_takes_a_place(world: World, worker: Worker) -> None:
    enter(world, "a")
    fired = entry(world, "b", when=str(world.seed.at(-10)))

    world.go(cron.fire(world.lane, "nightly", world.seed.at(-10), fired, overlap="allow"))

    assert standing(world) == ("a", "waiting", "b")
    assert worker.claim() == "a"
    worker.end("a")
    assert worker.claim() == "b"


def test_a_replaced_head_leaves_its_place_and_a_debounced_one_keeps_its_call(world: World, worker: Worker) -> None:
    world.seed.holds("k", world.id("a"))
    made = Entry(world.id("a"), 2, "", "u k\ng acme\no s", b"envelope")
    world.raw.delete(world.lane.unique)
    world.go(enqueue.enqueue(world.lane, [made]))
    enter(world, "b")
    later = Entry(world.id("x"), 2, "", "u k", b"later")

    assert world.go(enqueue.debounce(world.lane, later, key="k", holder=made.id, longest_us=60 * S))[0] == "changed"
    assert world.go(enqueue.replace(world.lane, later, key="k", holder=made.id, ttl_ms=1000)) == "replaced"

    assert standing(world) == ("b", "waiting", "")


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_job_that_expires_while_it_waits_leaves_its_place(world: World, worker: Worker, name: str) -> None:
    enter(world, "abc", policy="p")
    world.raw.zadd(world.lane.expiry, {world.id(name): world.seed.at(-1)})
    item = settle.expire(world.id(name), 0, ttl_ms=1000, guard=settle.STILL_WAITING)

    assert world.go(settle.settle(world.lane, [item])).letters == "s"

    assert standing(world) == (("b", "waiting", "c") if name == "a" else ("a", "waiting", "c"))


def test_a_withheld_head_holds_all_back_until_its_function_is_resumed(world: World, worker: Worker) -> None:
    enter(world, "ab")
    worker.claim()
    world.go(pause_function(world.lane, "app.add", by="ann"))
    held = worker.held.pop("a")
    item = settle.withhold(held.id, held.token, due=world.now, function="app.add")

    world.go(settle.settle(world.lane, [item]))
    assert (standing(world), worker.claim()) == (("a", "withheld", "b"), "")

    world.go(put_back(world.lane, [held.id]))
    assert worker.claim() == "a"


def test_a_run_whose_lease_has_ended_starts_again_before_the_others(world: World, worker: Worker) -> None:
    enter(world, "ab")
    worker.claim()
    world.raw.zadd(world.lane.lease, {world.id("a"): world.seed.at(-1)})
    world.raw.hset(world.lane.lane, mapping={"seen": world.seed.at(0), "longest": 60 * S})
    held = worker.held.pop("a")
    item = settle.retry(held.id, held.token, delay_us=0, tries="0:1:0:0:0", guard=settle.STILL_EXPIRED)

    assert world.go(settle.settle(world.lane, [item])).letters == "s"

    assert worker.claim() == "a"


def test_a_rescheduled_head_stays_the_head(world: World, worker: Worker) -> None:
    enter(world, "ab")

    letters = control.reschedule(world.lane, [world.id("a"), world.id("b")], by=None, when=str(world.seed.at(30)))
    assert world.go(letters) == "sb"

    assert (standing(world), worker.claim()) == (("a", "waiting", "b"), "")


def test_a_sequence_goes_on_however_many_places_of_no_job_a_foreign_client_writes(world: World, worker: Worker) -> None:
    enter(world, "ab")
    assert worker.claim() == "a"
    for at in range(0, 9_000, 1_000):
        false = {f"sacme\0{n:016}\0mail.0.f{n}": 0 for n in range(at, at + 1_000)}
        world.raw.zadd(world.lane.grouped, false)

    worker.end("a")

    assert standing(world) == ("b", "waiting", "")
    assert sorted(world.state()["grouped"]) == ["2acme|now|mail.0.b", "hacme|mail.0.b", "sacme|now|mail.0.b"]
