from __future__ import annotations

from jobfleet.codec import encode_head, seal_call, seal_record
from jobfleet.codec.frames import read_fields
from jobfleet.store.calls.ended import outcomes
from jobfleet.store.records import Final
from tests.lua.world import World


def test_values_stay_where_they_are(world: World) -> None:
    record = seal_record({"function": "f", "traceback": "t" * 16_000, "value": b"v" * 100_000})
    world.raw.set(world.lane.result("mail.0.a"), b"completed 17 7\n" + record)

    (found,) = world.again(outcomes(world.lane, ["mail.0.a"]))

    assert found is not None
    assert (found.status, found.at, found.token, len(found.body) < 17_000) == ("completed", 17, 7, True)
    assert read_fields(found.body) == {"function": "f", "traceback": "t" * 16_000}


def test_of_a_job_that_was_cancelled_its_header_comes_along(world: World) -> None:
    envelope = seal_call(encode_head({"function": "f"}), ("argument",), {})
    world.raw.set(world.lane.result("mail.0.a"), b"cancelled 17 0 0 - ann\n" + envelope)

    (found,) = world.again(outcomes(world.lane, ["mail.0.a"]))

    assert found is not None
    assert (found.status, found.by, b"argument" in found.body) == ("cancelled", "ann", False)


def test_answers_come_in_the_order_asked_for(world: World) -> None:
    world.seed.completed("a")
    world.raw.set(world.lane.result("mail.0.c"), b"completed 17 7\n")

    found = world.refused(outcomes(world.lane, ["mail.0.c", "mail.0.b", "mail.0.a"]))

    assert [one and one.status for one in found] == ["completed", None, "completed"]
    assert found[0] == Final("completed", 17, 7, 0, "-", "-", "-", b"", b"", 0, "")
