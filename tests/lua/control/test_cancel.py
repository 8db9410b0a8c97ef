from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.control import cancel
from jobfleet.store.calls.inspect import final_of
from jobfleet.store.calls.lease import renew
from jobfleet.store.calls.settle import release, settle
from tests.lua.world import World
from tests.support.seed import S


def cancelling(world: World, *suffixes: str, by: str | None = "ann") -> Call[str]:
    return cancel(world.keys, world.lane, [world.id(suffix) for suffix in suffixes], by=by, ttl_ms=600_000)


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_a_waiting_job_ends_wherever_it_stands(world: World, band: int) -> None:
    world.seed.waiting("a", band=band, due=30)
    call = cancelling(world, "a")

    assert world.run(call) == "c"

    assert world.state() == {
        "done": [{"jobs": "a ca 0"}],
        "result:mail.0.a": ("cancelled now 0 0 - ann\nenvelope of a", 600),
        "totals": {"cancelled": "1"},
    }
    assert world.again(call) == "f"


def test_all_that_only_an_open_job_has_goes_with_it(world: World) -> None:
    job_id = world.seed.waiting("a", meta="u once\nr 300000", tries="1:0:0:0:0", expires=60)
    world.seed.holds("once", job_id)
    world.seed.watch(job_id)
    world.seed.journal()

    assert world.run(cancelling(world, "a")) == "c"

    assert world.state() == {
        "conf": {"journal": "1000"},
        "done": [{"jobs": "a ca 0"}],
        "journal": [{"at": "now", "1": "cancelled mail.0.a 0 0 - ann", "1e": "envelope of a", "1t": "1:0:0:0:0"}],
        "outbox": [{"id": "mail.0.a"}],
        "result:mail.0.a": ("cancelled now 0 0 - ann - 0 - 1:0:0:0:0\nenvelope of a", 300),
        "totals": {"cancelled": "1", "retrying": "0", "journal": "1"},
    }


def test_a_unique_key_that_another_job_holds_stays(world: World) -> None:
    world.seed.waiting("a", meta="u once")
    world.seed.holds("once", world.id("b"))

    world.run(cancelling(world, "a"))

    assert world.state()["unique"] == {"once": "mail.0.b 0 now"}


def test_a_key_held_for_a_time_outlives_its_job(world: World) -> None:
    world.seed.holds("once", world.seed.waiting("a", meta="u once"), till=30)

    world.run(cancelling(world, "a"))

    assert world.state()["unique"] == {"once": "mail.0.a now+30s now"}


def test_the_job_that_takes_the_place_of_a_waiting_one_is_remembered(world: World) -> None:
    world.seed.waiting("a")
    world.seed.running("b")
    ids = [world.id("a"), world.id("b")]

    assert world.run(cancel(world.keys, world.lane, ids, by=None, ttl_ms=600_000, moved_to="bulk.0.a")) == "cr"

    assert world.state()["result:mail.0.a"] == ("cancelled now 0 0 - - moved:bulk.0.a\nenvelope of a", 600)
    assert world.state()["runs"]["mail.0.b"].endswith("|-@now")


@pytest.mark.parametrize(
    ("moved_to", "tries"), [("", ""), ("bulk.0.a", ""), ("", "0:9:0:0:0"), ("bulk.0.a", "0:9:0:0:0:2")]
)
def test_a_job_that_ends_keeps_what_fits_of_its_past(world: World, moved_to: str, tries: str) -> None:
    runs = [f"{number}/5/w.1 {number} Error: é+% {'x' * 250}\t" for number in range(10)] if tries else []
    events = [f"edited {number} ann args[0],é,to" for number in range(10)]
    meta = "".join(f"\nl {line}" for line in events)
    world.seed.waiting("a", meta=f"r 300000{meta}", tries="\n".join([tries, *runs]) if tries else "")

    world.run(cancel(world.keys, world.lane, [world.id("a")], by="ann", ttl_ms=600_000, moved_to=moved_to))

    stored = world.raw.get(world.lane.result(world.id("a")))
    assert isinstance(stored, bytes)
    found = final_of(stored)
    kept = [line for line in found.past if line.startswith("edited ")]
    assert (found.status, found.by, found.moved_to, found.body) == ("cancelled", "ann", moved_to, b"envelope of a")
    assert found.spent.rstrip(":0") == tries.rstrip(":0")
    assert kept == events[-len(kept) :]
    assert len(kept) > 8
    before = [*found.past[: -len(kept)]]
    assert before == runs[len(runs) - len(before) :]
    assert len(before) >= (4 if tries else 0)
    assert len(stored.partition(b"\n")[0]) <= 1900


def test_a_running_job_is_asked_and_goes_on(world: World) -> None:
    world.seed.running("a")
    call = cancelling(world, "a")

    assert world.run(call) == "r"

    assert world.state() == world.moved(
        {"runs": {"mail.0.a": f"7|w.1|now-10s|{60 * S}|2|ann@now"}, "meta": {"mail.0.a": "l cancelled now ann"}}
    )
    assert world.again(call) == "r"


def test_the_first_who_asked_is_remembered(world: World) -> None:
    world.seed.running("a", cancel="ann")

    assert world.refused(cancelling(world, "a", by="bob")) == "r"


def test_nobody_in_particular_may_ask(world: World) -> None:
    world.seed.running("a")
    world.seed.waiting("b")

    assert world.run(cancelling(world, "a", "b", by=None)) == "rc"
    assert world.state()["runs"]["mail.0.a"].endswith("|-@now")
    assert world.state()["result:mail.0.b"] == ("cancelled now 0 0 - -\nenvelope of b", 600)


def test_the_mark_is_seen_by_renew_and_ends_the_job_when_it_is_given_back(world: World) -> None:
    world.seed.running("a")
    world.run(cancelling(world, "a"))

    assert world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=60 * S)).cancelled == ((world.id("a"), 7, "ann"),)
    assert world.run(settle(world.lane, [release(world.id("a"), 7)])).letters == "c"


def test_what_is_final_or_unknown_is_left_alone(world: World) -> None:
    world.seed.completed("a")
    world.seed.dead("b")

    assert world.refused(cancelling(world, "a", "b", "x")) == "ffu"


def test_a_failed_job_whose_result_has_gone_is_final(world: World) -> None:
    world.seed.dead("a", result=False)

    assert world.refused(cancelling(world, "a")) == "f"


def test_an_id_twice_is_cancelled_once(world: World) -> None:
    world.seed.waiting("a")

    assert world.run(cancelling(world, "a", "a")) == "cf"
    assert world.state()["totals"] == {"cancelled": "1"}


def test_a_paused_lane_may_be_cancelled(world: World) -> None:
    world.seed.paused()
    world.seed.waiting("a")

    assert world.run(cancelling(world, "a")) == "c"


def test_fifty_go_in_one_call(world: World) -> None:
    suffixes = [f"{n:02}" for n in range(50)]
    for suffix in suffixes:
        world.seed.waiting(suffix, meta=f"u {suffix}", tries="1:0:0:0:0", expires=60)

    assert world.run(cancelling(world, *suffixes)) == "c" * 50
    assert not {"ready:2", "tries", "meta", "expiry"} & set(world.state())


def test_who_listens_hears_of_endings_and_supervisors_of_requests(world: World) -> None:
    world.seed.waiting("a")
    world.seed.running("b")
    world.seed.waiting("c")

    with world.listening(world.id("a"), world.id("b")) as heard:
        world.run(cancelling(world, "a", "b", "c", "x"))

    assert heard == [
        ("control", "cancel b 7 w.1 ann"),
        ("events:mail.0.a", "1 cancelled a 0 1000000 now"),
        ("events", "1 cancelled a 0 1000000 now\n1 cancelled c 0 1000000 now"),
    ]


def test_the_steps_of_a_job_that_once_waited_do_not_stay_for_years(world: World) -> None:
    waits, runs, fresh = world.seed.waiting("a", due=30), world.seed.running("b", cancel="ann"), world.seed.waiting("c")
    year, month = 365 * 86_400_000, 30 * 86_400_000
    for job_id, ttl in ((waits, year), (runs, year), (fresh, 60_000)):
        world.raw.hset(world.lane.steps(job_id), "s:one", "1")
        world.raw.pexpire(world.lane.steps(job_id), ttl)

    assert world.run(cancelling(world, "a", "c")) == "cc"
    assert world.run(settle(world.lane, [release(runs, 7)])).letters == "c"

    left = [int(str(world.raw.pttl(world.lane.steps(job_id)))) for job_id in (waits, runs, fresh)]
    assert [0 < one <= most for one, most in zip(left, (month, month, 60_000), strict=True)] == [True] * 3
