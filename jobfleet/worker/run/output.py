"""The part of a run that counts and holds what its job has written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType

_numbering = threading.Lock()
"""Protects the numbers of all runs: the thread of a job and the event loop both take numbers, each in no time."""


class LogTail:
    """The unsent lines of one run's log. A gap in the numbers shows that lines were dropped.

    Attributes:
        lines: Number and text of each line, the oldest first.
        bytes: The size of all these lines.
        n: The number of the last line.
    """

    __slots__ = ("bytes", "lines", "n")

    def __init__(self) -> None:
        self.lines: deque[tuple[int, bytes]] = deque()
        self.bytes = 0
        self.n = 0

    def add(self, text: bytes, most_lines: int, most_bytes: int) -> None:
        """Add a line. The oldest lines are dropped when there are too many."""
        self.n += 1
        self.lines.append((self.n, text))
        self.bytes += len(text)
        while len(self.lines) > most_lines or (self.bytes > most_bytes and len(self.lines) > 1):
            self.bytes -= len(self.lines.popleft()[1])

    def take(self) -> list[tuple[int, bytes]]:
        """Remove all lines and return them."""
        taken = list(self.lines)
        self.lines.clear()
        self.bytes = 0
        return taken


class ChunkBuffer:
    """The chunks of one run that Redis has not confirmed, in order. The first ones may be in flight.

    Attributes:
        records: The encoded chunks.
        n: The number of the first of them, from 1 in each run.
        sent: How many of them are in flight.
        bytes: The size of those that are not in flight.
        failure: Why no more chunks are taken; None if they are.
    """

    __slots__ = ("bytes", "failure", "n", "records", "sent")

    def __init__(self) -> None:
        self.records: deque[bytes] = deque()
        self.n = 1
        self.sent = 0
        self.bytes = 0
        self.failure: Exception | None = None

    @property
    def waiting(self) -> int:
        """The number of chunks that are not in flight."""
        return len(self.records) - self.sent

    @property
    def emitted(self) -> int:
        """The number of chunks that the run has emitted so far."""
        return self.n - 1 + len(self.records)

    def add(self, record: bytes) -> None:
        """Add a chunk."""
        self.records.append(record)
        self.bytes += len(record)

    def send(self, most: int) -> list[bytes]:
        """Return the first chunks, at most `most`; they are in flight now."""
        sending, already = list(islice(self.records, most)), self.sent
        self.sent = len(sending)
        self.bytes -= sum(map(len, sending[already:]))
        return sending

    def confirm(self) -> None:
        """Remove the chunks that are in flight."""
        for _ in range(self.sent):
            self.records.popleft()
        self.n += self.sent
        self.sent = 0

    def take(self) -> list[bytes]:
        """Remove all chunks, also those in flight, and return them."""
        taken = list(self.records)
        self.n += len(taken)
        self.records.clear()
        self.sent = self.bytes = 0
        return taken


class Output:
    """What a run has written. The writers change it.

    Attributes:
        number: The number of the last report about the run. It grows with each progress report and each stop stage.
        log: The unsent lines of its log; None before the first one.
        chunks: The unsent chunks of its output stream; None before the first one.
        has_steps: Whether the job has read or written step results.
        waits: In a fleet with keys, the ends of waits and the refused signals that the run has read; see `calls.steps`.
    """

    number = 0
    log: LogTail | None = None
    chunks: ChunkBuffer | None = None
    has_steps = False
    waits: Mapping[str, bytes] = MappingProxyType({})

    def next_number(self) -> int:
        """Take the number of a further report, from any thread. No number is taken twice."""
        with _numbering:
            self.number += 1
            return self.number
