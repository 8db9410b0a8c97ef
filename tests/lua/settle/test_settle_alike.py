"""Completions of jobs of groups and with a journal that go the short way."""

from __future__ import annotations

from jobfleet.store.calls.settle import Item, complete, settle
from tests.lua.world import World


def completing(world: World, suffix: str, token: int = 7) -> Item:
    return complete(world.id(suffix), token, record=b"the record", ttl_ms=600_000, duration_us=55)


def test_the_journal_has_one_text_for_jobs_that_have_just_completed(world: World) -> None:
    world.seed.journal()
    world.seed.running("a")
    world.seed.running("b", token=9)
    world.seed.running("c", group="acme")
    items = [completing(world, "a"), completing(world, "b", 9), completing(world, "c")]
    call = settle(world.lane, items, child="w.1", nonce=1)

    assert world.run(call).letters == "sss"

    lines = "\n".join(f"{suffix} co 55" for suffix in "abc")
    record = "the record"
    assert world.state()["journal"] == [
        {
            "at": "now", "completed": f"mail.0.\n7 9 7\n{lines}",
            "envelope of a": record, "envelope of b": record, "envelope of c": record,
        }
    ]  # fmt: skip
    assert not {"runs", "lease", "meta", "held"} & set(world.state())
    world.again(call)
