"""Puts large results into the payload store before their runs are settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from jobfleet.errors import ConfigError, PayloadUnavailable
from jobfleet.event_loop import in_thread
from jobfleet.payloads.payloads import RESULT, Payloads
from jobfleet.store.calls.settle import BriefCompletion, Completion
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)
"""Seconds between the attempts to write a result. The run keeps its lease meanwhile."""


class StoredResults:
    """Puts results into the payload store.

    Args:
        payloads: The store; None if the worker has none.
        check: Checks that it is the store of the fleet.
        inline_max: The largest record, in bytes, that does not go to the store.
        redis_max: The largest record, in bytes, that Redis takes if the store is away.
    """

    def __init__(
        self, payloads: Payloads | None, check: Callable[[], Awaitable[None]], *, inline_max: int, redis_max: int
    ) -> None:
        self._payloads = payloads
        self._check = check
        self._redis_max = redis_max
        self.inline_max = inline_max

    async def stowed(self, run: Run, item: Completion | BriefCompletion) -> Completion | BriefCompletion:
        """The completion with a reference in place of its value.

        Raises:
            PayloadUnavailable: The store is away, and the result is too large for Redis.
        """
        assert self._payloads is not None  # noqa: S101 - without a store, no record is too large
        failure = ""
        for pause in (0.0, *PAUSES):
            await asyncio.sleep(pause)
            try:
                await self._check()
                return item._replace(record=await in_thread(self._payloads.stow, run.id, RESULT, item.record))
            except (PayloadUnavailable, ConfigError) as error:
                failure = str(error)
                log.warning("job.result_not_stored job_id=%s %s", run.id, failure, extra={"run": run})
        if len(item.record) <= self._redis_max:
            log.warning("job.result_in_redis job_id=%s bytes=%d", run.id, len(item.record), extra={"run": run})
            return item
        raise PayloadUnavailable(
            f"The result has {len(item.record):,} bytes, which is too much for Redis (max_payload), and: {failure}"
        )
