"""What each verb of settle leaves behind."""

from __future__ import annotations

import pytest

from jobfleet.store.calls.settle import STILL_WAITING, Item, complete, expire, fail, move, park, release, retry, settle
from tests.lua.world import World
from tests.support.seed import S

GONE = {"job:mail.0.a": None, "runs": None, "lease": None}
TRIES = "1:0:0:0:0\nran"


def completing(world: World, suffix: str = "a", token: int = 7) -> Item:
    return complete(world.id(suffix), token, record=b"the record", ttl_ms=600_000, duration_us=55)


def failing(world: World, suffix: str = "a", token: int = 7) -> Item:
    return fail(
        world.id(suffix), token, record=b"the record", ttl_ms=600_000, duration_us=55, reason="error", tries=TRIES
    )


def test_complete_keeps_the_record_and_forgets_the_job(world: World) -> None:
    world.seed.running("a")
    call = settle(world.lane, [completing(world)])

    answer = world.run(call)

    assert (answer.is_stale, answer.letters) == (False, "s")
    assert world.state() == {
        "done": [{"jobs": "a co 55"}],
        "result:mail.0.a": ("completed now 7\nthe record", 600),
        "totals": {"completed": "1", "run_us": "55"},
    }
    assert world.again(call).letters == "d"


@pytest.mark.parametrize("may", ["+msetex", "-msetex"])
def test_results_are_kept_each_for_its_time_whether_or_not_many_can_be_kept_at_once(world: World, may: str) -> None:
    world.allow(may)
    for suffix in "abc":
        world.seed.running(suffix)
    items = [
        complete(world.id(suffix), 7, record=suffix.encode(), ttl_ms=seconds * 1000, duration_us=5)
        for suffix, seconds in zip("abc", (600, 50, 600), strict=True)
    ]

    assert world.run(settle(world.lane, items)).letters == "sss"

    assert world.state() == {
        "done": [{"jobs": "a co 5\nc co 5\nb co 5"}],
        "result:mail.0.a": ("completed now 7\na", 600),
        "result:mail.0.b": ("completed now 7\nb", 50),
        "result:mail.0.c": ("completed now 7\nc", 600),
        "totals": {"completed": "3", "run_us": "15"},
    }


def test_completions_and_other_ends_go_in_one_call_and_each_has_its_own_letter(world: World) -> None:
    for suffix in "abef":
        world.seed.running(suffix)
    world.seed.running("d", tries="1:0:0:0:0")
    world.seed.running("g", token=8)
    world.seed.completed("c", token=7)
    retried = retry(world.id("b"), 7, delay_us=0, tries=TRIES)
    items = [retried if suffix == "b" else completing(world, suffix) for suffix in "abcdefgh"]

    answer = world.run(settle(world.lane, items))

    assert answer.letters == "ssdsssll"
    after = world.state()
    assert after["done"] == [{"jobs": "a co 55\ne co 55\nf co 55\nd co 55"}]
    assert after["totals"] == {"completed": "4", "lost": "2", "retried": "1", "retrying": "1", "run_us": "220"}
    assert after["tries"] == {"mail.0.b": TRIES}
    assert list(after["runs"]) == list(after["lease"]) == ["mail.0.g"]
    assert {name for name in after if name.startswith("job:")} == {"job:mail.0.b", "job:mail.0.g"}
    assert {name: after[f"result:{world.id(name)}"] for name in "acdef"} == {
        name: after["result:mail.0.c"] if name == "c" else ("completed now 7\nthe record", 600) for name in "acdef"
    }


def test_fail_keeps_the_record_and_a_dead_letter(world: World) -> None:
    world.seed.running("a", band=1, meta="r 5000", tries="0:1:0:0:0")
    call = settle(world.lane, [failing(world)])

    assert world.run(call).letters == "s"

    assert world.state() == {
        "dead": {"mail.0.a": "dlq[0]"},
        "dlq": [
            {
                "id": "mail.0.a", "reason": "error", "band": "1", "tries": TRIES, "meta": "r 5000",
                "record": "the record", "envelope": "envelope of a",
            }
        ],
        "done": [{"jobs": "a fa 55"}],
        "result:mail.0.a": ("failed now 7 0 - - error\nthe record", 600),
        "totals": {"failed": "1", "run_us": "55"},
    }  # fmt: skip
    assert world.again(call).letters == "d"


def test_move_closes_the_job_and_says_under_which_id_it_goes_on(world: World) -> None:
    world.seed.running("a", meta="r 60000\nu key", tries="0:1:0:0:0", claimed=-10)
    world.raw.hset(world.lane.unique, "key", world.id("a"))
    call = settle(world.lane, [move(world.id("a"), 7, to="big.0.b", ttl_ms=600_000)])

    assert world.run(call).letters == "s"

    state = world.state()
    assert state["result:mail.0.a"] == ("cancelled now 7 now-10s w.1 - moved:big.0.b 0 - 0:1:0:0:0\nenvelope of a", 60)
    assert state["totals"] == {"cancelled": "1"}
    assert not {"lease", "runs", "tries", "meta", "unique", "job:mail.0.a"} & set(state)
    assert world.again(call).letters == "d"


@pytest.mark.parametrize(("delay", "due", "wakes"), [(0, "now", True), (30, "now+30s", False)])
@pytest.mark.parametrize(("verb", "past"), [(retry, "retried"), (park, "parked")])
def test_retry_and_park_put_the_job_back_into_its_band(
    world: World, verb: type, past: str, delay: int, due: str, wakes: bool
) -> None:
    world.seed.running("a", band=3)
    item = verb(world.id("a"), 7, delay_us=delay * S, tries=TRIES)

    assert world.run(settle(world.lane, [item])).letters == "s"

    assert world.state() == world.moved(
        {
            "lease": None,
            "ready:3": {"mail.0.a": due},
            "runs": None,
            "totals": {past: "1", "retrying": "1"},
            "tries": {"mail.0.a": TRIES},
            "wake": {"w": 0} if wakes else None,
        }
    )


@pytest.mark.parametrize(
    ("delay", "tries", "due", "wakes"),
    [(0, "", "now-10s", True), (30, "", "now+30s", False), (0, TRIES, "now-10s", True), (20, TRIES, "now+20s", False)],
)
def test_release_keeps_its_place_unless_there_is_a_delay(
    world: World, delay: int, tries: str, due: str, wakes: bool
) -> None:
    world.seed.running("a", claimed=-10)

    assert world.run(settle(world.lane, [release(world.id("a"), 7, delay_us=delay * S, tries=tries)])).letters == "s"

    gauge = {"retrying": "1"} if tries else {}
    assert world.state() == world.moved(
        {
            "lease": None,
            "ready:2": {"mail.0.a": due},
            "runs": None,
            "totals": {"released": "1", **gauge},
            "tries": {"mail.0.a": TRIES} if tries else None,
            "wake": {"w": 0} if wakes else None,
        }
    )


def test_release_of_a_job_with_tries_leaves_them_and_raises_the_gauge(world: World) -> None:
    world.seed.running("a", tries=TRIES)

    world.run(settle(world.lane, [release(world.id("a"), 7)]))

    assert world.state()["tries"] == {"mail.0.a": TRIES}
    assert world.state()["totals"] == {"released": "1", "retrying": "1"}


@pytest.mark.parametrize(("had", "tries", "expires"), [("", "", True), (TRIES, "", False), ("", TRIES, False)])
def test_only_a_job_that_never_started_may_expire_again(world: World, had: str, tries: str, expires: bool) -> None:
    world.seed.running("a", meta=f"x {world.now + 60 * S}", tries=had)

    world.run(settle(world.lane, [release(world.id("a"), 7, tries=tries)]))

    assert world.state().get("expiry") == ({"mail.0.a": "now+60s"} if expires else None)


def test_expire_of_a_running_job_keeps_its_envelope(world: World) -> None:
    world.seed.running("a", claimed=0, tries=TRIES)
    call = settle(world.lane, [expire(world.id("a"), 7, ttl_ms=600_000)])

    assert world.run(call).letters == "s"

    (batch,) = world.state().pop("done")
    assert batch["jobs"].startswith("a ex ")
    assert world.state() == {
        "done": [batch],
        "result:mail.0.a": ("expired now 7 now w.1 - l:ran 0 - 1:0:0:0:0\nenvelope of a", 600),
        "totals": {"expired": "1"},
    }
    assert world.again(call).letters == "d"


def test_expire_of_a_waiting_job_past_its_time(world: World) -> None:
    world.seed.waiting("a", expires=-10, tries=TRIES)

    assert world.run(settle(world.lane, [expire(world.id("a"), 0, ttl_ms=600_000, guard=STILL_WAITING)])).letters == "s"

    assert world.state() == {
        "done": [{"jobs": "a ex 0"}],
        "result:mail.0.a": ("expired now 0 0 - - l:ran 0 - 1:0:0:0:0\nenvelope of a", 600),
        "totals": {"expired": "1", "retrying": "0"},
    }


@pytest.mark.parametrize("place", ["not yet", "without expiry", "running", "nowhere"])
def test_expire_refuses_what_does_not_wait_past_its_time(world: World, place: str) -> None:
    if place == "not yet":
        world.seed.waiting("a", expires=10)
    elif place == "without expiry":
        world.seed.waiting("a")
    elif place == "running":
        world.seed.running("a", meta=f"x {world.now}")

    answer = world.run(settle(world.lane, [expire(world.id("a"), 0, ttl_ms=1_000, guard=STILL_WAITING)]))

    assert answer.letters == "l"
    assert world.state() == world.moved({})


def test_expire_repeated_for_a_waiting_job_is_done_already(world: World) -> None:
    world.seed.waiting("a", expires=-10)
    call = settle(world.lane, [expire(world.id("a"), 0, ttl_ms=600_000, guard=STILL_WAITING)])
    world.run(call)

    assert world.again(call).letters == "d"


@pytest.mark.parametrize("ending", [completing, failing])
def test_the_end_of_a_job_frees_its_unique_key_and_tells_the_outbox(world: World, ending: type) -> None:
    job_id = world.seed.running("a", meta=f"x {world.now + 60 * S}\nu once", tries=TRIES)
    world.seed.watch(job_id)
    world.seed.holds("once", job_id)
    world.seed.holds("other", world.id("b"))

    world.run(settle(world.lane, [ending(world)]))

    state = world.state()
    assert state["outbox"] == [{"id": "mail.0.a"}]
    assert state["unique"] == {"other": "mail.0.b 0 now"}
    assert not {"watched", "meta", "tries", "expiry", "runs", "lease", "job:mail.0.a"} & set(state)


def test_a_unique_key_that_another_job_holds_by_now_stays(world: World) -> None:
    world.seed.running("a", meta="u once")
    world.seed.holds("once", world.id("b"))

    world.run(settle(world.lane, [completing(world)]))

    assert world.state()["unique"] == {"once": "mail.0.b 0 now"}


@pytest.mark.parametrize("ending", [completing, failing])
def test_a_key_held_for_a_time_outlives_its_job(world: World, ending: type) -> None:
    world.seed.holds("once", world.seed.running("a", meta=f"u once\ns {60 * S}"), till=30)

    world.run(settle(world.lane, [ending(world)]))

    assert world.state()["unique"] == {"once": "mail.0.a now+30s now"}
    assert world.state()["locks"] == {"once": "now+30s"}


def test_waiting_again_keeps_unique_key_and_watchers(world: World) -> None:
    job_id = world.seed.running("a", meta="u once")
    world.seed.watch(job_id)
    world.seed.holds("once", job_id)

    world.run(settle(world.lane, [retry(job_id, 7, delay_us=0, tries=TRIES)]))

    state = world.state()
    assert (state["unique"], state["watched"]) == ({"once": "mail.0.a 0 now"}, {"mail.0.a": "1"})
    assert state["meta"] == {"mail.0.a": "u once"}
    assert "outbox" not in state


def test_a_paused_lane_settles_and_wakes_nobody(world: World) -> None:
    world.seed.paused()
    world.seed.running("a")

    assert world.run(settle(world.lane, [retry(world.id("a"), 7, delay_us=0, tries=TRIES)])).letters == "s"
    assert "wake" not in world.state()


def test_a_trip_of_many_verbs_is_one_batch(world: World) -> None:
    for n, suffix in enumerate("abcde"):
        world.seed.running(suffix, token=n + 1)
    items = [
        completing(world, "a", 1),
        failing(world, "b", 2),
        retry(world.id("c"), 3, delay_us=30 * S, tries=TRIES),
        release(world.id("d"), 4),
        completing(world, "e", 99),
    ]

    assert world.run(settle(world.lane, items)).letters == "ssssl"

    state = world.state()
    assert state["done"] == [{"jobs": "a co 55\nb fa 55"}]
    assert state["ready:2"] == {"mail.0.c": "now+30s", "mail.0.d": "now-10s"}
    assert set(state["runs"]) == set(state["lease"]) == {"mail.0.e"}
    assert state["totals"] == {
        "completed": "1", "failed": "1", "released": "1", "retried": "1", "retrying": "1", "lost": "1", "run_us": "110",
    }  # fmt: skip


def test_fifty_runs_end_in_one_call(world: World) -> None:
    items = []
    for n in range(50):
        job_id = world.seed.running(f"{n:02}", token=n + 1, meta="u k\nr 5000", tries=TRIES)
        world.seed.watch(job_id)
        items.append(failing(world, f"{n:02}", n + 1))

    assert world.run(settle(world.lane, items, child="w.1", nonce=1)).letters == "s" * 50
    assert not {"runs", "lease", "meta", "tries", "watched"} & set(world.state())


def test_the_journal_is_written_only_while_somebody_reads_it(world: World) -> None:
    world.seed.running("a")
    world.run(settle(world.lane, [completing(world)]))
    assert "journal" not in world.state()

    world.seed.journal()
    world.seed.running("b")
    world.seed.running("c")
    world.run(settle(world.lane, [completing(world, "b"), retry(world.id("c"), 7, delay_us=0, tries=TRIES)]))

    assert world.state()["journal"] == [
        {
            "at": "now",
            "1": "completed mail.0.b 7 55",
            "1e": "envelope of b",
            "1r": "the record",
            "2": "retried mail.0.c 7 now",
            "2e": "envelope of c",
            "2t": TRIES,
        },
    ]


def test_who_listens_hears_how_each_run_ended(world: World) -> None:
    for suffix in "abcdef":
        world.seed.running(suffix)
    world.seed.running("g", cancel="ann")
    items = [
        completing(world, "a"),
        failing(world, "b"),
        retry(world.id("c"), 7, delay_us=0, tries=TRIES),
        release(world.id("d"), 7),
        park(world.id("e"), 7, delay_us=0, tries=TRIES),
        expire(world.id("f"), 7, ttl_ms=1_000),
        release(world.id("g"), 7),
        completing(world, "h"),
    ]

    with world.listening(world.id("c"), world.id("h")) as heard:
        world.run(settle(world.lane, items))

    words = ["completed", "failed", "retried", "released", "parked", "expired", "cancelled"]
    lines = [f"1 {word} {suffix} 7 1000000 now" for word, suffix in zip(words, "abcdefg", strict=True)]
    assert heard == [("events:mail.0.c", lines[2]), ("events", "\n".join(lines))]


def test_the_journal_keeps_each_end_with_all_that_goes_once(world: World) -> None:
    world.seed.journal()
    for suffix in "abcd":
        world.seed.running(suffix, tries=TRIES)
    world.seed.running("e", cancel="bob", tries=TRIES)
    items = [
        completing(world, "a"),
        failing(world, "b"),
        release(world.id("c"), 7),
        expire(world.id("d"), 7, ttl_ms=600_000),
        completing(world, "x"),
        release(world.id("e"), 7),
    ]
    call = settle(world.lane, items, child="w.1", nonce=1)

    world.run(call)

    assert world.state()["journal"] == [
        {
            "at": "now",
            "1": "completed mail.0.a 7 55", "1e": "envelope of a", "1r": "the record", "1t": TRIES,
            "2": "failed mail.0.b 7 error 55 2", "2e": "envelope of b", "2r": "the record", "2t": TRIES,
            "3": "released mail.0.c 7 now-10s", "3e": "envelope of c", "3t": TRIES,
            "4": "expired mail.0.d 7 now-10s w.1 -", "4e": "envelope of d", "4t": TRIES,
            "5": "cancelled mail.0.e 7 now-10s w.1 bob - now -", "5e": "envelope of e", "5t": TRIES,
        }
    ]  # fmt: skip
    world.again(call)


@pytest.mark.parametrize("kept", ["@", "u:"])
@pytest.mark.parametrize("runs", [False, True])
def test_a_job_that_has_begun_does_not_expire_although_a_foreign_client_gives_it_an_end(
    world: World, kept: str, runs: bool
) -> None:
    if runs:
        world.seed.running("a", meta="x 1\nk 86400000")
    else:
        world.seed.waiting("a", meta="k 86400000", expires=-10)
    world.raw.hset(world.lane.steps(world.id("a")), kept, "1 go")
    item = expire(world.id("a"), 7 if runs else 0, ttl_ms=1_000, **({} if runs else {"guard": STILL_WAITING}))

    assert world.run(settle(world.lane, [item])).letters == ("s" if runs else "l")

    state = world.state()
    assert (list(state["ready:2"]), "expiry" in state, "result:mail.0.a" in state) == (["mail.0.a"], False, False)
    assert state["meta"] == {"mail.0.a": "k 86400000" if runs else "x now-10s\nk 86400000"}
