"""What was kept for a long wait is kept as that of other jobs, whatever ends the job."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.calls.control import cancel
from jobfleet.store.calls.settle import STILL_EXPIRED, Item, fail, move, settle, wait
from tests.lua.world import World

DAY_MS = 86_400_000
STEPS_MS = 90 * DAY_MS
RESULT_MS = 7 * DAY_MS


def failed(world: World, guard: str = "token") -> Item:
    return fail(
        world.id("a"), 9, record=b"r", ttl_ms=RESULT_MS, duration_us=1, reason="crashed", tries="0:1:0:0:0", guard=guard
    )


def lifetimes(world: World) -> list[int]:
    lane, job_id = world.lane, world.id("a")
    keys = (lane.steps(job_id), lane.log(job_id), lane.chunks(job_id), lane.parents(job_id))
    return [int(str(world.raw.pttl(key))) for key in keys]


def woken(world: World, deadline: int = 30) -> None:
    """A run of a job that has waited without a time-out, and keeps a log, an output and its parents."""
    lane, job_id = world.lane, world.seed.running("a", 7)
    world.raw.rpush(lane.log(job_id), "7 1 1 0 20 x")
    world.raw.xadd(lane.chunks(job_id), {"at": "1 1", "v": "x"}, id="7-1")
    world.raw.hset(lane.parents(job_id), mapping={":open": 0})
    for key in (lane.log(job_id), lane.chunks(job_id), lane.parents(job_id)):
        world.raw.pexpire(key, DAY_MS)
    years_us = 10 * 366 * DAY_MS * 1000
    world.run(settle(lane, [wait(job_id, 7, key="x1 go", name="go", delay_us=years_us, ttl_ms=STEPS_MS)]))
    assert min(lifetimes(world)) > 3600 * DAY_MS
    for ready in lane.ready:
        world.raw.zrem(ready, job_id)
    world.seed.running("a", 9, meta=str(world.state()["meta"][job_id]), deadline=deadline)


@pytest.mark.parametrize("ending", ["fail", "crash", "move", "cancelled"])
def test_the_end_of_a_run_shortens_it(world: World, ending: str) -> None:
    woken(world, deadline=-1 if ending == "crash" else 30)
    world.seed.ticked()
    job_id = world.id("a")
    items: dict[str, Item] = {
        "fail": failed(world),
        "crash": failed(world, STILL_EXPIRED),
        "move": move(job_id, 9, to="mail.0.b", ttl_ms=RESULT_MS),
        "cancelled": failed(world),
    }
    if ending == "cancelled":
        world.run(cancel(world.keys, world.lane, [job_id], by="ann", ttl_ms=RESULT_MS))

    letters = world.run(settle(world.lane, [items[ending]])).letters

    assert letters == ("c" if ending == "cancelled" else "s")
    steps, *others, parents = lifetimes(world)
    assert RESULT_MS < steps <= STEPS_MS
    assert 0 < min(others) <= max(others) <= RESULT_MS
    assert 0 < parents <= (RESULT_MS if ending in ("move", "cancelled") else STEPS_MS)


def test_the_cancellation_of_a_waiting_job_shortens_it(world: World) -> None:
    woken(world)
    job_id = world.id("a")
    world.run(settle(world.lane, [wait(job_id, 9, key="x1 go", name="go", delay_us=1, ttl_ms=STEPS_MS)]))

    assert world.run(cancel(world.keys, world.lane, [job_id], by="ann", ttl_ms=RESULT_MS)) == "c"

    steps, *others = lifetimes(world)
    assert RESULT_MS < steps <= STEPS_MS
    assert 0 < min(others) <= max(others) <= RESULT_MS


@pytest.mark.parametrize(
    ("stored", "refused", "again_us", "due", "left"),
    [
        (None, b"", 0, "till", None),
        (b"1 n\nforged", b"1 n\nforged", 0, "till", None),  # it is deleted
        (b"1 n\nlater", b"1 n\nlater", 60_000_000, "now+60s", b"1 n\nlater"),  # its key may arrive
        (b"2 n\ntrue", b"1 n\nforged", 0, "now", b"2 n\ntrue"),  # it took the place of the other one
        (b"2 n\ntrue", b"", 0, "now", b"2 n\ntrue"),
    ],
)  # fmt: skip
def test_a_sealed_wait_has_the_end_that_its_run_says_and_ignores_the_signal_that_it_refused(
    world: World, stored: bytes | None, refused: bytes, again_us: int, due: str, left: bytes | None
) -> None:
    job_id, lane = world.seed.running("a", 7), world.lane
    steps, till = lane.steps(job_id), world.now + 3600 * 1_000_000
    world.raw.hset(steps, "w:x1 go", "1")  # what somebody else has written
    if stored is not None:
        world.raw.hset(steps, "x:go", stored)
    item = wait(
        job_id, 7, key="x1 go", name="go", delay_us=5, ttl_ms=STEPS_MS, till=till, refused=refused, again_us=again_us
    )._replace(seal=b"seal")

    assert world.run(settle(lane, [item])).letters == "s"

    fields: Any = world.raw.hgetall(steps)
    kept = {bytes(name): bytes(value) for name, value in fields.items()}
    at = {"till": str(till), "now": "now", "now+60s": "now+60s"}[due]
    assert (kept[b"w:x1 go"], kept[b"e:x1 go"], kept.get(b"x:go")) == (str(till).encode(), b"seal", left)
    assert world.state()["ready:2"] == {job_id: "now+3600s" if due == "till" else at}
