"""Who may settle: tokens, leases, marks, and trips that are repeated."""

from __future__ import annotations

import pytest

from jobfleet.store.calls.lease import claim, renew
from jobfleet.store.calls.settle import (
    STILL_EXPIRED,
    TOKEN_VALID,
    Item,
    complete,
    expire,
    fail,
    move,
    park,
    release,
    retry,
    settle,
)
from tests.lua.world import World
from tests.support.seed import GAP_S, S

TRIES = "1:0:0:0:0"


def completing(world: World, suffix: str = "a", token: int = 7) -> Item:
    return complete(world.id(suffix), token, record=b"the record", ttl_ms=600_000, duration_us=55)


def reaping(world: World, verb: str = "retry", token: int = 7) -> Item:
    job_id = world.id("a")
    if verb == "retry":
        return retry(job_id, token, delay_us=0, tries=TRIES, guard=STILL_EXPIRED)
    if verb == "release":
        return release(job_id, token, guard=STILL_EXPIRED)
    if verb == "expire":
        return expire(job_id, token, ttl_ms=1_000, guard=STILL_EXPIRED)
    return fail(
        job_id, token, record=b"r", ttl_ms=1_000, duration_us=1, reason="crashed", tries=TRIES, guard=STILL_EXPIRED
    )


def every_verb(world: World, token: int) -> dict[str, Item]:
    job_id = world.id("a")
    return {
        "complete": completing(world, token=token),
        "fail": fail(job_id, token, record=b"r", ttl_ms=1_000, duration_us=1, reason="error", tries=TRIES),
        "retry": retry(job_id, token, delay_us=0, tries=TRIES),
        "release": release(job_id, token),
        "park": park(job_id, token, delay_us=0, tries=TRIES),
        "expire": expire(job_id, token, ttl_ms=1_000),
        "move": move(job_id, token, to="big.0.b", ttl_ms=1_000),
    }


@pytest.mark.parametrize("verb", ["complete", "fail", "retry", "release", "park", "expire", "move"])
@pytest.mark.parametrize("place", ["running under another token", "waiting", "completed by another", "nowhere"])
def test_a_late_worker_changes_nothing(world: World, verb: str, place: str) -> None:
    if place == "running under another token":
        world.seed.running("a", token=8)
    elif place == "waiting":
        world.seed.waiting("a")
    elif place == "completed by another":
        world.seed.completed("a", token=8)

    answer = world.run(settle(world.lane, [every_verb(world, 7)[verb]]))

    assert answer.letters == "l"
    assert world.state() == world.moved({"totals": {"lost": "1"}})


@pytest.mark.parametrize("verb", ["complete", "fail", "retry", "release", "park", "expire", "move"])
def test_what_the_same_token_has_ended_is_done_already(world: World, verb: str) -> None:
    world.seed.completed("a", token=7)

    assert world.refused(settle(world.lane, [every_verb(world, 7)[verb]])).letters == "d"


def test_tokens_of_different_length_are_told_apart(world: World) -> None:
    tokens = {"a": 7, "b": 17_900_000, "c": 77}
    for suffix, token in tokens.items():
        world.seed.running(suffix, token=token)
    items = [completing(world, suffix, token) for suffix, token in tokens.items()]

    answer = world.run(settle(world.lane, [*items, completing(world, "d", 7)]))

    assert answer.letters == "sssl"
    kept = {suffix: world.state()[f"result:mail.0.{suffix}"][0] for suffix in tokens}
    assert kept == {suffix: f"completed now {token}\nthe record" for suffix, token in tokens.items()}


def test_a_token_that_only_begins_or_ends_alike_is_lost(world: World) -> None:
    for suffix in "abc":
        world.seed.running(suffix, token=77)

    answer = world.run(
        settle(
            world.lane, [completing(world, suffix, token) for suffix, token in zip("abc", (7, 777, 77), strict=True)]
        )
    )

    assert answer.letters == "lls"


def test_a_long_token_is_compared_to_the_last_digit(world: World) -> None:
    token = 8_999_999_999_999_999
    world.seed.running("a", token=token)

    assert world.run(settle(world.lane, [completing(world, token=token - 1)])).letters == "l"
    assert world.run(settle(world.lane, [completing(world, token=token // 10)])).letters == "l"
    assert world.run(settle(world.lane, [completing(world, token=token)])).letters == "s"


def test_a_finish_past_its_deadline_that_nobody_reaped_is_accepted(world: World) -> None:
    world.seed.running("a", deadline=-30)

    assert world.run(settle(world.lane, [completing(world)])).letters == "s"


def test_an_id_twice_in_a_trip_is_settled_once(world: World) -> None:
    world.seed.running("a")

    answer = world.run(settle(world.lane, [completing(world), completing(world)]))

    assert answer.letters == "sd"
    assert world.state()["totals"] == {"completed": "1", "run_us": "55"}


def test_a_lost_item_does_not_stand_for_the_current_run_of_the_same_job(world: World) -> None:
    world.seed.running("a", token=8)

    answer = world.run(settle(world.lane, [completing(world, token=7), completing(world, token=8)]))

    assert answer.letters == "ls"
    assert "runs" not in world.state()


@pytest.mark.parametrize("verb", ["retry", "release", "fail", "expire"])
def test_an_expired_lease_is_reaped_once(world: World, verb: str) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=-10)

    first = world.run(settle(world.lane, [reaping(world, verb)]))
    second = world.run(settle(world.lane, [reaping(world, verb)]))

    assert first.letters == "s"
    assert second.letters == ("d" if verb in {"fail", "expire"} else "l")
    assert "runs" not in world.state()
    assert "lease" not in world.state()


def test_a_lease_renewed_in_between_is_alive(world: World) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=-10)
    world.run(renew(world.lane, [(world.id("a"), 7)], lease_us=60 * S))

    assert world.refused(settle(world.lane, [reaping(world)])).letters == "a"


def test_a_lease_that_another_has_taken_is_lost_to_the_reaper(world: World) -> None:
    world.seed.ticked()
    world.seed.running("a", token=8, deadline=-10)

    assert world.run(settle(world.lane, [reaping(world, token=7)])).letters == "l"


@pytest.mark.parametrize(
    ("ago", "hold"), [(GAP_S, 0), (1000, 0), (-20, 0), (0, 30)], ids=["gap", "outage", "step back", "hold"]
)
def test_leases_are_held_after_a_gap_until_a_tick_and_its_hold(world: World, ago: int, hold: int) -> None:
    world.seed.ticked(ago=ago, hold=hold)
    world.seed.running("a", deadline=-10)

    assert world.refused(settle(world.lane, [reaping(world)])).letters == "h"


def test_leases_of_a_lane_that_nobody_ever_ticked_are_held(world: World) -> None:
    world.seed.running("a", deadline=-10)

    assert world.refused(settle(world.lane, [reaping(world)])).letters == "h"


def test_a_hold_does_not_keep_the_owner_from_finishing(world: World) -> None:
    world.seed.ticked(hold=30)
    world.seed.running("a", deadline=-10)

    assert world.run(settle(world.lane, [completing(world)])).letters == "s"


@pytest.mark.parametrize("verb", ["fail", "retry", "release", "park", "expire"])
def test_a_mark_turns_every_ending_but_completion_into_cancelled(world: World, verb: str) -> None:
    world.seed.running("a", claimed=0, cancel="ann", meta="u once", tries=TRIES)
    world.seed.holds("once", world.id("a"))
    call = settle(world.lane, [every_verb(world, 7)[verb]])

    assert world.run(call).letters == "c"

    (batch,) = world.state()["done"]
    assert batch["jobs"].startswith("a ca ")
    assert world.state() == {
        "done": [batch],
        "result:mail.0.a": ("cancelled now 7 now w.1 ann - now - 1:0:0:0:0\nenvelope of a", 86_400),
        "totals": {"cancelled": "1"},
    }
    assert world.again(call).letters == "d"


def test_a_mark_does_not_undo_a_completion(world: World) -> None:
    world.seed.running("a", cancel="ann")

    assert world.run(settle(world.lane, [completing(world)])).letters == "s"
    assert world.state()["result:mail.0.a"] == ("completed now 7\nthe record", 600)


def test_a_marked_run_that_expired_is_cancelled_by_the_reaper_for_as_long_as_its_retention_says(world: World) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=-10, cancel="-", meta="r 300000")

    assert world.run(settle(world.lane, [reaping(world)])).letters == "c"
    assert world.state()["result:mail.0.a"] == ("cancelled now 7 now-10s w.1 - - now -\nenvelope of a", 300)


def test_a_trip_repeated_answers_as_before_and_does_nothing(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b")
    items = [completing(world), retry(world.id("b"), 7, delay_us=0, tries=TRIES), completing(world, "c")]
    call = settle(world.lane, items, child="w.1", nonce=3)

    assert world.run(call).letters == "ssl"

    assert world.state()["sent:w.1"] == ("3\n1 sls", 600)  # as they are sent, completions first
    assert world.again(call).letters == "ssl"


def test_a_trip_repeated_says_again_that_others_wait_until_they_are_told(world: World) -> None:
    world.seed.watch(world.seed.running("a"))
    call = settle(world.lane, [completing(world)], child="w.1", nonce=3)
    assert world.run(call).watched == 1

    assert world.again(call).watched == 1
    world.raw.delete(world.lane.outbox)
    assert world.again(call).watched == 0


def test_a_trip_repeated_does_not_touch_a_run_that_began_since(world: World) -> None:
    world.seed.running("a")
    call = settle(world.lane, [release(world.id("a"), 7)], child="w.1", nonce=3)
    world.run(call)
    world.run(claim(world.lane, child="w.2", nonce=1, lease_us=60 * S, limit=1))

    assert world.again(call).letters == "s"


def test_the_chunks_of_a_trip_are_remembered_side_by_side(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b")
    first = settle(world.lane, [completing(world, "a")], child="w.1", nonce=3, chunk=1)
    second = settle(world.lane, [completing(world, "b"), completing(world, "x")], child="w.1", nonce=3, chunk=2)
    world.run(first)
    world.run(second)

    assert world.state()["sent:w.1"] == ("3\n1 s\n2 sl", 600)
    assert (world.again(first).letters, world.again(second).letters) == ("s", "sl")


def test_a_chunk_that_was_not_answered_is_done_when_its_trip_is_repeated(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b")
    world.run(settle(world.lane, [completing(world, "a")], child="w.1", nonce=3, chunk=1))

    answer = world.run(settle(world.lane, [completing(world, "b")], child="w.1", nonce=3, chunk=2))

    assert answer.letters == "s"
    assert "runs" not in world.state()


def test_a_newer_trip_makes_older_ones_stale_whose_runs_are_over(world: World) -> None:
    world.seed.running("a")
    old = settle(world.lane, [completing(world)], child="w.1", nonce=3)
    world.run(old)
    world.run(settle(world.lane, [completing(world, "x")], child="w.1", nonce=4))

    answer = world.refused(old)

    assert (answer.is_stale, answer.letters) == (True, "")


@pytest.mark.parametrize("number", ["5", "99999999999999999", "9" * 400])
@pytest.mark.parametrize("is_alike", [True, False])
def test_a_number_of_a_trip_that_was_never_sent_gives_way(world: World, number: str, is_alike: bool) -> None:
    world.seed.running("a")
    world.raw.set(world.lane.sent("w.1"), f"{number} x")
    item = completing(world) if is_alike else release(world.id("a"), 7)
    call = settle(world.lane, [item], child="w.1", nonce=3)

    assert world.run(call).letters == "s"
    assert "runs" not in world.state()
    assert world.state()["sent:w.1"] == ("3\n1 s", 600)
    assert world.again(call).letters == "s"


@pytest.mark.parametrize("guard", [TOKEN_VALID, STILL_EXPIRED])
def test_a_run_with_a_result_is_not_run_again(world: World, guard: str) -> None:
    job_id = world.seed.running("a", meta="u key", deadline=-10)
    world.seed.holds("key", job_id)
    world.seed.completed("a")

    assert world.run(settle(world.lane, [retry(job_id, 7, delay_us=0, tries="0:1:0:0:0", guard=guard)])).letters == "d"

    changes = {"done": [{"jobs": "a co 0"}], "totals": {"completed": "1"}}
    gone = dict.fromkeys(("runs", "lease", "meta", "unique", f"job:{job_id}"))
    assert world.state() == world.moved(changes | gone)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("completed {now} 7", {"1": "completed mail.0.a 7 0", "1r": "record"}),
        ("cancelled {now} 7 {now} w.1 ann - {now} -", {"1": "cancelled mail.0.a 7 now w.1 ann -"}),
        ("failed {now} 7 0 - - error", {"1": "failed mail.0.a 7 error 0 2", "1r": "record", "1t": "0:0:0:0:0"}),
    ],
)
def test_the_journal_hears_of_a_run_with_a_result(world: World, line: str, event: dict[str, str]) -> None:
    world.seed.journal()
    job_id = world.seed.running("a", deadline=-10)
    world.raw.set(world.lane.result(job_id), f"{line.format(now=world.now)}\nrecord", ex=1000)

    item = retry(job_id, 7, delay_us=0, tries="0:1:0:0:0", guard=STILL_EXPIRED)
    assert world.run(settle(world.lane, [item])).letters == "d"

    assert world.state()["journal"] == [{"at": "now", "1e": "envelope of a", **event}]


def test_a_failed_run_with_a_result_gets_its_dead_letter(world: World) -> None:
    job_id = world.seed.running("a", deadline=-10)
    world.raw.set(world.lane.result(job_id), f"failed {world.now} 7 0 - - error\nrecord", ex=1000)

    item = retry(job_id, 7, delay_us=0, tries="0:1:0:0:0", guard=STILL_EXPIRED)
    assert world.run(settle(world.lane, [item])).letters == "d"

    letter = {
        "id": job_id, "reason": "error", "band": "2", "tries": "0:0:0:0:0", "meta": "", "record": "record",
        "envelope": "envelope of a",
    }  # fmt: skip
    changes = {
        "done": [{"jobs": "a fa 0"}], "totals": {"failed": "1"}, "dlq": [letter], "dead": {job_id: "dlq[0]"},
        f"result:{job_id}": ("failed now 7 0 - - error\nrecord", 1000),
    }  # fmt: skip
    assert world.state() == world.moved(changes | dict.fromkeys(("runs", "lease", f"job:{job_id}")))


def test_a_newer_trip_takes_the_place_of_the_last(world: World) -> None:
    world.run(settle(world.lane, [completing(world, "x")], child="w.1", nonce=3))
    world.run(settle(world.lane, [completing(world, "y"), completing(world, "z")], child="w.1", nonce=4))

    assert world.state()["sent:w.1"] == ("4\n1 ll", 600)


def test_supervisors_and_reapers_leave_no_trip_behind(world: World) -> None:
    world.seed.running("a")

    world.run(settle(world.lane, [completing(world)]))

    assert not [name for name in world.state() if name.startswith("sent:")]


def test_plain_jobs_with_and_without_dependants_end_alike(world: World) -> None:
    for suffix in "ab":
        world.seed.running(suffix)
    world.seed.watch(world.id("b"))

    assert world.run(settle(world.lane, [completing(world, "a"), completing(world, "b")])).letters == "ss"

    state = world.state()
    assert state["outbox"] == [{"id": "mail.0.b"}]
    assert state["totals"]["completed"] == "2"
    assert {"result:mail.0.a", "result:mail.0.b"} <= set(state)
    assert not {"watched", "runs", "lease", "job:mail.0.a", "job:mail.0.b"} & set(state)
