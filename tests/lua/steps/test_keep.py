from __future__ import annotations

import pytest

from jobfleet.store.calls import run as calls
from jobfleet.store.calls.run import keep, steps
from tests.lua.world import World

TEN_MINUTES, DECADE = 600_000, 3650 * 86_400_000


@pytest.mark.parametrize(("meta", "after"), [("", "k 600000"), ("g acme", "k 600000\ng acme"), ("k 5", "k 5")])
def test_the_result_of_a_step_is_kept_while_the_job_is_open(world: World, meta: str, after: str) -> None:
    job_id = world.seed.running("a", meta=meta)
    call = keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step="s:charge", record=b"done")

    assert world.run(call) == "kept"

    metas = {"meta": {**world.before.get("meta", {}), job_id: after}}
    assert world.state() == world.moved({"steps:mail.0.a": {"s:charge": "done", "": "4"}, **metas})
    assert int(str(world.raw.pttl(world.lane.steps(job_id)))) > DECADE
    assert world.again(call) == "kept"


def test_a_later_value_takes_the_place_of_the_earlier_one(world: World) -> None:
    job_id = world.seed.running("a")
    for step, record in (("c:at", b"long ago"), ("s:x", b"x"), ("c:at", b"now")):
        world.run(keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step=step, record=record))

    assert world.state()["steps:mail.0.a"] == {"c:at": "now", "s:x": "x", "": "4"}


def test_a_run_that_was_overtaken_keeps_nothing(world: World) -> None:
    world.seed.running("a", token=8)
    world.seed.waiting("b")
    world.seed.completed("c")

    for suffix in "abcd":
        call = keep(world.lane, world.id(suffix), 7, ttl_ms=TEN_MINUTES, step="s:x", record=b"x")
        assert world.refused(call) == "lost"


@pytest.mark.parametrize(("most", "bytes_"), [(2, 1000), (1000, 2)])
def test_no_more_is_kept_than_may_be(world: World, most: int, bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_STEPS", most)
    monkeypatch.setattr(calls, "MOST_STEP_BYTES", bytes_)
    job_id = world.seed.running("a")
    for step in ("s:a", "s:b"):
        assert world.run(keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step=step, record=b"x")) == "kept"

    assert world.refused(keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step="s:c", record=b"x")) == "full"
    assert world.run(keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step="s:b", record=b"y")) == "kept"


def test_a_full_job_keeps_no_more(world: World) -> None:
    job_id = world.seed.running("a")
    large = b"x" * (calls.MOST_STEP_BYTES + 1)

    assert world.refused(keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step="s:c", record=large)) == "full"


def test_what_was_kept_is_read(world: World) -> None:
    job_id = world.seed.running("a")
    world.run(keep(world.lane, job_id, 7, ttl_ms=TEN_MINUTES, step="s:x", record=b"\x00x"))

    assert world.refused(steps(world.lane, job_id))["s:x"] == b"\x00x"
