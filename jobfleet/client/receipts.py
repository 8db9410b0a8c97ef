"""The receipts of `enqueue_many`, of both clients: iterating them is what enqueues."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from jobfleet.errors import InvalidJob
from jobfleet.model import Job, Receipt
from jobfleet.operations.bulk import submit_many
from jobfleet.operations.operation import batches

if TYPE_CHECKING:
    from jobfleet.client.aio import AsyncClient
    from jobfleet.client.sync import Client

INSTEAD = {"enqueue": "await aenqueue or use AsyncFleet", "enqueue_many": "use AsyncFleet"}


class Receipts(Iterator[Receipt]):
    """The receipts of `enqueue_many`; iterating them is what enqueues."""

    _touched = True  # until it is whole: what could not be made warns of nothing

    def __init__(self, fleet: Client, jobs: Iterable[Job], chunk: int) -> None:
        _check(jobs, chunk)
        self._fleet = fleet
        self._parts = batches(jobs, max(1, chunk))
        self._ready: Iterator[Receipt] = iter(())
        self._touched = False

    def __next__(self) -> Receipt:
        if not self._touched:
            self._touched = True
            warn_on_loop("enqueue_many")
        while True:
            for receipt in self._ready:
                return receipt
            part = next(self._parts)
            receipts = self._fleet._do(submit_many(self._fleet.context, part))  # noqa: SLF001 - a part of it
            self._fleet.counted("enqueued", len(receipts))
            self._ready = iter(receipts)

    def __del__(self) -> None:
        if not self._touched:
            warnings.warn("enqueue_many was not iterated: nothing was enqueued.", RuntimeWarning, stacklevel=2)


class AsyncReceipts:
    """The receipts of `enqueue_many`; awaiting or iterating them is what enqueues."""

    _touched = True  # likewise

    def __init__(self, fleet: AsyncClient, jobs: Iterable[Job], chunk: int) -> None:
        _check(jobs, chunk)
        self._fleet = fleet
        self._jobs = jobs
        self._chunk = max(1, chunk)
        self._touched = False

    async def __aiter__(self) -> AsyncIterator[Receipt]:
        self._touched = True
        for part in batches(self._jobs, self._chunk):
            receipts = await self._fleet._do(submit_many(self._fleet.context, part))  # noqa: SLF001 - a part of it
            self._fleet.counted("enqueued", len(receipts))
            for receipt in receipts:
                yield receipt

    def __await__(self) -> Generator[Any, None, list[Receipt]]:
        self._touched = True
        return self._all().__await__()

    async def _all(self) -> list[Receipt]:
        return [receipt async for receipt in self]

    def __del__(self) -> None:
        if not self._touched:
            warnings.warn("enqueue_many was not awaited: nothing was enqueued.", RuntimeWarning, stacklevel=2)


def _check(jobs: object, chunk: object) -> None:
    if isinstance(jobs, str) or not isinstance(jobs, Iterable):
        raise InvalidJob(f"jobs is {jobs!r:.100}; give an iterable of Jobs.", field="jobs")
    if isinstance(chunk, bool) or not isinstance(chunk, int):
        raise InvalidJob(f"chunk is {chunk!r:.100}; give a whole number.", field="chunk")


def warn_on_loop(verb: str) -> None:
    """Say that a verb blocks the event loop that runs here, if one does."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public form raises, at 20 times the price
        warnings.warn(
            f"{verb} blocks the event loop that runs here; {INSTEAD[verb]}.",
            RuntimeWarning,
            stacklevel=4,
        )
