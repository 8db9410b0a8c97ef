"""The lease board: memory that a child shares with its supervisor, with what the child holds.

The child writes, the supervisor reads; no message is sent for a job. The header has 128 bytes::

    0..4    capacity
    4       whether any run had a hard limit
    8..16   when the child's event loop turned last (boot-time seconds); 0 when it need not turn

A record has 136 bytes::

    0       phase: free, claimed, started, returned, apart
    1       length of the id
    4..8    crc32 of token and id
    8..16   token
    16..128 id
    128..136 when the run is to be over (tenths of a second, 0 for never), and its limit in seconds

A record is written by one slice assignment, its phase by one byte. A reader in another process can
see a torn record; the checksum tells, and it reads again. The phase stands outside the checksum, so
that a job's way through it costs two single-byte writes; a phase read beside an older record is
corrected by the next reading, and after a death nobody writes any more. A limit is written only for
a job that has one, and taken back before its record is free again; byte 4 of the header says whether
any ever was, so that boards without limits are not searched for them.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import zlib
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from jobfleet.model import ID_BYTES


def board_capacity(slots: int) -> int:
    """How many jobs a child may hold: those that run, and those whose end is on its way."""
    return 3 * slots + 128


RECORD = 136
HEADER = 128
READS = 5
_head = Struct("<BBxxIQ")
_token = Struct("<Q")
_capacity = Struct("<I")
_turned = Struct("<d")
TURNED = 8
_limit = Struct("<If")
_LIMITS = 4
_LIMIT = 128
TENTHS = 10


class Phase(IntEnum):
    """How far a job has come in its child."""

    FREE = 0
    CLAIMED = 1
    STARTED = 2
    RETURNED = 3
    APART = 4
    """Its code runs, but in another process: it has no part in this one's death."""

    @property
    def is_in_code(self) -> bool:
        """Whether user code has the job, wherever it runs."""
        return self in (Phase.STARTED, Phase.APART)


class Posted(NamedTuple):
    """One job that a child holds."""

    phase: Phase
    id: str
    token: int

    @property
    def key(self) -> tuple[str, int]:
        """Id and token together, which no other run shares."""
        return (self.id, self.token)


def create(capacity: int) -> int:
    """Make memory for a board and return its file descriptor, to be inherited."""
    descriptor = nameless("jobfleet-board")
    os.ftruncate(descriptor, HEADER + RECORD * capacity)
    os.pwrite(descriptor, _capacity.pack(capacity), 0)
    return descriptor


def nameless(label: str) -> int:
    """Make a file in memory, where possible, and return its descriptor; it never has a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(label)
    descriptor, path = tempfile.mkstemp()
    Path(path).unlink()
    return descriptor


class LeaseBoard:
    """A child's side: it posts what it holds.

    Args:
        descriptor: Of the shared memory; None for memory of this process alone.
        capacity: Records, when there is no descriptor.
    """

    def __init__(self, descriptor: int | None, capacity: int = 0) -> None:
        if descriptor is None:
            self._memory = mmap.mmap(-1, HEADER + RECORD * capacity)
            self._memory[:4] = _capacity.pack(capacity)
        else:
            self._memory = mmap.mmap(descriptor, 0)
            capacity = _capacity.unpack_from(self._memory, 0)[0]
        self.capacity = capacity
        self._free = [HEADER + RECORD * number for number in range(capacity - 1, -1, -1)]

    @property
    def room(self) -> int:
        """How many more jobs can be posted."""
        return len(self._free)

    def post(self, job_id: str, token: int) -> int:
        """Post a claimed job; return its place."""
        place = self._free.pop()
        name = job_id.encode()
        packed = _token.pack(token)
        end = place + 16 + len(name)
        self._memory[place:end] = _head.pack(1, len(name), zlib.crc32(name, zlib.crc32(packed)), token) + name
        return place

    def limit(self, place: int, until: float, seconds: float) -> None:
        """Say until when (monotonic clock) a run is to be over, and how many seconds it was given; 0 for no limit."""
        self._memory[_LIMITS] = 1
        at = place + _LIMIT
        self._memory[at : at + _limit.size] = _limit.pack(min(math.ceil(until * TENTHS), 0xFFFFFFFF), seconds)

    def claimed(self, place: int) -> None:
        """Say that no user code runs for it yet, after all."""
        self._memory[place] = 1

    def started(self, place: int) -> None:
        """Say that user code runs for it; only such jobs are charged when the child dies."""
        self._memory[place] = 2

    def apart(self, place: int) -> None:
        """Say that its user code runs in another process."""
        self._memory[place] = 4

    def returned(self, place: int) -> None:
        """Say that user code has returned."""
        self._memory[place] = 3

    def clear(self, place: int) -> None:
        """Take it off: its settle was answered."""
        self._memory[place] = 0
        self._free.append(place)

    def turn(self, at: float) -> None:
        """Say that the event loop turns; 0 when it no longer has to."""
        self._memory[TURNED : TURNED + 8] = _turned.pack(at)

    def read(self) -> list[Posted]:
        """What is posted now, read from within the process."""
        return read(self._memory)


class LeaseBoardReader:
    """A supervisor's side: it reads what a child holds.

    Args:
        descriptor: Of the shared memory; closed with the reader.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)

    def read(self) -> list[Posted]:
        """What is posted now."""
        return read(self._memory)

    @property
    def turned_at(self) -> float:
        """When the child's event loop turned last (boot-time clock); 0 when it need not turn."""
        at: float = _turned.unpack_from(self._memory, TURNED)[0]
        return at

    @property
    def has_limits(self) -> bool:
        """Whether any run ever had a limit."""
        return bool(self._memory[_LIMITS])

    def overdue(self, now: float) -> dict[tuple[str, int], float]:
        """The limits, in seconds, of the runs that should have been over before `now` (monotonic clock)."""
        return overdue(self._memory, now)

    def close(self) -> None:
        """Let the memory go."""
        self._memory.close()
        os.close(self._descriptor)


def read(memory: mmap.mmap) -> list[Posted]:
    """Every posted job; a record that stays torn is left out, its next reading comes soon."""
    (capacity,) = _capacity.unpack_from(memory, 0)
    posted = []
    for number in range(capacity):
        place = HEADER + RECORD * number
        if memory[place]:
            one = _read_one(memory, place)
            if one is not None:
                posted.append(one)
    return posted


def overdue(memory: mmap.mmap, now: float) -> dict[tuple[str, int], float]:
    """Started runs that are past their limit. One may be read beside the limit of an earlier run: look twice."""
    (capacity,) = _capacity.unpack_from(memory, 0)
    found = {}
    for place in range(HEADER, HEADER + RECORD * capacity, RECORD):
        if memory[place] in (Phase.STARTED, Phase.APART):
            until, seconds = _limit.unpack_from(memory, place + _LIMIT)
            if until and until / TENTHS < now:
                one = _read_one(memory, place)
                if one is not None and one.phase.is_in_code:
                    found[one.key] = seconds
    return found


def _read_one(memory: mmap.mmap, place: int) -> Posted | None:
    for _ in range(READS):
        record = memory[place : place + RECORD]
        phase, length, checksum, token = _head.unpack_from(record)
        if phase == Phase.FREE:
            return None
        if length <= ID_BYTES and phase <= Phase.APART:
            name = record[16 : 16 + length]
            if zlib.crc32(name, zlib.crc32(record[8:16])) == checksum:
                return Posted(Phase(phase), name.decode(errors="replace"), token)
    return None
