"""A rescue of a group, begun."""

from __future__ import annotations

from jobfleet.store.call import Call
from jobfleet.store.calls.dead import Planned, note_groups, open_rescue, plan_rescue
from tests.lua.dead.test_note_groups import seen
from tests.lua.world import World

JOBS = [Planned("mail.0.a", "1-0"), Planned("mail.0.b", "2-0")]


def begin(world: World, rescue: str = "r", *, stop_after: int = 1, total: int = 2) -> tuple[str, str]:
    """Begin a rescue; return the answer."""
    return world.go(open_call(world, rescue, stop_after=stop_after, total=total))


def open_call(world: World, rescue: str = "r", *, stop_after: int = 1, total: int = 2) -> Call[tuple[str, str]]:
    """The call that begins a rescue of the group f1."""
    return open_rescue(
        world.keys, rescue, fingerprint="f1", by="ann", every_us=100_000, canary=[1, 10], stop_after=stop_after,
        total=total,
    )  # fmt: skip


def group(world: World) -> None:
    """Record the group f1."""
    world.go(note_groups(world.keys, [seen(world)]))


def plan(world: World, *, step: int = 0, is_read: bool = False) -> int | None:
    """Plan both jobs."""
    call = plan_rescue(world.keys, "r", JOBS, step=step, stage=1, cursor="c", last=world.now, is_read=is_read)
    return world.go(call)
