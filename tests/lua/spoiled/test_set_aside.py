from __future__ import annotations

from typing import Any

from jobfleet.store.call import Call
from jobfleet.store.calls.lease import letter_id, set_aside
from jobfleet.store.rows import Spoiled
from tests.lua.world import World

DAY = 86400


def aside(world: World, raw: bytes, seen: bytes = b"7", *, is_run: bool = False) -> Call[str]:
    return set_aside(world.lane, [(Spoiled(raw, seen, "why", is_run=is_run), b"record")], ttl_ms=DAY * 1000)


def letter(name: str, **fields: str) -> dict[str, str]:
    return {
        "id": name, "reason": "unreadable", "band": "2", "tries": "0:0:0:0:0", "meta": "", "record": "record",
        "envelope": "", "raw_id": name, "raw_run": "", "raw_tries": "", "raw_meta": "", **fields,
    }  # fmt: skip


def ended(name: str) -> dict[str, Any]:
    return {
        f"result:{name}": ("failed now 0 0 - - unreadable\nrecord", DAY), "dead": {name: "dlq[0]"},
        "done": [{"jobs": f"{name.removeprefix('mail.0.')} fa 0"}],
    }  # fmt: skip


def test_a_run_whose_id_is_no_text_is_kept_as_a_letter_of_another_name(world: World) -> None:
    raw = b"\xff\xfe"
    world.raw.hset(world.lane.runs, raw, f"7|w.1|{world.now}|60000000|2|")
    world.raw.zadd(world.lane.lease, {raw: world.now})
    world.raw.set(world.lane.job_prefix.encode() + raw, "envelope")
    name = letter_id(world.lane, raw)
    call = aside(world, raw)

    assert world.run(call) == "a"

    kept = letter(name, raw_id="\\xff\\xfe", raw_run="7|w.1|now|60000000|2|", envelope="envelope")
    assert name.startswith("mail.0.unreadable.")
    assert world.state() == {**ended(name), "dlq": [kept], "totals": {"failed": "1"}}
    assert world.again(call) == "l"


def test_a_job_keeps_its_name_and_all_that_was_beside_it(world: World) -> None:
    job_id = world.seed.running("a", meta="x abc", tries="garbage")
    world.seed.holds("k", job_id)
    world.seed.watch(job_id)
    call = aside(world, job_id.encode())

    assert world.run(call) == "a"

    kept = letter(
        job_id, raw_run="7|w.1|now-10s|60000000|2|", raw_tries="garbage", raw_meta="x abc", envelope="envelope of a"
    )
    assert world.state() == {
        **ended(job_id), "dlq": [kept], "totals": {"failed": "1"}, "outbox": [{"id": job_id}],
        "unique": {"k": f"{job_id} 0 now"},
    }  # fmt: skip
    assert world.again(call) == "l"


def test_what_waits_is_taken_out_of_its_band(world: World) -> None:
    raw = b"\xff"
    world.raw.zadd(world.lane.ready[1], {raw: world.now})
    world.raw.zadd(world.lane.expiry, {raw: world.now})

    assert world.run(aside(world, raw, b"")) == "a"
    name = letter_id(world.lane, raw)
    assert world.state() == {**ended(name), "dlq": [letter(name, raw_id="\\xff", band="1")], "totals": {"failed": "1"}}


def test_a_job_whose_run_alone_is_unreadable_waits_again(world: World) -> None:
    job_id = world.seed.running("a", tries="1:0:0:0:0")
    world.raw.hset(world.lane.runs, job_id, "garbage")
    call = aside(world, job_id.encode(), b"garbage", is_run=True)

    assert world.run(call) == "b"

    assert world.state() == world.moved(
        {
            "runs": None, "lease": None, "ready:2": {job_id: "now"}, "wake": {"w": 0},
            "totals": {"released": "1", "retrying": "1"},
        }
    )  # fmt: skip
    assert world.again(call) == "l"


def test_one_of_a_group_waits_again_with_its_group(world: World) -> None:
    job_id = world.seed.running("a", group="acme")
    world.raw.hdel(world.lane.runs, job_id)

    assert world.run(aside(world, job_id.encode(), b"", is_run=True)) == "b"

    state = world.state()
    assert "held" not in state
    assert list(state["grouped"]) == [f"2acme|now|{job_id}"]


def test_without_an_envelope_nothing_can_wait_again(world: World) -> None:
    raw = world.id("ghost").encode()
    world.raw.zadd(world.lane.lease, {raw: world.now})

    assert world.run(aside(world, raw, b"", is_run=True)) == "a"
    assert world.state()["dlq"] == [letter("mail.0.ghost")]


def test_another_run_by_now_is_left_alone(world: World) -> None:
    job_id = world.seed.running("a", token=8)

    assert world.refused(aside(world, job_id.encode(), b"7")) == "l"
    assert world.refused(aside(world, job_id.encode(), b"")) == "l"
    assert world.refused(aside(world, b"unknown", b"")) == "l"


def test_whoever_listens_hears_of_it(world: World) -> None:
    job_id = world.seed.running("a")
    world.seed.journal()

    with world.listening(job_id) as heard:
        world.run(aside(world, job_id.encode()))

    assert sorted(heard) == [("events", "1 failed a 0 1000000 now"), ("events:mail.0.a", "1 failed a 0 1000000 now")]
    assert world.state()["journal"] == [
        {"at": "now", "1": f"failed {job_id} 0 unreadable 0 2", "1e": "envelope of a", "1r": "record"}
    ]
