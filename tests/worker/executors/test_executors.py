"""Executors alone: each run ends once, whenever it is stopped."""

from __future__ import annotations

import asyncio
from typing import cast

from jobfleet.worker.executors.local import LoopExecutor
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run, Stage


class Bare:
    """As much of a run as an executor needs."""

    task: asyncio.Task[None] | None = None
    span: None = None
    is_late = False


class Sleeper:
    """As much of a handler as an executor needs."""

    call = staticmethod(asyncio.sleep)


async def test_a_coroutine_that_is_stopped_before_it_begins_ends_too() -> None:
    executor, ended, run = LoopExecutor(), asyncio.Event(), cast(Run, Bare())

    executor.start(run, cast(Handler, Sleeper()), [60], {}, lambda _value, _error: ended.set())
    executor.stop(run, Stage.RAISED)

    await asyncio.wait_for(ended.wait(), 2)
