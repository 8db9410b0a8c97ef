"""The receipts of `enqueue_many`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobfleet.client._async.connection import AsyncConnection, AsyncReceiptsBase
from jobfleet.client.base import check_many
from jobfleet.model import Job, Receipt
from jobfleet.operations.bulk import submit_many
from jobfleet.operations.enqueue_span import enqueue_span
from jobfleet.operations.operation import batches, drive


class AsyncReceipts(AsyncReceiptsBase):
    """The receipts of `enqueue_many`; iterating them is what enqueues.

    Args:
        client: The client.
        jobs: The jobs.
        chunk: How many jobs are confirmed together.

    Raises:
        InvalidJob: `jobs` is not iterable, or `chunk` is not a whole number.
    """

    def __init__(self, client: AsyncConnection, jobs: Iterable[Job], chunk: int) -> None:
        check_many(jobs, chunk)
        self._client = client
        self._parts = batches(jobs, max(1, chunk))
        self._ready: Iterator[Receipt] = iter(())
        self._touched = False

    async def __anext__(self) -> Receipt:
        self._touch()
        while True:
            for receipt in self._ready:
                return receipt
            part = next(self._parts, None)
            if part is None:
                raise StopAsyncIteration
            with enqueue_span(self._client.context, part) as span:
                if self._client.buffering is not None:
                    receipts = await self._client.buffering.submit_many(part)
                else:
                    receipts = await drive(self._client.store, submit_many(self._client.context, part))
                    self._client.counted("enqueued", len(receipts))
                span.answered(receipts)
            self._ready = iter(receipts)
