"""Read the output stream of a job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobfleet.codec import decode
from jobfleet.errors import EncodingError, InvalidJob, JobNotFound
from jobfleet.model.result import Chunk
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import inspect
from jobfleet.store.calls.run import StoredChunk, chunks
from jobfleet.store.records import InRun, InWait, Unknown
from jobfleet.store.rows import report

_POSITION = re.compile(r"(\d{1,19})-(\d{1,19})-(\d{1,19})", re.ASCII)
HINT = "+"
"""The message on the channel of a stream that it has new chunks."""


@dataclass(slots=True)
class StreamReading:
    """How far an output stream has been read.

    Attributes:
        job_id: The job.
        token: The fencing token of the last chunk that was read; 0 for none.
        n: Its number in its run.
        number: Its number in the whole stream.
        tail: The most stored chunks that the first read returns; 0 for all, and after the first read.
        asks_state: Whether the next read looks whether the job has ended.
        is_known: Whether the job, or a chunk of it, was found.
        is_over: Whether the job has ended, so that no more chunks will come.
        is_more: Whether more chunks are stored already.
    """

    job_id: str
    token: int = 0
    n: int = 0
    number: int = 0
    tail: int = 0
    asks_state: bool = True
    is_known: bool = False
    is_over: bool = False
    is_more: bool = False

    @classmethod
    def after(cls, job_id: str, position: str | None, tail: int | None) -> StreamReading:
        """Begin to read a stream.

        Args:
            job_id: The job.
            position: The `Chunk.position` of the last chunk that was read; None to begin with the oldest.
            tail: The most stored chunks to begin with, from the end; None for all.

        Raises:
            InvalidJob: `position` is not one, or `tail` is not a positive whole number.
        """
        if tail is not None:
            check_number(tail, field="tail", least=1)
        found = _POSITION.fullmatch(position) if isinstance(position, str) else None
        if found is None and position is not None:
            raise InvalidJob(f"after is {position!r:.100}; give the position of a Chunk, or None.", field="after")
        token, n, number = map(int, found.groups()) if found else (0, 0, 0)
        return cls(job_id, token, n, number, tail or 0)

    def heard(self, texts: Sequence[str]) -> None:
        """Note what was announced: the state of the job is of interest after anything but new chunks."""
        self.asks_state = not texts or any(text != HINT for text in texts)

    def take(self, found: Sequence[StoredChunk], *, is_more: bool) -> list[Chunk]:
        """Convert the next chunks. One that cannot be read is reported, and counts as a gap before the next one."""
        rows: list[Chunk] = []
        for one in found:
            try:
                value = decode(one.record, what="chunk")
            except EncodingError as error:
                report([f"chunks:{self.job_id} has {one.token}-{one.n}: {error}"])
                continue
            # A failover may lose chunks; the next ones continue the numbers of their run, but not those of the stream.
            in_run = one.n - 1 - (self.n if one.token == self.token else 0)
            gap = 0 if self.tail and not rows else max(0, one.number - self.number - 1, in_run)
            is_restart = self.token not in (0, one.token)
            position = f"{one.token}-{one.n}-{one.number}"
            rows.append(Chunk(value, position, one.token, one.n, is_restart, gap))
            self.token, self.n, self.number = one.token, one.n, one.number
        self.is_more, self.tail = is_more, 0
        return rows


def read_stream(context: FleetContext, reading: StreamReading) -> Operation[list[Chunk]]:
    """Read the next page of the output stream of a job, and note in `reading` whether the job has ended.

    Raises:
        JobNotFound: Neither the job nor its output is known.
    """
    lane = context.keys.lane_of(reading.job_id)
    calls: list[Any] = [chunks(lane, reading.job_id, after=(reading.token, reading.n), tail=reading.tail)]
    if reading.asks_state:  # the state is read first, because a job writes its chunks before its end
        calls.insert(0, inspect.status(lane, (reading.job_id,)))
    answers = yield calls
    found, is_more = value(answers[-1:])
    rows = reading.take(found, is_more=is_more)
    if reading.asks_state:
        _, (state,) = value(answers[:1])
        reading.is_known |= bool(rows) or not isinstance(state, Unknown)
        if not reading.is_known:
            raise JobNotFound(reading.job_id)
        reading.is_over = not isinstance(state, InRun | InWait)
    return rows
