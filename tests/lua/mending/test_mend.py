from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.calls.journal import register
from jobfleet.store.damage import Damage, judge, mend, places, survey
from tests.lua.world import World

MONTH = 30 * 86400


def test_a_key_of_another_type_is_moved_aside_whole(world: World) -> None:
    world.raw.set(world.lane.lease, "garbage")
    call = mend(world.lane.tag, [Damage("lease", "zset", b"", b"string"), Damage("wake", "zset", b"", b"string")])

    assert world.run(call) == "mn"
    assert world.state() == world.moved({"lease": None, "aside:lease": ("garbage", MONTH)})
    assert world.again(call) == "nn"


def test_a_field_is_taken_out_at_the_value_that_was_seen(world: World) -> None:
    world.raw.hset(world.lane.totals, mapping={"enqueued": "x", "failed": "y", "completed": "3"})
    seen = [Damage("totals", "hash", b"enqueued", b"x"), Damage("totals", "hash", b"failed", b"z")]

    assert world.run(mend(world.lane.tag, seen)) == "mn"
    assert world.state() == world.moved(
        {"totals": {"failed": "y", "completed": "3"}, "aside:totals:fields": {"enqueued": "x"}}
    )
    assert 0 < world.raw.pttl(f"{world.lane.tag}aside:totals:fields") <= MONTH * 1000


M = (1 << 64) - 1


def ended(world: World, name: str, *entries: tuple[str, dict[str, str]], last: str = f"{M}-{M}") -> Damage:
    """A stream with some entries, beyond which nothing can be added."""
    for entry, fields in entries:
        world.raw.xadd(world.lane.tag + name, fields, id=entry)  # type: ignore[arg-type]
    (found,) = judged(world, name)
    assert found.value.decode() == last
    return found


def judged(world: World, *names: str) -> list[Damage]:
    looked = [place for place in places(world.lane.tag) if place.name in names]
    seen = world.run(survey(world.lane.tag, looked))
    return judge(looked, seen.rows, seen.now)


@pytest.mark.parametrize("last", [f"{M}-{M}", f"{M}-0", "99999999999999-5"])
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_stream_that_cannot_go_on_is_copied(world: World, last: str, is_deleted: bool) -> None:
    key, new = f"{world.lane.tag}outbox", f"{world.now // 1000}-1"
    world.raw.xadd(key, {"id": "mail.0.a"}, id=new)
    foreign = (last, {"id": "mail.0.b"})
    found = ended(world, "outbox", foreign, last=last)
    if is_deleted:
        world.raw.xdel(key, last)
    call = mend(world.lane.tag, [found])

    assert str(found) == f"outbox ends at {last}, beyond all times"
    assert world.run(call) == "m"
    rows = [{"id": "mail.0.a"}] if is_deleted else [{"id": "mail.0.a"}, {"id": "mail.0.b"}]
    told = {"ended": last, "entries": str(len(rows)), "renumbered": str(len(rows) - 1)}
    assert world.state() == {"outbox": rows, "aside:outbox": [told]}
    raw: Any = world.raw
    assert raw.xrange(key)[0][0] == new.encode()
    assert 0 < world.raw.pttl(f"{world.lane.tag}aside:outbox") <= MONTH * 1000
    assert world.again(call) == "n"
    assert judged(world, "outbox") == []
    world.raw.xadd(key, {"id": "mail.0.c"})


def test_dead_letters_are_still_found(world: World) -> None:
    world.seed.dead("a")
    world.raw.xadd(world.lane.dlq, {"id": "mail.0.b", "x": "y"}, id=f"{M}-{M}")
    world.raw.hset(world.lane.dead, "mail.0.b", f"{M}-{M}")
    (found,) = judged(world, "dlq")

    assert world.run(mend(world.lane.tag, [found])) == "m"
    assert world.state()["dead"] == {"mail.0.a": "dlq[0]", "mail.0.b": "dlq[1]"}


@pytest.mark.parametrize("counter", ["", "none", "9223372036854775807", "5", "x"])
def test_a_journal_goes_on_with_its_groups_and_its_numbers(world: World, counter: str) -> None:
    raw: Any = world.raw
    lane = world.lane
    world.run(register(lane, "archive", most=1000))
    first = int(raw.hget(lane.totals, "journal")) + 1
    for number in (first, first + 1, first + 2):
        raw.xadd(lane.journal, {"at": "1", "n": str(number)}, id=f"{number}-0")
    raw.hset(lane.totals, "journal", first + 2)
    raw.xreadgroup("archive", "one", {lane.journal: ">"}, count=2)
    raw.xack(lane.journal, "archive", f"{first}-0")
    raw.xadd(lane.journal, {"at": "1", "n": "foreign"}, id=f"{M}-0")
    if counter == "none":
        raw.hdel(lane.totals, "journal")
    elif counter:
        raw.hset(lane.totals, "journal", counter)
    (found,) = judged(world, "journal", "totals")

    assert world.run(mend(lane.tag, [found])) == "m"
    assert judged(world, "journal", "totals") == []
    ((_, rows),) = raw.xreadgroup("archive", "two", {lane.journal: ">"})
    assert [fields[b"n"] for _, fields in rows] == [b"%d" % (first + 1), b"%d" % (first + 2), b"foreign"]
    assert raw.hget(lane.totals, "journal") == b"%d" % (first + 2 + 100)


@pytest.mark.parametrize("counter", [None, "9223372036854775807", "900000000000000000", "5", "x"])
def test_a_journals_counter_goes_on_from_its_last_entry(world: World, counter: str | None) -> None:
    raw: Any = world.raw
    lane = world.lane
    world.run(register(lane, "archive", most=1000))
    last = int(raw.hget(lane.totals, "journal")) + 1
    raw.xadd(lane.journal, {"at": "1"}, id=f"{last}-0")
    raw.hdel(lane.totals, "journal")
    if counter is not None:
        raw.hset(lane.totals, "journal", counter)
    (found,) = judged(world, "journal", "totals")

    assert world.run(mend(lane.tag, [found])) == "m"
    assert raw.hget(lane.totals, "journal") == b"%d" % last
    assert judged(world, "journal", "totals") == []


def test_what_was_moved_before_gives_way(world: World) -> None:
    world.raw.set(f"{world.lane.tag}aside:lease", "older")
    world.raw.rpush(f"{world.lane.tag}aside:lane:fields", "older")
    world.raw.set(world.lane.lease, "newer")
    world.raw.hset(world.lane.lane, "token", "x")
    seen = [Damage("lease", "zset", b"", b"string"), Damage("lane", "hash", b"token", b"x")]

    assert world.run(mend(world.lane.tag, seen)) == "mm"
    assert world.state() == {"aside:lease": ("newer", MONTH), "aside:lane:fields": {"token": "x"}}
