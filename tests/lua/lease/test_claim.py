from __future__ import annotations

import pytest

from jobfleet.errors import ScriptContractError
from jobfleet.store.call import Call
from jobfleet.store.calls.lease import claim
from jobfleet.store.records import Claimed
from tests.lua.world import World
from tests.support.seed import S

MINUTE = 60 * S


REMEMBERED = {"claim:w.1": ("1", 3600)}
"""What a claim that brought nothing leaves: its nonce, so that an older one is stale."""


def claiming(world: World, *, nonce: int = 1, limit: int = 5, child: str = "w.1") -> Call[Claimed]:
    return claim(world.lane, child=child, nonce=nonce, lease_us=MINUTE, limit=limit)


def ids(claimed: Claimed) -> str:
    return "".join(grant.id[-1] for grant in claimed.grants)


def test_a_due_job_moves_from_its_band_into_a_lease(world: World) -> None:
    world.seed.waiting("a", due=-10, band=1)

    answer = world.run(claiming(world))

    (grant,) = answer.grants
    assert (answer.word, answer.next_due) == ("claimed", 0)
    assert (grant.id, grant.band, grant.envelope) == (world.id("a"), 1, b"envelope of a")
    assert (grant.tries, grant.meta, world.time(grant.due)) == ("", "", "now-10s")
    assert world.state() == {
        "claim:w.1": ("1\nnow+60s\nmail.0.a now-10s", 3600),
        "job:mail.0.a": "envelope of a",
        "lane": {"longest": str(MINUTE), "replid": world.state()["lane"]["replid"], "token": "now+60s"},
        "lease": {"mail.0.a": "now+60s"},
        "runs": {"mail.0.a": f"now+60s|w.1|now|{MINUTE:015d}|1|"},
    }
    assert world.raw.hget(world.lane.lane, "token") == str(grant.token).encode()


def test_what_stands_below_zero_is_no_plain_job_and_stays(world: World) -> None:
    for suffix in "abc":
        world.seed.waiting(suffix, due=-10)
    world.raw.zadd(world.lane.ready[2], {world.id("a"): -5})

    answer = world.run(claiming(world, limit=1))

    assert ids(answer) == "b"
    assert world.state()["ready:2"] == {"mail.0.a": -5, "mail.0.c": "now-10s"}


@pytest.mark.parametrize("count", [7, 8, 50])
def test_however_many_are_claimed_at_once_only_they_hold_leases(world: World, count: int) -> None:
    names = [f"{number:02}" for number in range(count)]
    for name in names:
        world.seed.waiting(name)

    world.run(claiming(world, limit=50))

    assert world.state()["lease"] == {f"mail.0.{name}": "now+60s" for name in names}
    assert "ready:2" not in world.state()


def test_the_lease_counts_from_the_time_of_the_claim(world: World) -> None:
    world.seed.waiting("a")

    answer = world.run(claiming(world))

    assert world.raw.zscore(world.lane.lease, world.id("a")) == answer.now + MINUTE


def test_the_most_urgent_come_first_and_the_longest_waiting_among_them(world: World) -> None:
    for suffix, band, due in (("d", 3, -90), ("c", 2, -10), ("b", 2, -20), ("a", 0, 0), ("e", 1, 30)):
        world.seed.waiting(suffix, band=band, due=due)

    first = world.run(claiming(world, limit=2))
    second = world.run(claiming(world, nonce=2, limit=2))

    assert (ids(first), ids(second)) == ("ab", "cd")
    assert [grant.band for grant in (*first.grants, *second.grants)] == [0, 2, 2, 3]


def test_tokens_grow_within_a_claim_and_from_claim_to_claim(world: World) -> None:
    for suffix in "abc":
        world.seed.waiting(suffix)

    first = world.run(claiming(world, limit=2))
    second = world.run(claiming(world, nonce=2))

    tokens = [grant.token for grant in (*first.grants, *second.grants)]
    assert tokens == sorted(set(tokens))
    assert tokens[0] == first.now + MINUTE


@pytest.mark.parametrize(
    ("waiting", "limit", "wakes", "next_due"),
    [
        ({"a": (2, 0)}, 1, False, "0"),
        ({"a": (2, 0), "b": (2, 0)}, 1, True, "0"),
        ({"a": (2, 0), "b": (3, 0)}, 1, True, "0"),
        ({"a": (2, 0), "b": (3, 30)}, 1, False, "now+30s"),
        ({"a": (2, 0), "b": (0, 40), "c": (3, 30)}, 5, False, "now+30s"),
        ({"a": (2, 0), "b": (2, 0)}, 2, False, "0"),
    ],
)
def test_the_marker_is_set_again_exactly_when_work_is_left(
    world: World, waiting: dict[str, tuple[int, int]], limit: int, wakes: bool, next_due: str
) -> None:
    for suffix, (band, due) in waiting.items():
        world.seed.waiting(suffix, band=band, due=due)

    answer = world.run(claiming(world, limit=limit))

    assert ("wake" in world.state()) is wakes
    assert (world.time(answer.next_due) if answer.next_due else "0") == next_due


def test_nothing_due_is_empty_and_tells_when_to_come_back(world: World) -> None:
    world.seed.waiting("a", due=30)
    world.seed.waiting("b", due=20, band=3)

    answer = world.run(claiming(world))

    assert (answer.word, world.time(answer.next_due), answer.grants) == ("empty", "now+20s", ())
    assert world.state() == world.moved(REMEMBERED)


def test_an_empty_lane_is_empty(world: World) -> None:
    answer = world.run(claiming(world))

    assert (answer.word, answer.next_due) == ("empty", 0)
    assert world.state() == world.moved(REMEMBERED)


def test_a_paused_lane_grants_nothing(world: World) -> None:
    world.seed.waiting("a")
    world.seed.paused()

    assert world.run(claiming(world)).word == "paused"
    assert world.state() == world.moved(REMEMBERED)


def test_a_claim_that_was_refused_for_a_pause_grants_nothing_when_it_is_repeated_after_it(world: World) -> None:
    world.seed.waiting("a")
    world.seed.paused()
    world.run(claiming(world))
    world.raw.delete(world.lane.conf)

    assert world.again(claiming(world)).word == "empty"


def test_a_claim_repeated_answers_the_same_grants_and_leases_nothing(world: World) -> None:
    for suffix in "abc":
        world.seed.waiting(suffix, meta="r 5000", tries="1:0:0:0:0")
    first = world.run(claiming(world, limit=2))

    second = world.again(claiming(world, limit=2))

    assert [grant._replace(due=0) for grant in second.grants] == [grant._replace(due=0) for grant in first.grants]
    assert (second.word, second.next_due) == ("claimed", 0)


def test_a_claim_repeated_answers_the_same_due_times(world: World) -> None:
    world.seed.waiting("a", due=-10)
    first = world.run(claiming(world))

    second = world.again(claiming(world))

    assert world.time(second.grants[0].due) == world.time(first.grants[0].due) == "now-10s"


def test_a_claim_repeated_while_paused_still_answers_its_grants(world: World) -> None:
    world.seed.waiting("a")
    first = world.run(claiming(world))
    world.seed.paused()

    second = world.again(claiming(world))

    assert [grant.token for grant in second.grants] == [grant.token for grant in first.grants]


def test_a_claim_repeated_leaves_out_what_it_has_lost_since(world: World) -> None:
    for suffix in "abc":
        world.seed.waiting(suffix)
    first = world.run(claiming(world, limit=3))
    world.raw.hdel(world.lane.runs, world.id("a"))
    world.seed.running("b", token=first.grants[1].token + 1_000, child="w.2")

    second = world.again(claiming(world, limit=3))

    assert [grant.token for grant in second.grants] == [first.grants[2].token]


def test_a_claim_repeated_after_all_is_lost_is_empty(world: World) -> None:
    world.seed.waiting("a")
    world.run(claiming(world))
    world.raw.delete(world.lane.runs, world.lane.lease)

    answer = world.again(claiming(world))

    assert (answer.word, answer.grants) == ("empty", ())


def test_a_lower_nonce_is_stale(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")
    world.run(claiming(world, nonce=2, limit=1))

    answer = world.refused(claiming(world, nonce=1))
    assert (answer.word, answer.seen) == ("stale", 2)


def test_a_number_that_no_child_counts_to_is_not_believed(world: World) -> None:
    world.seed.waiting("a")
    world.raw.set(world.lane.claim("w.1"), "99999999999999999 x")

    assert ids(world.run(claiming(world, nonce=1))) == "a"


def test_a_lower_nonce_is_stale_after_an_empty_claim_too(world: World) -> None:
    world.run(claiming(world, nonce=2))
    world.seed.waiting("a")

    assert world.run(claiming(world, nonce=1)).word == "stale"


def test_nonces_of_two_children_do_not_mix(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")
    world.run(claiming(world, nonce=9, limit=1))

    answer = world.run(claiming(world, nonce=1, child="w.2"))

    assert ids(answer) == "b"
    assert world.state()["claim:w.2"] == ("1\nnow+60s\nmail.0.b now", 3600)


def test_a_buried_child_gets_nothing(world: World) -> None:
    world.seed.waiting("a")
    world.raw.set(world.lane.claim("w.1"), "buried")

    assert world.refused(claiming(world, nonce=9)).word == "buried"


def test_a_job_that_may_expire_no_longer_waits_and_loses_its_expiry(world: World) -> None:
    world.seed.waiting("a", expires=60)
    world.seed.waiting("b", meta="r 5000")

    answer = world.run(claiming(world))

    assert [grant.meta.partition(" ")[0] for grant in answer.grants] == ["x", "r"]
    assert "expiry" not in world.state()
    assert world.state()["meta"] == world.before["meta"]


def test_the_retrying_gauge_falls_by_those_with_tries(world: World) -> None:
    world.seed.waiting("a", tries="1:0:0:0:0")
    world.seed.waiting("b", tries="2:0:0:0:0")
    world.seed.waiting("c")

    answer = world.run(claiming(world, limit=1))
    assert answer.grants[0].tries == "1:0:0:0:0"
    assert world.state()["totals"] == {"retrying": "1"}

    world.run(claiming(world, nonce=2))
    assert world.state()["totals"] == {"retrying": "0"}


def test_another_primary_leaves_a_minute_of_tokens_free(world: World) -> None:
    world.seed.waiting("a")
    world.seed.lane_holds(token=world.now - S, replid="f00d")

    answer = world.run(claiming(world))

    (grant,) = answer.grants
    assert grant.token == answer.now + MINUTE
    assert world.raw.hget(world.lane.lane, "replid") != b"f00d"


def test_a_lane_that_never_noted_its_primary_leaves_a_minute_free_too(world: World) -> None:
    world.seed.waiting("a")
    world.seed.lane_holds(token=world.now - S, run_id="f00d")

    answer = world.run(claiming(world))

    assert answer.grants[0].token == answer.now + MINUTE


@pytest.mark.parametrize("token", ["", "garbage"])
def test_a_text_in_place_of_the_token_leaves_a_minute_free_too(world: World, token: str) -> None:
    world.seed.waiting("a")
    world.seed.lane_holds(token=token)

    answer = world.run(claiming(world)._replace(mends=False))

    assert answer.grants[0].token == answer.now + MINUTE


def test_the_same_primary_leaves_none_free(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")
    world.run(claiming(world, limit=1))
    world.seed.lane_holds(token=world.now - S)

    answer = world.run(claiming(world, nonce=2, limit=1))

    assert answer.grants[0].token == answer.now


def test_a_token_grows_also_when_the_clock_has_stepped_back(world: World) -> None:
    world.seed.waiting("a")
    last = 8_888_888_888_888_887
    world.seed.lane_holds(token=last)

    (grant,) = world.run(claiming(world)).grants

    assert grant.token == last + 1
    assert str(world.raw.hget(world.lane.runs, grant.id)).startswith("b'8888888888888888|")


@pytest.mark.parametrize("token", [str(9 * 10**15), "nan"])
def test_a_token_beyond_what_numbers_carry_is_refused_and_nothing_is_written(world: World, token: str) -> None:
    """Where nothing is repaired; see `tests/poisons` for what follows where it is."""
    world.seed.waiting("a")
    world.seed.lane_holds(token=token)
    before = world.state()

    with pytest.raises(ScriptContractError, match="tokens are used up"):
        world.run(claiming(world)._replace(mends=False))

    assert world.state() == before


def test_the_longest_lease_is_remembered(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")
    world.seed.lane_holds(longest=90 * S)

    world.run(claiming(world, limit=1))
    assert world.state()["lane"]["longest"] == str(90 * S)

    world.run(claim(world.lane, child="w.1", nonce=2, lease_us=120 * S, limit=1))
    assert world.state()["lane"]["longest"] == str(120 * S)


def test_a_job_whose_envelope_is_lost_is_granted_without_it(world: World) -> None:
    world.seed.waiting("a")
    world.raw.delete(world.lane.job(world.id("a")))

    assert world.run(claiming(world)).grants[0].envelope == b""


def test_fifty_jobs_come_in_one_claim(world: World) -> None:
    for n in range(51):
        world.seed.waiting(f"{n:02}", tries="1:0:0:0:0")

    answer = world.run(claiming(world, limit=50))

    assert len(answer.grants) == 50
    assert len(world.state()["lease"]) == 50
    assert world.state()["wake"] == {"w": 0}


def test_who_listens_hears_of_each_grant_once(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")

    with world.listening(world.id("a")) as heard:
        world.run(claiming(world))
        world.run(claiming(world))

    assert heard == [
        ("events:mail.0.a", "1 claimed a now+60s 0 now"),
        ("events", "1 claimed a now+60s 0 now\n1 claimed b now+60s 0 now"),
    ]


@pytest.mark.parametrize(("due", "band", "wakes"), [(0, 0, True), (-10, 3, True), (30, 2, False)])
def test_a_claim_without_room_grants_nothing_and_hands_the_wake_up_on(
    world: World, due: int, band: int, wakes: bool
) -> None:
    world.seed.waiting("a", due=due, band=band)

    assert world.run(claiming(world, limit=0)).word == "empty"
    assert world.state() == world.moved({**REMEMBERED, "wake": {"w": 0}} if wakes else REMEMBERED)


def test_priorities_are_visited_in_the_order_that_is_given(world: World) -> None:
    for suffix, band in (("a", 0), ("b", 1), ("c", 2), ("d", 3)):
        world.seed.waiting(suffix, band=band)

    first = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=MINUTE, limit=2, order="3102"))
    second = world.run(claim(world.lane, child="w.1", nonce=2, lease_us=MINUTE, limit=2, order="3102"))

    assert (ids(first), ids(second)) == ("db", "ac")
    assert [grant.band for grant in (*first.grants, *second.grants)] == [3, 1, 0, 2]
    assert world.raw.zcard(world.lane.wake) == 1, "the first has left work behind"


def test_the_journal_keeps_who_runs_it_and_what_it_has_spent_once(world: World) -> None:
    world.seed.journal()
    world.seed.waiting("a")
    world.seed.waiting("b", tries="1:0:0:0:0\nran")

    world.run(claiming(world))

    journal = [
        {"at": "now", "1": "claimed mail.0.a now+60s w.1", "2": "claimed mail.0.b now+60s w.1", "2t": "1:0:0:0:0\nran"}
    ]
    assert world.state()["journal"] == journal
    world.again(claiming(world))
