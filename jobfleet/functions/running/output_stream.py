"""The output stream of a running job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobfleet.codec import Limits, encode
from jobfleet.errors import JobCancelled

if TYPE_CHECKING:
    from jobfleet.functions.running.run_port import RunPort

LIMITS: Final = Limits(max_bytes=64 * 1024, setting="")
"""The limits of a chunk. No setting raises them: a larger output is several chunks, or a file elsewhere."""


class OutputStream:
    """Encodes the chunks of one run, and waits while too many are unsent.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
    """

    def __init__(self, port: RunPort, job_id: str) -> None:
        self._port = port
        self._job_id = job_id

    async def emit(self, chunk: object) -> None:
        """Add a chunk.

        Raises:
            EncodingError: The chunk cannot be encoded, or is too large.
            JobCancelled: The job must stop, or another run owns it now.
        """
        if not self._add(chunk):
            await self._port.wait_for_room()
            self._check_stop()

    def emit_sync(self, chunk: object) -> None:
        """Do the same from a thread; see `emit`."""
        if not self._add(chunk):
            self._port.block(self._port.wait_for_room())
            self._check_stop()

    def _add(self, chunk: object) -> bool:
        self._check_stop()
        return self._port.emit(encode(chunk, limits=LIMITS, what="chunk"))

    def _check_stop(self) -> None:
        why = self._port.must_stop
        if why is not None:
            raise JobCancelled(f"{self._job_id} is to stop: {why}.", job_id=self._job_id)
