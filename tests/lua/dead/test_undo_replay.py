from __future__ import annotations

from typing import Any, cast

import pytest

from jobfleet.store.calls.control import replay
from jobfleet.store.calls.dead import Planned, keep_letters, undo_replay
from tests.lua.dead.filed import entries
from tests.lua.world import World

OLD = "2:0:0:0:0\n1 5 ValueError: x"


def replayed(world: World, suffix: str = "a", **letter: Any) -> str:
    """A dead job that a rescue has replayed."""
    job_id = world.seed.dead(suffix, tries=OLD, **letter)
    world.go(keep_letters(world.lane, [Planned(job_id, entries(world)[job_id])]))
    assert world.go(replay(world.lane, [job_id], by="rescue r")) == ["replayed"]
    return job_id


@pytest.mark.parametrize("meta", ["", "u k\ns o", "g acme"])
def test_a_job_that_has_not_started_is_a_dead_letter_again(world: World, meta: str) -> None:
    world.seed.dead("a", tries=OLD, meta=meta)
    before = world.state()
    world.raw.flushall()
    job_id = replayed(world, meta=meta)
    call = undo_replay(world.lane, [job_id], ttl_ms=1_000_000)

    assert world.run(call) == "u"

    after = world.state()
    (letter,) = after["dlq"]
    assert letter.pop("died").isdecimal()
    assert [letter] == before["dlq"]
    assert set(after) - {"wake", "totals"} == set(before)
    assert after["totals"]["replayed"] == "1"
    assert after["totals"].get("retrying", "0") == "0"
    assert world.again(call) == "k"


def test_a_job_that_runs_or_has_run_stays(world: World) -> None:
    job_id, other = replayed(world), replayed(world, "b")
    cast(Any, world.raw).hset(world.lane.tries, job_id, f"1:0:0:0:0\n{OLD.partition(chr(10))[2]}\n1 9 ValueError: y")
    cast(Any, world.raw).hset(world.lane.runs, other, "7|w.1|1|1|2|")

    assert world.refused(undo_replay(world.lane, [job_id, other], ttl_ms=1)) == "kk"


def test_a_job_without_a_copy_stays(world: World) -> None:
    job_id = world.seed.dead("a")
    world.go(replay(world.lane, [job_id], by=None))

    assert world.refused(undo_replay(world.lane, [job_id, "mail.0.x"], ttl_ms=1)) == "kk"


def test_the_journal_gets_the_failure_again(world: World) -> None:
    job_id = replayed(world)
    cast(Any, world.raw).hset(world.lane.conf, "journal", 1000)

    assert world.run(undo_replay(world.lane, [job_id], ttl_ms=1_000_000)) == "u"

    (entry,) = world.state()["journal"]
    assert entry["1"] == "failed mail.0.a 0 error 0 2 undone"
    assert entry["1t"] == OLD
