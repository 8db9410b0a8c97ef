"""A relay of the trial: the outbox duty alone, which may kill itself or a server between its steps."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Mute
from jobfleet.outbox.statements import Row, Source, Verdict
from jobfleet.services.duties.outbox import Outbox
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target_of
from tests.support.outbox.killing import Killer


class Deadly:
    """A source that kills between the steps of the relay."""

    def __init__(self, inner: Source, killer: Killer) -> None:
        self._inner = inner
        self._killer = killer
        self.notifies = inner.notifies

    async def claim(self, limit: int) -> Sequence[Row]:
        """Claim; see `Source`."""
        rows = await self._inner.claim(min(limit, 8))  # small claims have more steps
        if rows:
            self._killer.at("claimed")
        return rows

    async def finish(self, verdict: Verdict) -> None:
        """Finish; see `Source`."""
        self._killer.at("enqueued")
        await self._inner.finish(verdict)
        self._killer.at("deleted")

    async def waiting(self, ids: Collection[str]) -> AbstractSet[str]:
        """Look for rows; see `Source`."""
        return await self._inner.waiting(ids)

    async def release(self) -> None:
        """Release; see `Source`."""
        await self._inner.release()

    async def wait(self, seconds: float) -> None:
        """Wait; see `Source`."""
        await self._inner.wait(seconds)

    async def close(self) -> None:
        """Close; see `Source`."""
        await self._inner.close()


async def main(folder: Path, url: str, redis: str, seed: int, share: float) -> None:
    """Relay until the process is killed."""
    config = JobConfig(url=redis, outbox_url=url)
    store = AsyncStore(target_of(config), patience=None)
    duty = Outbox(store, config, Mute())
    duty._source = Deadly(duty._source, Killer(folder, "relay", seed, share))
    duty.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
