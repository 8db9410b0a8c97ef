"""Stores the results of steps, under the token of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.functions.steps import TOKEN
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, levels_in
from jobfleet.store.calls import run as calls
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Run

_writing: set[asyncio.Task[Any]] = set()
T = TypeVar("T")


async def shielded(write: Coroutine[Any, Any, T]) -> T:
    """Write something to its end, even if the awaiting task is cancelled."""
    task = asyncio.ensure_future(write)
    _writing.add(task)
    task.add_done_callback(_writing.discard)
    return await asyncio.shield(task)


class StepWriter:
    """Reads and stores the results of steps.

    Args:
        store: The connection, with endless patience: an outage must not lose the result of a step.
        ttl_ms: How long results are kept after the end of a job that has not completed: as long as it may be replayed.
        events: Receives runs that have lost their lease.
        confirmations: Confirms the steps of durable jobs; None if they are not to be confirmed.

    Attributes:
        ttl_ms: How long results are kept then.
    """

    def __init__(
        self, store: AsyncStore, *, ttl_ms: int, events: RunEvents, confirmations: Confirmations | None = None
    ) -> None:
        self._store = store
        self._confirmations = confirmations
        self.ttl_ms = ttl_ms
        self._events = events

    async def read(self, run: Run) -> dict[str, bytes]:
        """The results that earlier runs and this one have stored."""
        run.output.has_steps = True
        return await self._store.run(calls.steps(run.lane, run.id))

    async def keep(self, run: Run, key: str, record: bytes) -> None:
        """Store a result, even if the awaiting task is cancelled.

        Raises:
            InvalidJob: The job has stored too much.
            JobCancelled: Another run owns the job by now.
        """
        call = calls.keep(run.lane, run.id, run.token, ttl_ms=self.ttl_ms, step=key, record=record)
        word = await shielded(self._confirmed(run, call))
        if word == "lost":
            self._events.lost(run)
            raise JobCancelled(f"{run.id} is to stop: another run owns it by now.", job_id=run.id)
        if word == "full":
            is_token = key.startswith(TOKEN)
            what = "its token" if is_token else repr(key[2:])
            raise InvalidJob(
                f"{run.id} keeps too much: {what} is beyond {calls.MOST:,} steps, checkpoints, waits, tokens and "
                f"signals, or {calls.MOST_BYTES // 1024**2} MiB of them; enqueue a job that continues, and return.",
                field="token" if is_token else "step",
            )

    async def _confirmed(self, run: Run, call: Call[str]) -> str:
        """Store a result. That of a durable job is used only once it is confirmed, or the run is to stop."""
        levels = levels_in((run.header,))
        if not levels or self._confirmations is None:
            return await self._store.run(call)
        return await self._confirmations.insist(
            run.lane, call, levels, what=f"a step of {run.id}", is_over=lambda: run.stop.interruption is not None
        )
