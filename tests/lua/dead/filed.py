"""Dead letters of a lane, filed."""

from __future__ import annotations

from typing import Any, cast

from jobfleet.store.calls.dead import NEVER, Filing, file_letters
from tests.lua.world import World


def entries(world: World) -> dict[str, str]:
    """The entry of each dead letter by its job."""
    rows = cast(dict[bytes, bytes], cast(Any, world.raw).hgetall(world.lane.dead))
    return {key.decode(): entry.decode() for key, entry in rows.items()}


def bury(world: World, *suffixes: str, names: tuple[str, ...] = ("f:x",)) -> list[str]:
    """Some dead letters, an older one first, all filed under some names."""
    ids = [world.seed.dead(suffix, age=100 - number) for number, suffix in enumerate(suffixes)]
    known = entries(world)
    items = [Filing(job_id, known[job_id], names) for job_id in ids]
    assert world.go(file_letters(world.lane, NEVER, known[ids[-1]], items))
    return ids
