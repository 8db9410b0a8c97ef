"""`jobfleet.undo`: a job that undoes the steps of another job, which has failed or was cancelled.

It waits for that job as a callback does, so it is started once, also if the process that ended the job dies. Each undo
is a step of this job, so it survives the end of its worker. What is undone is deleted from the steps of the other job:
a replay repeats it.

Anybody who may enqueue can name this function. So it undoes nothing unless the steps of the other job name this very
job; a run of that job has stored that, and a producer may not write steps (docs/adr/0066).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from jobfleet.clock import wall_us
from jobfleet.codec import decode
from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import UNDO as NAME
from jobfleet.functions.context import JobContext
from jobfleet.functions.registry import JobFunction
from jobfleet.functions.steps import STEP, UNDO
from jobfleet.model.signals import Snooze
from jobfleet.model.spec import split_id

log = logging.getLogger("jobfleet.worker")
OPEN_AGAIN = 30.0
"""Seconds until the next look at a job that was replayed before all its steps were undone."""
ELSEWHERE = 1.0
"""Seconds until another worker may have claimed an undo whose function this one does not have."""
GRACE_US = 86_400_000_000
"""µs for which an undo waits for a worker that has its function."""
ACCEPTED = "accepted"
"""The checkpoint of an undo whose job was found in the steps of the other one, which are deleted at its end."""
Find = Callable[[str], Callable[..., Any] | None]


def undoing(find: Find) -> JobFunction[..., Any, Any]:
    """The job function.

    Args:
        find: Returns the function with a name; None if this worker does not have it.
    """
    warned: set[str] = set()

    async def undo(ctx: JobContext, job_id: str) -> list[str]:
        """Undo the steps of a job in reverse order; return their keys."""

        async def dropped(*names: str) -> Mapping[str, bytes]:
            left = await ctx.port.undo(job_id, names)
            if left is None:
                raise Snooze(OPEN_AGAIN)
            return left

        async def missing(key: str, function: str) -> None:
            """Leave the undo to a worker that has the function, as with any other unknown function."""
            text = f"Step {key!r} of {job_id} is undone by {function!r}, which this worker does not have"
            if wall_us() - await ctx.step(f"{key[:180]} missing", wall_us) > GRACE_US:
                raise RuntimeError(f"{text}, nor has another one. Load its module, then replay this job.")
            if function not in warned:
                warned.add(function)
                log.warning("undo.left job_id=%s %s. Another worker must load its module.", ctx.job_id, text)

        kept = await dropped()
        if not kept:  # it was replayed, and has completed
            return []
        if not await ctx.checkpoint(ACCEPTED, default=False):
            own, suffix = split_id(ctx.job_id), decode(kept[UNDO], what="undo") if UNDO in kept else None
            if (own.queue, own.suffix) != (split_id(job_id).queue, suffix):
                text = f"{job_id} has no steps that {ctx.job_id} undoes; only a run with such steps enqueues {NAME!r}."
                raise InvalidJob(text, field="function")
            await ctx.checkpoint(ACCEPTED, True)
        rows = {name: decode(kept[name], what="undo") for name in kept if name[:2] == UNDO and name != UNDO}
        for name in sorted(rows, key=lambda name: -rows[name][0]):
            _, mark, function, args, kwargs = rows[name]
            key = name.removeprefix(UNDO)
            await dropped(STEP + key)
            call = find(function)
            if call is None:
                await missing(key, function)
                raise Snooze(ELSEWHERE)
            await ctx.step(f"{key[:180]} {mark}", call, *args, **kwargs)
            await dropped(name)
        await dropped(UNDO)
        return [name.removeprefix(UNDO) for name in rows]

    return JobFunction(undo, name=NAME, options={})
