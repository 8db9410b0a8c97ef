"""What is there only sometimes: a claim asks for most of it at once, and each alone must be found."""

from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.lease import claim
from jobfleet.store.records import Claimed
from tests.lua.world import World
from tests.support.seed import S

MINUTE = 60 * S


def claiming(world: World, *, nonce: int = 1, limit: int = 5, lease: int = MINUTE, order: str = "") -> Call[Claimed]:
    return claim(world.lane, child="w.1", nonce=nonce, lease_us=lease, limit=limit, order=order)


def ids(claimed: Claimed) -> str:
    return "".join(grant.id[-1] for grant in claimed.grants)


@pytest.mark.parametrize("band", [0, 1, 3])
@pytest.mark.parametrize("beside", ["nothing", "a plain job", "one that was tried"])
def test_a_job_of_another_priority_is_found_whatever_else_there_is(world: World, band: int, beside: str) -> None:
    world.seed.waiting("a", band=band)
    if beside != "nothing":
        world.seed.waiting("n", tries="" if beside == "a plain job" else "1:0:0:0:0")

    answer = world.run(claiming(world))

    assert sorted(ids(answer)) == (["a"] if beside == "nothing" else ["a", "n"])


@pytest.mark.parametrize("band", [0, 1, 3])
def test_a_job_of_another_priority_that_is_due_later_is_told(world: World, band: int) -> None:
    world.seed.waiting("a", band=band, due=30)
    world.seed.waiting("n")

    first = world.run(claiming(world))
    second = world.run(claiming(world, nonce=2))

    assert (ids(first), world.time(first.next_due)) == ("n", "now+30s")
    assert (second.word, world.time(second.next_due)) == ("empty", "now+30s")


def test_tries_alone_are_told_and_leave_the_gauge(world: World) -> None:
    world.seed.waiting("a", tries="1:0:0:0:0")

    (grant,) = world.run(claiming(world)).grants

    assert (grant.tries, grant.meta) == ("1:0:0:0:0", "")
    assert world.state()["totals"] == {"retrying": "0"}


def test_meta_alone_is_told(world: World) -> None:
    world.seed.waiting("a", meta="r 5000")

    (grant,) = world.run(claiming(world)).grants

    assert (grant.tries, grant.meta) == ("", "r 5000")


def test_tries_and_meta_are_those_of_their_jobs(world: World) -> None:
    world.seed.waiting("a", due=-30)
    world.seed.waiting("b", due=-20, tries="1:0:0:0:0")
    world.seed.waiting("c", due=-10, meta="r 5000")
    world.seed.waiting("d", due=0, tries="2:0:0:0:0", meta="r 7000")

    grants = world.run(claiming(world)).grants

    assert [(grant.id[-1], grant.tries, grant.meta) for grant in grants] == [
        ("a", "", ""), ("b", "1:0:0:0:0", ""), ("c", "", "r 5000"), ("d", "2:0:0:0:0", "r 7000"),
    ]  # fmt: skip
    assert world.state()["totals"] == {"retrying": "0"}


@pytest.mark.parametrize("where", ["turns", "due"])
def test_a_group_alone_is_found_where_its_jobs_have_no_record(world: World, where: str) -> None:
    world.seed.waiting("a", group="acme")
    if where == "turns":
        world.seed.turns("acme")
    world.raw.delete(world.lane.meta)

    assert ids(world.run(claiming(world))) == "a"


def test_a_group_that_comes_due_later_is_told_where_nothing_else_is(world: World) -> None:
    world.raw.zadd(world.lane.gdue, {"2acme": world.seed.at(30)})
    world.seed.waiting("n")

    first = world.run(claiming(world))

    assert (ids(first), world.time(first.next_due)) == ("n", "now+30s")
    assert world.time(world.run(claiming(world, nonce=2)).next_due) == "now+30s"


def test_who_listens_is_told_where_nothing_else_is(world: World) -> None:
    world.seed.waiting("a")

    with world.listening() as heard:
        world.run(claiming(world))

    assert heard == [("events", "1 claimed a now+60s 0 now")]


@pytest.mark.parametrize("tries", ["", "1:0:0:0:0"])
def test_nothing_is_told_where_nobody_has_said_that_they_listen(world: World, tries: str) -> None:
    world.seed.waiting("a", tries=tries)

    with world.listening() as heard:
        world.raw.delete(world.lane.listeners)
        world.run(claiming(world))

    assert heard == []


def test_who_listens_is_told_what_a_job_has_spent(world: World) -> None:
    world.seed.waiting("a", tries="1:0:0:0:0")

    with world.listening() as heard:
        world.run(claiming(world))

    assert heard == [("events", "1 claimed a now+60s 0 now")]


@pytest.mark.parametrize(
    ("metas", "left"),
    [
        (("s q\nu key", "u other"), {"other": "mail.0.b 0 now"}),
        (("x 1\ns q\nu key", "s q\nu other"), {}),
        (("g acme", "s q\nu other"), {}),
    ],
)
def test_keys_of_jobs_that_wait_no_longer_are_free(world: World, metas: tuple[str, str], left: dict[str, str]) -> None:
    for suffix, meta in zip("ab", metas, strict=True):
        job_id = world.seed.waiting(suffix, meta=meta, due=-10)
        if "u " in meta:
            world.seed.holds(meta.rpartition("u ")[2], job_id)

    world.run(claiming(world))

    assert world.state().get("unique", {}) == left


def test_the_expiry_of_those_that_are_claimed_goes_and_of_those_that_wait_stays(world: World) -> None:
    for suffix, due in (("a", -20), ("b", -10), ("c", 0)):
        world.seed.waiting(suffix, due=due, expires=60)

    world.run(claiming(world, limit=2))

    assert world.state()["expiry"] == {"mail.0.c": "now+60s"}


@pytest.mark.parametrize(
    ("limit", "running", "claimed", "wakes"),
    [
        ("3 - - - 3", 1, "ab", False),
        ("2 - - - 2", 1, "a", False),
        ("1 - - - 1", 1, "", False),
        ("4 - - - 4", 1, "abc", False),
        ("9 - - - 9", 1, "abc", False),
        (f"- {10 * S} 2 - 2/20s", 1, "ab", False),
        (f"- {10 * S} 9 - 9/90s", 0, "abc", False),
    ],
)
def test_a_limited_lane_grants_what_there_is_room_for_and_wakes_nobody_for_the_rest(
    world: World, limit: str, running: int, claimed: str, wakes: bool
) -> None:
    for number in range(running):
        world.seed.running(f"r{number}")
    for suffix, due in (("a", -30), ("b", -20), ("c", -10)):
        world.seed.waiting(suffix, due=due)
    world.seed.limit(limit)

    assert ids(world.run(claiming(world))) == claimed
    assert ("wake" in world.state()) is wakes


def test_tokens_that_were_spent_are_written_down_and_the_next_is_told(world: World) -> None:
    for suffix, due in (("a", -30), ("b", -20), ("c", -10)):
        world.seed.waiting(suffix, due=due)
    world.seed.limit(f"- {10 * S} 2 - 2/20s")

    first = world.run(claiming(world))
    second = world.run(claiming(world, nonce=2))

    assert (ids(first), world.time(first.next_due)) == ("ab", "now+10s")
    assert (second.word, world.time(second.next_due)) == ("empty", "now+10s")
    assert world.state()["rates"] == {"": "now+20s"}


def test_a_lane_that_is_full_tells_no_time(world: World) -> None:
    world.seed.waiting("a")
    world.seed.waiting("b")
    world.seed.waiting("c", due=30)
    world.seed.limit("1 - - - 1")

    first = world.run(claiming(world))
    second = world.run(claiming(world, nonce=2))

    assert (len(first.grants), first.next_due) == (1, 0)
    assert (second.word, second.next_due) == ("empty", 0)


@pytest.mark.parametrize(("lease", "kept"), [(30, 60), (60, 60), (90, 90)])
def test_the_longest_lease_grows_and_does_not_shrink(world: World, lease: int, kept: int) -> None:
    world.seed.waiting("a")
    world.run(claiming(world))
    world.seed.waiting("b")

    world.run(claiming(world, nonce=2, lease=lease * S))

    assert world.state()["lane"]["longest"] == str(kept * S)


def test_a_lane_notes_which_primary_has_granted(world: World) -> None:
    world.seed.waiting("a")
    information = world.info("replication", key=world.lane.lane)

    world.run(claiming(world))

    assert world.raw.hget(world.lane.lane, "replid") == information["master_replid"].encode()


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 30])
@pytest.mark.parametrize("last", [8_888_888_888_888_880, 8_888_888_888_888_888, 8_888_888_888_888_889])
def test_tokens_follow_each_other_over_tens_and_hundreds(world: World, count: int, last: int) -> None:
    world.seed.waiting("first")
    world.run(claiming(world))
    world.raw.hset(world.lane.lane, "token", last)
    for number in range(count):
        world.seed.waiting(f"{number:02}", band=number % 4)

    answer = world.run(claiming(world, nonce=2, limit=50))

    assert [grant.token for grant in answer.grants] == [last + 1 + number for number in range(count)]
    runs = {grant.id: world.raw.hget(world.lane.runs, grant.id) for grant in answer.grants}
    for grant in answer.grants:
        record = runs[grant.id]
        assert isinstance(record, bytes)
        token, child, _, lease, band, cancel = record.decode().split("|")
        assert (token, child, lease, band, cancel) == (str(grant.token), "w.1", f"{MINUTE:015d}", str(grant.band), "")
    assert world.raw.hget(world.lane.lane, "token") == str(last + count).encode()


@pytest.mark.parametrize("order", ["", "0123", "3210", "2", "31"])
def test_the_order_of_bands_is_that_of_the_digits(world: World, order: str) -> None:
    for band in range(4):
        world.seed.waiting(f"{band}", band=band)
        world.seed.waiting(f"x{band}", band=band, due=30)

    answer = world.run(claiming(world, order=order))

    assert ids(answer) == (order or "0123")
    assert {grant.id[-1]: grant.band for grant in answer.grants} == {digit: int(digit) for digit in order or "0123"}


@pytest.mark.parametrize(("limit", "wakes"), [(3, True), (4, False), (5, False)])
def test_a_claim_over_bands_hands_on_what_it_has_left(world: World, limit: int, wakes: bool) -> None:
    for suffix, band in (("a", 0), ("b", 1), ("c", 2), ("d", 3)):
        world.seed.waiting(suffix, band=band, due=-10)

    answer = world.run(claiming(world, limit=limit))

    assert ids(answer) == "abcd"[:limit]
    assert ("wake" in world.state()) is wakes
    left = {f"ready:{band}" for band in range(limit, 4)}
    assert {name for name in world.state() if name.startswith("ready")} == left


def test_a_repeated_claim_tells_band_and_due_time_of_what_still_stands(world: World) -> None:
    for suffix, band, due in (("a", 0, -30), ("b", 1, -20), ("c", 3, -10)):
        world.seed.waiting(suffix, band=band, due=due)
    first = world.run(claiming(world))
    world.raw.hdel(world.lane.runs, world.id("b"))

    second = world.again(claiming(world))

    assert second.grants == (first.grants[0], first.grants[2])
    assert [(grant.band, world.time(grant.due)) for grant in second.grants] == [(0, "now-30s"), (3, "now-10s")]


def test_a_child_without_a_claim_of_that_time_is_told_so(world: World) -> None:
    world.seed.waiting("a")
    world.run(claiming(world, nonce=5))

    assert world.refused(claiming(world, nonce=4)).word == "stale"
    assert world.again(claiming(world, nonce=5)).word == "claimed"
    assert world.run(claiming(world, nonce=6)).word == "empty"


def test_the_journal_has_one_text_for_jobs_that_have_spent_nothing(world: World) -> None:
    world.seed.journal()
    world.seed.waiting("a")
    world.seed.waiting("b")

    world.run(claiming(world))

    journal = [{"at": "now", "claimed": "w.1 now+60s mail.0.a now mail.0.b now"}]
    assert world.state()["journal"] == journal
    world.again(claiming(world))
