from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.ended import forget
from tests.lua.world import World


def forgetting(world: World, suffix: str = "a", **options: Any) -> Call[bool | None]:
    wanted: dict[str, Any] = {"by": "ann", "indexes": (), "key": "", "dependants": 0, "is_archived": False}
    return forget(world.lane, world.id(suffix), **{**wanted, **options})


def keeps(world: World, job_id: str) -> None:
    """All that a lane may keep about an ended job beside its ending."""
    raw, lane = world.raw, world.lane
    raw.set(lane.value(job_id), "its record", ex=500)
    raw.set(lane.progress(job_id), "half", ex=1000)
    raw.set(lane.reported(job_id), "7 1", ex=1000)
    raw.rpush(lane.log(job_id), "7 1 2 20 text")
    raw.hset(lane.steps(job_id), "s:a", "one")
    raw.xadd(lane.chunks(job_id), {"at": "1 1", "v": "x"}, id="7-1")
    raw.hset(lane.parents(job_id), "mail.0.p", "0 completed\nits record")
    for name in ("tag:eu", "user:ann"):
        raw.zadd(lane.index_of(name), {job_id: world.now})
        raw.zadd(lane.indexes, {name: world.now})


def test_nothing_of_a_job_is_left(world: World) -> None:
    job_id = world.seed.completed("a")
    keeps(world, job_id)
    world.raw.zadd(world.lane.index_of("tag:eu"), {world.id("b"): world.now})
    call = forgetting(world, indexes=["tag:eu", "user:ann"])

    assert world.run(call) is True

    assert world.state() == {"index:tag:eu": {"mail.0.b": "now"}, "indexes": {"tag:eu": "now"}}
    assert world.again(call) is False


def test_its_dead_letter_goes_and_others_stay(world: World) -> None:
    world.seed.dead("a")
    world.seed.dead("b")
    call = forgetting(world)

    assert world.run(call) is True

    assert not any("mail.0.a" in str(item) for item in world.state().items())
    assert world.state()["dead"] == {"mail.0.b": "dlq[0]"}
    assert world.again(call) is False


def test_a_letter_without_a_result_is_enough(world: World) -> None:
    world.seed.dead("a", result=False)

    assert world.run(forgetting(world)) is True

    assert world.state() == {"dlq": []}


@pytest.mark.parametrize("holder", ["a", "b"])
def test_a_key_that_it_holds_for_a_time_is_free(world: World, holder: str) -> None:
    world.seed.completed("a")
    world.seed.holds("once", world.id(holder), till=60)

    assert world.run(forgetting(world, key="once")) is True

    left = {"unique": None, "locks": None} if holder == "a" else {}
    assert world.state() == world.moved({"result:mail.0.a": None, **left})


def test_a_job_that_is_open_is_left_alone(world: World) -> None:
    for job_id in (world.seed.waiting("a"), world.seed.running("b")):
        keeps(world, job_id)
    world.seed.journal()

    assert [world.refused(forgetting(world, suffix)) for suffix in "ab"] == [None, None]


def test_a_job_for_which_more_wait_than_the_caller_knows_is_left_alone(world: World) -> None:
    job_id = world.seed.completed("a")
    world.raw.zadd(world.lane.dependants(job_id), {"mail.0.x": 0, "mail.0.y": 0})
    world.seed.journal()

    assert world.refused(forgetting(world, dependants=1)) is None
    assert world.run(forgetting(world, dependants=2)) is True

    assert {name for name in world.state() if "mail.0.a" in name} == set()


def test_who_listens_and_the_journal_hear_of_it_once(world: World) -> None:
    world.seed.completed("a")
    world.seed.journal()

    with world.listening(world.id("a")) as heard:
        assert world.run(forgetting(world)) is True
        assert world.run(forgetting(world)) is False

    assert heard == [("events:mail.0.a", "1 forgotten a 0 0 now"), ("events", "1 forgotten a 0 0 now")]
    assert world.state()["journal"] == [{"at": "now", "1": "forgotten mail.0.a 0 ann"}]


def test_a_job_that_only_the_archive_has_is_written_to_the_journal_too(world: World) -> None:
    world.seed.journal()

    assert world.run(forgetting(world, is_archived=True, by=None)) is False

    assert world.state()["journal"] == [{"at": "now", "1": "forgotten mail.0.a 0 -"}]


def test_an_entry_of_a_letter_that_cannot_be_read_goes_too(world: World) -> None:
    world.raw.hset(world.lane.dead, world.id("a"), "rubbish")

    assert world.run(forgetting(world)) is True

    assert world.state() == {}
