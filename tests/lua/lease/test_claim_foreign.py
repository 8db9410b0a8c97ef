"""A claim leaves to others the jobs of functions that its child does not know, and wakes those who do."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from jobfleet.codec import seal
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import claim, leave_to
from jobfleet.store.records import Claimed, Entry
from tests.lua.world import World
from tests.support.seed import S

LEAVE = leave_to({"shop.theirs": ["k1"], "shop.both": ["k1", "k2"], "shop.nobodys": []})
LOOKS = 200


def envelope_of(function: str, **header: object) -> bytes:
    return seal({"function": function, **header}, [1])


def fill(world: World, function: str, number: int, *, band: int = 2, group: str = "", name: str = "") -> None:
    """So many jobs of a function, due at one moment."""
    prefix = name or function.rpartition(".")[2]
    made = [
        Entry(world.id(f"{prefix}{n:05}"), band, "", f"g {group}" if group else "", envelope_of(function))
        for n in range(number)
    ]
    for at in range(0, number, 50):
        world.go(enqueue(world.lane, made[at : at + 50]))


def claiming(world: World, *, nonce: int = 1, limit: int = 5, past: str = "", child: str = "w.1") -> Claimed:
    return world.run(claim(world.lane, child=child, nonce=nonce, lease_us=60 * S, limit=limit, leave=LEAVE, past=past))


def names(claimed: Claimed) -> list[str]:
    return [grant.id.rpartition(".")[2] for grant in claimed.grants]


def told(claimed: Claimed) -> tuple[tuple[str, str], str]:
    """Whether looks ran out, how many were passed over, and the place to go on from."""
    short, passed, *place = (claimed.past or "").split(" ")
    return (short, passed), " ".join(place)


def woken(world: World) -> set[str]:
    """The markers that stand."""
    return {name for name in world.state() if name.startswith("wake")}


def no_marker(world: World) -> None:
    for kind in ("k1", "k2"):
        world.raw.delete(world.lane.wake_of(kind))
    world.raw.delete(world.lane.wake)


def test_jobs_of_others_stay_and_those_who_know_them_are_woken(world: World) -> None:
    fill(world, "shop.theirs", 2)
    fill(world, "shop.ours", 2)
    no_marker(world)

    answer = claiming(world)

    assert names(answer) == ["ours00000", "ours00001"]
    assert (answer.past, answer.functions) == ("0 2", frozenset())
    assert [*world.state()["ready:2"]] == ["mail.0.theirs00000", "mail.0.theirs00001"]
    assert world.state()["wake:k1"] == {"w": 0}
    assert 0 < world.raw.ttl(world.lane.wake_of("k1")) <= 3600
    assert woken(world) == {"wake:k1"}


def test_where_all_is_left_the_claim_is_empty(world: World) -> None:
    fill(world, "shop.both", 1)
    no_marker(world)

    answer = claiming(world)

    assert (answer.word, answer.grants, answer.past) == ("empty", (), "0 1")
    assert woken(world) == {"wake:k1", "wake:k2"}


def test_what_nobody_who_serves_the_queue_knows_wakes_nobody(world: World) -> None:
    fill(world, "shop.nobodys", 1)
    no_marker(world)

    assert (claiming(world).word, woken(world)) == ("empty", set())


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"envelope of a",
        envelope_of("shop.theirsmore"),
        envelope_of("theirs"),
        b"\x02" + envelope_of("shop.theirs")[1:],
        envelope_of("shop.theirs")[:20],
        seal({"name": "x", "function": "shop.theirs"}),
        envelope_of("x" * 40),
    ],
    ids=["empty", "garbage", "longer", "shorter", "newer", "cut", "not-first", "other"],
)
def test_what_cannot_be_told_to_be_another_ones_is_claimed(world: World, envelope: bytes) -> None:
    world.seed.waiting("a")
    world.raw.set(world.lane.job(world.id("a")), envelope)

    assert names(claiming(world)) == ["a"]


def test_an_envelope_of_another_type_does_not_stop_the_claim(world: World) -> None:
    world.seed.waiting("a")
    world.raw.delete(world.lane.job(world.id("a")))
    world.raw.rpush(world.lane.job(world.id("a")), "x")

    assert names(claiming(world)) == ["a"]


@pytest.mark.parametrize("name", ["f", "f" * 31, "f" * 32, "f" * 128])
def test_names_of_every_length_and_headers_of_many_keys_are_read(world: World, name: str) -> None:
    leave = leave_to({name: ["k1"]})
    more = {f"key{number}": number for number in range(20)}
    for suffix, envelope in (("a", envelope_of(name)), ("b", envelope_of(name, **more)), ("c", envelope_of("ours"))):
        world.seed.waiting(suffix)
        world.raw.set(world.lane.job(world.id(suffix)), envelope)

    answer = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=5, leave=leave))

    assert names(answer) == ["c"]


def test_more_that_is_not_left_wakes_another_child(world: World) -> None:
    fill(world, "shop.theirs", 1)
    fill(world, "shop.ours", 3)
    no_marker(world)

    assert names(claiming(world, limit=2)) == ["ours00000", "ours00001"]
    assert woken(world) == {"wake", "wake:k1"}


def test_bands_are_looked_through_in_their_order(world: World) -> None:
    fill(world, "shop.theirs", 3, band=0)
    fill(world, "shop.ours", 1, band=3, name="low")
    fill(world, "shop.ours", 1, band=1, name="high")

    assert names(claiming(world)) == ["high00000", "low00000"]


def test_a_claim_looks_at_so_many_jobs_and_the_next_one_goes_on_behind_them(world: World) -> None:
    fill(world, "shop.theirs", 2 * LOOKS + 10)
    fill(world, "shop.ours", 1)

    past, seen = "", []
    for nonce in count(1):
        answer = claiming(world, nonce=nonce, past=past)
        looks, past = told(answer)
        seen.append((*looks, names(answer)))
        if looks[0] == "0":
            break

    assert seen == [("1", "200", []), ("1", "200", []), ("0", "10", ["ours00000"])]


def test_the_end_of_a_pass_is_kept_so_that_only_what_is_new_is_looked_at(world: World) -> None:
    fill(world, "shop.theirs", LOOKS + 10)
    past = told(claiming(world))[1]
    past = told(claiming(world, nonce=2, past=past))[1]

    fill(world, "shop.ours", 1)
    answer = claiming(world, nonce=3, past=past)

    assert (names(answer), told(answer)[0]) == (["ours00000"], ("0", "0"))


def test_a_repeated_claim_answers_its_grants(world: World) -> None:
    fill(world, "shop.theirs", 1)
    fill(world, "shop.ours", 1)
    answer = claiming(world)

    again = world.again(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=5, leave=LEAVE))

    assert (again.grants, again.past) == (answer.grants, None)


def test_paused_functions_are_told_as_to_any_claim(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    fill(world, "shop.ours", 1)

    assert claiming(world).functions == {"mail.send"}


def test_groups_whose_jobs_are_left_keep_their_turns(world: World) -> None:
    fill(world, "shop.theirs", 3, group="acme")
    fill(world, "shop.ours", 2, group="zeta")
    no_marker(world)

    answer = claiming(world)

    assert names(answer) == ["ours00000", "ours00001"]
    assert [*world.state()["ring"]] == ["2acme"]
    assert woken(world) == {"wake:k1"}
    theirs = world.run(claim(world.lane, child="w.2", nonce=1, lease_us=60 * S, limit=5))
    assert names(theirs) == ["theirs00000", "theirs00001", "theirs00002"]


def test_within_a_group_jobs_behind_those_of_others_are_claimed(world: World) -> None:
    fill(world, "shop.theirs", 30, group="acme")
    fill(world, "shop.ours", 2, group="acme")

    assert names(claiming(world)) == ["ours00000", "ours00001"]
    assert names(claiming(world, nonce=2)) == []
    theirs = world.run(claim(world.lane, child="w.2", nonce=1, lease_us=60 * S, limit=50))
    assert len(names(theirs)) == 30


def test_groups_behind_many_whose_jobs_are_left_are_come_to(world: World) -> None:
    for number in range(250):
        fill(world, "shop.theirs", 1, group=f"g{number:03}", name=f"t{number:03}-")
    world.run(claim(world.lane, child="w.3", nonce=1, lease_us=60 * S, limit=1))
    fill(world, "shop.ours", 1, group="zeta")

    past, found = "", []
    for nonce in range(1, 20):
        answer = claiming(world, nonce=nonce, past=past)
        (_, _), past = told(answer)
        found += names(answer)
        if found:
            break

    assert found == ["ours00000"]


@pytest.mark.parametrize("seed", range(6))
def test_two_children_together_claim_every_job_once(world: World, seed: int) -> None:
    random = Random(seed)
    total = 0
    for number in range(40):
        function = random.choice(["shop.theirs", "shop.ours"])
        group = random.choice(["", "", "acme", "zeta"])
        many = random.randint(1, 20)
        fill(world, function, many, group=group, band=random.randint(0, 3), name=f"{function[5:]}{number:02}-")
        total += many
    lists = {"w.1": LEAVE, "w.2": leave_to({"shop.ours": ["k0"]})}
    pasts, seen = dict.fromkeys(lists, ""), []
    for nonce in range(1, 400):
        for child, leave in lists.items():
            answer = world.go(
                claim(
                    world.lane, child=child, nonce=nonce, lease_us=60 * S, limit=random.randint(1, 20), leave=leave,
                    past=pasts[child] if nonce % 10 else "",
                )
            )  # fmt: skip
            (_, _), pasts[child] = told(answer)
            seen += [(child, name.partition("-")[0][:4], name) for name in names(answer)]
        if len(seen) >= total:
            break

    assert len({name for _, _, name in seen}) == len(seen) == total
    assert {(child, kind) for child, kind, _ in seen} == {("w.1", "ours"), ("w.2", "thei")}
