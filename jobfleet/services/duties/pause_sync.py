"""Applies the paused functions of all queues to lanes that were created later."""

from __future__ import annotations

from collections.abc import Iterable

from jobfleet.operations.operation import drive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import pause_function, paused, read_functions, resume_function
from jobfleet.store.keys import Keyspace, Lane


async def catch_up(store: AsyncStore, keys: Keyspace, lanes: Iterable[Lane]) -> None:
    """Pause in some lanes the functions that are paused everywhere; a concurrent resume takes effect here too."""
    functions = read_functions(await store.run(paused(keys)))
    fresh = [
        (lane, name)
        for lane in (lanes if functions else ())
        for name, pause in functions.items()
        if await store.run(pause_function(lane, name, by=pause.by, reason=pause.reason))
    ]
    if not fresh:
        return
    from jobfleet.operations.queues.pause import finish  # for fleets with paused functions

    still = read_functions(await store.run(paused(keys)))
    for lane, name in fresh:
        if name not in still:
            await store.run(resume_function(lane, name))
            await drive(store, finish(lane, (name,)))
