"""Completions that go the short way, the long way and beside each other: each keeps its own record, token and time."""

from __future__ import annotations

import pytest

from jobfleet.store.calls.inspect import status
from jobfleet.store.calls.settle import (
    STILL_WAITING,
    Item,
    complete,
    complete_briefly,
    expire,
    fail,
    move,
    park,
    release,
    retry,
    settle,
)
from jobfleet.store.records import Final
from tests.lua.world import World
from tests.support.seed import S

TRIES = "1:0:0:0:0\nran"
DURATIONS = {"a": 1, "b": 20, "c": 300, "d": 4000, "e": 50000, "f": 600000, "g": 7000000}
"""Their sum tells which of them it has."""


def completing(world: World, suffix: str, token: int) -> Item:
    record = f"record of {suffix}".encode()
    return complete(world.id(suffix), token, record=record, ttl_ms=600_000, duration_us=DURATIONS[suffix])


def seeded(world: World, suffixes: str, base: int = 100) -> list[Item]:
    """Runs of each kind, with tokens that follow each other, and their completions."""
    items = []
    for number, suffix in enumerate(suffixes):
        token = base + number
        if suffix == "a":
            world.seed.running("a", token)
        elif suffix == "b":
            world.seed.running("b", token, group="acme")
        elif suffix == "c":
            world.seed.running("c", token, group="acme", meta="r 30000")
        elif suffix == "d":
            world.seed.running("d", token, tries=TRIES)
        elif suffix == "e":
            world.seed.watch(world.seed.running("e", token))
        elif suffix == "f":
            world.seed.running("f", token + 50)
        items.append(completing(world, suffix, token))
    return items


def kept(world: World) -> dict[str, tuple[str, int]]:
    return {name[-1]: value for name, value in world.state().items() if name.startswith("result:")}


SETS = [*"abcdefg", *(f"a{other}" for other in "bcdefg"), "fa", "cb", "abcdefg", "gfedcba"]


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("suffixes", SETS)
def test_each_completion_keeps_its_own_record(world: World, suffixes: str, beside: bool) -> None:
    items = seeded(world, suffixes)
    if beside:
        world.seed.running("z", 7)
        items.append(retry(world.id("z"), 7, delay_us=0, tries=TRIES))
    won = [suffix for suffix in suffixes if suffix not in "fg"]
    lost = len(suffixes) - len(won)

    answer = world.run(settle(world.lane, items))

    state = world.state()
    assert answer.letters == "".join("l" if suffix in "fg" else "s" for suffix in suffixes) + ("s" if beside else "")
    assert answer.watched == ("e" in won)
    assert kept(world) == {
        suffix: (f"completed now {100 + suffixes.index(suffix)}\nrecord of {suffix}", 600) for suffix in won
    }
    totals = {"completed": len(won), "lost": lost, "run_us": sum(DURATIONS[suffix] for suffix in won)}
    totals |= {"retried": 1, "retrying": 1} if beside else {}
    assert state["totals"] == {name: str(value) for name, value in totals.items() if value}
    lines = [line for batch in state.get("done", ()) for line in batch["jobs"].split("\n")]
    assert sorted(lines) == [f"{suffix} co {DURATIONS[suffix]}" for suffix in sorted(won)]
    assert state.get("outbox", []) == ([{"id": "mail.0.e"}] if "e" in won else [])
    left = {f"mail.0.{suffix}" for suffix in suffixes if suffix == "f"}
    assert set(state.get("runs", ())) == set(state.get("lease", ())) == left
    assert {name for name in state if name.startswith("job:")} == {f"job:{name}" for name in left} | (
        {"job:mail.0.z"} if beside else set()
    )
    assert not {"held", "meta", "watched"} & set(state)
    assert set(state.get("tries", ())) == ({"mail.0.z"} if beside else set())


@pytest.mark.parametrize("suffixes", SETS)
def test_the_journal_and_who_listens_are_told_of_each_completion_alike(world: World, suffixes: str) -> None:
    world.seed.journal()
    items = seeded(world, suffixes)
    tokens = {suffix: 100 + number for number, suffix in enumerate(suffixes)}
    won = {suffix for suffix in suffixes if suffix not in "fg"}

    with world.listening() as heard:
        world.run(settle(world.lane, items))

    journal = world.state().get("journal", [])
    told = {}
    for batch in journal:
        for number in (name for name in batch if name.isdigit()):
            word, job_id, token, duration = batch[number].split(" ")
            rest = tuple(batch.get(f"{number}{part}") for part in "ert")
            told[job_id[-1]] = (word, int(token), int(duration), *rest)
    assert told == {
        suffix: (
            "completed", tokens[suffix], DURATIONS[suffix], f"envelope of {suffix}", f"record of {suffix}",
            TRIES if suffix == "d" else None,
        )
        for suffix in won
    }  # fmt: skip
    lines = [line.split(" ")[:4] for _, text in heard for line in text.split("\n")]
    assert sorted(lines) == [["1", "completed", suffix, str(tokens[suffix])] for suffix in sorted(won)]


@pytest.mark.parametrize("suffixes", ["a", "d", "ad", "e"])
def test_nothing_is_told_where_nobody_has_said_that_they_listen(world: World, suffixes: str) -> None:
    items = seeded(world, suffixes)

    with world.listening() as heard:
        world.raw.delete(world.lane.listeners)
        world.run(settle(world.lane, items))

    assert heard == []


@pytest.mark.parametrize("mode", ["plain", "journal", "listening", "tries"])
@pytest.mark.parametrize("tokens", [(7, 8, 9), (98, 99, 97), (10**15, 10**15 + 1, 10**15 + 2), (7, 70, 700)])
def test_a_token_that_is_not_that_of_the_run_ends_nothing_wherever_it_stands(
    world: World, mode: str, tokens: tuple[int, int, int]
) -> None:
    if mode == "journal":
        world.seed.journal()
    if mode == "tries":
        world.seed.running("z", tries=TRIES)
    for place in range(3):
        for suffix, token in zip("abc", tokens, strict=True):
            world.seed.running(suffix, token + 3 if "abc".index(suffix) == place else token)
        items = [completing(world, suffix, token) for suffix, token in zip("abc", tokens, strict=True)]
        with world.listening() if mode == "listening" else world.listening("x"):
            answer = world.run(settle(world.lane, items))

        letters = ["s"] * 3
        letters[place] = "l"
        assert answer.letters == "".join(letters)
        assert set(world.state()["runs"]) - {"mail.0.z"} == {f"mail.0.{'abc'[place]}"}
        world.raw.delete(*[world.lane.result(world.id(suffix)) for suffix in "abc"])


def test_fifty_completions_of_which_each_tenth_is_lost(world: World) -> None:
    items = []
    for number in range(50):
        world.seed.running(f"{number:02}", 1000 + number + (number % 10 == 3))
        items.append(complete(world.id(f"{number:02}"), 1000 + number, record=b"r", ttl_ms=1000, duration_us=1))

    answer = world.run(settle(world.lane, items, child="w.1", nonce=1))

    assert answer.letters == "".join("l" if number % 10 == 3 else "s" for number in range(50))
    assert world.state()["totals"] == {"completed": "45", "lost": "5", "run_us": "45"}
    assert set(world.state()["runs"]) == {f"mail.0.{number:02}" for number in (3, 13, 23, 33, 43)}


@pytest.mark.parametrize("limited", [False, True])
def test_a_slot_that_is_free_again_wakes_somebody_only_where_a_limit_may_have_kept_them(
    world: World, limited: bool
) -> None:
    world.seed.running("a", 100)
    world.seed.running("b", 101, tries=TRIES)
    if limited:
        world.seed.limit("2 - - - 2")

    world.run(settle(world.lane, [completing(world, "a", 100), completing(world, "b", 101)]))

    assert ("wake" in world.state()) is limited


@pytest.mark.parametrize("paused", [False, True])
def test_a_lost_completion_frees_no_slot(world: World, paused: bool) -> None:
    world.seed.limit("2 - - - 2")
    if paused:
        world.seed.paused()

    assert world.run(settle(world.lane, [completing(world, "a", 100)])).letters == "l"
    assert "wake" not in world.state()


def test_a_job_that_took_no_time_is_completed_without_a_sum(world: World) -> None:
    world.seed.running("a", 100)
    item = complete(world.id("a"), 100, record=b"r", ttl_ms=1000, duration_us=0)

    world.run(settle(world.lane, [item]))

    assert world.state()["totals"] == {"completed": "1"}


@pytest.mark.parametrize("child", ["", "w.1"])
def test_only_a_trip_of_a_child_is_remembered(world: World, child: str) -> None:
    world.seed.running("a", 100)
    world.seed.running("b", 101, tries=TRIES)

    for nonce, item in enumerate((completing(world, "a", 100), release(world.id("b"), 101)), 1):
        world.run(settle(world.lane, [item], child=child, nonce=nonce))

        assert {name: value for name, value in world.state().items() if name.startswith("sent")} == (
            {"sent:w.1": (f"{nonce}\n1 s", 600)} if child else {}
        )


@pytest.mark.parametrize("way", ["short", "tried", "watched", "released", "retried", "failed"])
@pytest.mark.parametrize("limited", [False, True])
def test_a_group_that_rests_for_want_of_a_slot_is_looked_at_when_one_is_free(
    world: World, way: str, limited: bool
) -> None:
    job_id = world.seed.running("a", 100, group="acme", tries=TRIES if way == "tried" else "")
    world.seed.waiting("b", group="acme", due=30)
    world.seed.rests("acme")
    world.seed.rests("other")
    if limited:
        world.seed.limit("1 - - - 1", "acme")
    if way == "watched":
        world.seed.watch(job_id)
    ends: dict[str, Item] = {
        "released": release(job_id, 100, delay_us=60 * S),
        "retried": retry(job_id, 100, delay_us=60 * S, tries=TRIES),
        "failed": fail(job_id, 100, record=b"r", ttl_ms=1000, duration_us=1, reason="error", tries=TRIES),
    }

    answer = world.run(settle(world.lane, [ends.get(way, completing(world, "a", 100))]))

    state = world.state()
    assert answer.letters == "s"
    assert "held" not in state
    assert state["ring"] == world.before["ring"], "a claim lets it take its turn"
    again = {"2acme": "now+60s"} if way in {"released", "retried"} else None
    assert state.get("gdue") == ({"2acme": "now"} if limited else again)
    assert ("wake" in state) is limited
    waiting = [name.split("|")[2] for name in state["grouped"]]
    assert waiting == (["mail.0.b", "mail.0.a"] if again else ["mail.0.b"])
    assert state["ready:2"] == {
        "mail.0.b": "grouped now+30s", **({"mail.0.a": "grouped now+60s"} if again else {}),
    }  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_an_expired_job_of_a_group_leaves_its_place_among_the_others(world: World, first: bool) -> None:
    expired = world.seed.waiting("a", group="acme", due=0 if first else 30, expires=-10)
    world.seed.waiting("b", group="acme", due=10)
    alone = world.seed.waiting("c", group="other", due=0, expires=-10)
    items = [expire(job_id, 0, ttl_ms=1000, guard=STILL_WAITING) for job_id in (expired, alone)]

    assert world.run(settle(world.lane, items)).letters == "ss"

    state = world.state()
    assert [name.split("|")[2] for name in state["grouped"]] == ["mail.0.b"]
    assert state["ready:2"] == {"mail.0.b": "grouped now+10s"}
    assert state["gdue"] == {"2acme": "now" if first else "now+10s"}
    assert set(state["meta"]) == {"mail.0.b"}
    assert "expiry" not in state


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_a_job_expires_in_whatever_band_it_waits(world: World, band: int) -> None:
    job_id = world.seed.waiting("a", band=band, expires=-10)

    assert world.run(settle(world.lane, [expire(job_id, 0, ttl_ms=1000, guard=STILL_WAITING)])).letters == "s"
    assert f"ready:{band}" not in world.state()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_each_item_takes_what_is_its_own_wherever_it_stands(world: World, order: tuple[int, ...]) -> None:
    for number, suffix in enumerate("abc"):
        world.seed.running(suffix, 100 + number)
    ends = (
        move(world.id("a"), 100, to="big.0.z", ttl_ms=600_000),
        park(world.id("b"), 101, delay_us=30 * S, tries=TRIES),
        fail(world.id("c"), 102, record=b"r", ttl_ms=600_000, duration_us=1, reason="error", tries=TRIES),
    )

    assert world.run(settle(world.lane, [ends[place] for place in order])).letters == "sss"

    state = world.state()
    assert kept(world) == {
        "a": ("cancelled now 100 now-10s w.1 - moved:big.0.z\nenvelope of a", 600),
        "c": ("failed now 102 0 - - error\nr", 600),
    }
    assert (state["ready:2"], state["tries"]) == ({"mail.0.b": "now+30s"}, {"mail.0.b": TRIES})
    assert "runs" not in state


@pytest.mark.parametrize(("proof", "line"), [("", ""), ("s:proof", " 0 - - s:proof")])
@pytest.mark.parametrize(("ttl_ms", "kept"), [(0, {}), (60_000, {"value:mail.0.a": ("record", 60)})])
def test_a_brief_completion_keeps_the_id_for_longer_than_the_record(
    world: World, ttl_ms: int, kept: dict[str, tuple[str, int]], proof: str, line: str
) -> None:
    world.seed.running("a", 7)
    item = complete_briefly(world.id("a"), 7, record=b"record", ttl_ms=600_000, duration_us=5, value_ttl_ms=ttl_ms)
    item = item._replace(proof=proof)

    answer = world.run(settle(world.lane, [item]))

    assert answer.letters == "s"
    state = world.state()
    assert {key: value for key, value in state.items() if key.startswith(("result:", "value:"))} == {
        "result:mail.0.a": (f"completed now 7{line}\n", 600),
        **kept,
    }
    assert world.again(settle(world.lane, [item])).letters == "d"
    (found,) = world.run(status(world.lane, [world.id("a")]))[1]
    assert isinstance(found, Final)
    assert (found.body, found.proof) == (b"record" if kept else b"", proof)


def test_a_cancelled_job_with_a_brief_record_keeps_its_envelope_apart(world: World) -> None:
    world.seed.running("a", 7, meta="r 600000\nv 60000", cancel="ann")

    assert world.run(settle(world.lane, [release(world.id("a"), 7)])).letters == "c"

    state = world.state()
    assert state["result:mail.0.a"][1] == 600
    assert "envelope" not in state["result:mail.0.a"][0]
    assert state["value:mail.0.a"] == ("envelope of a", 60)
