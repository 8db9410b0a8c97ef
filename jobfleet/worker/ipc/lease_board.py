"""The lease board: shared memory in which a child shows its supervisor the jobs that it holds.

The child writes and the supervisor reads, so no message is needed per job. The header has 128 bytes::

    0..4    capacity
    4       whether any run ever had a hard limit
    8..16   last turn of the child's event loop (boot-time seconds); 0 if it need not turn
    16..32  resident memory in bytes and processor time in seconds, if the system does not show them to the supervisor

A record has 136 bytes::

    0       phase: free, claimed, started, returned, apart, ended
    1       length of the id
    4..8    crc32 of token and id
    8..16   token
    16..128 id
    128..136 deadline of the run (tenths of a second, 0 for none), and its limit in seconds

The child writes a record with one slice assignment, and its phase with one byte. A reader in another process may see a
torn record; the checksum reveals it, and the reader reads again. The checksum excludes the phase, so that a phase
change costs only one single-byte write. If a reader combines a phase with an older record, its next reading corrects
this; after a death, nothing is written any more. A limit is written only for a job that has one, and is removed before
its record becomes free. Byte 4 of the header lets the supervisor skip boards without limits.
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
from jobfleet.worker.ipc.usage import Usage


def board_capacity(slots: int) -> int:
    """Return the capacity of a board: running jobs, and jobs whose ending is being sent."""
    return 3 * slots + 128


RECORD = 136
HEADER = 128
READS = 5
_head = Struct("<BBxxIQ")
_token = Struct("<Q")
_capacity = Struct("<I")
_turned = Struct("<d")
TURNED = 8
_usage = Struct("<Qd")
_USED = 16
_limit = Struct("<If")
_LIMITS = 4
_LIMIT = 128
TENTHS = 10


class Phase(IntEnum):
    """The progress of a job in its child."""

    FREE = 0
    CLAIMED = 1
    STARTED = 2
    RETURNED = 3
    APART = 4
    """Its code runs in another process, so it cannot cause this process's death."""
    ENDED = 5
    """Its code has ended, and the hooks after the run are called."""

    @property
    def is_in_code(self) -> bool:
        """Whether the job's own code runs, in any process. Only such a run can be stopped."""
        return self in (Phase.STARTED, Phase.APART)

    @property
    def is_in_hooks(self) -> bool:
        """Whether the hooks after the run are called."""
        return self is Phase.ENDED


class Posted(NamedTuple):
    """A job that a child holds."""

    phase: Phase
    id: str
    token: int

    @property
    def key(self) -> tuple[str, int]:
        """Id and token, which together identify the run."""
        return (self.id, self.token)


def create(capacity: int) -> int:
    """Create the memory of a board and return its inheritable file descriptor."""
    descriptor = nameless("jobfleet-board")
    os.ftruncate(descriptor, HEADER + RECORD * capacity)
    os.pwrite(descriptor, _capacity.pack(capacity), 0)
    return descriptor


def nameless(label: str) -> int:
    """Create a file without a name, in memory if possible, and return its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(label)
    descriptor, path = tempfile.mkstemp()
    Path(path).unlink()
    return descriptor


class LeaseBoard:
    """The writing side of a board, in the child.

    Args:
        descriptor: The descriptor of the shared memory; None for memory of this process only.
        capacity: Number of records if there is no descriptor.
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
        """Number of jobs that can still be posted."""
        return len(self._free)

    def post(self, job_id: str, token: int) -> int:
        """Post a claimed job; return the offset of its record."""
        place = self._free.pop()
        name = job_id.encode()
        packed = _token.pack(token)
        end = place + 16 + len(name)
        self._memory[place:end] = _head.pack(1, len(name), zlib.crc32(name, zlib.crc32(packed)), token) + name
        return place

    def limit(self, place: int, until: float, seconds: float) -> None:
        """Set the deadline of a run (monotonic clock) and its limit in seconds; 0 for no limit."""
        self._memory[_LIMITS] = 1
        at = place + _LIMIT
        self._memory[at : at + _limit.size] = _limit.pack(min(math.ceil(until * TENTHS), 0xFFFFFFFF), seconds)

    def claimed(self, place: int) -> None:
        """Record that no user code runs for the job yet, after all."""
        self._memory[place] = 1

    def started(self, place: int) -> None:
        """Record that user code runs for the job; only such jobs can be charged with the child's death."""
        self._memory[place] = 2

    def apart(self, place: int) -> None:
        """Record that the job's user code runs in another process."""
        self._memory[place] = 4

    def ended(self, place: int) -> None:
        """Record that the job's own code has ended, while hooks may still run."""
        self._memory[place] = 5

    def returned(self, place: int) -> None:
        """Record that all user code has returned."""
        self._memory[place] = 3

    def clear(self, place: int) -> bool:
        """Remove a job, because its settle got a reply. Returns whether the board was full before."""
        self._memory[place] = 0
        self._free.append(place)
        return len(self._free) == 1

    def turn(self, at: float) -> None:
        """Record a turn of the event loop; 0 if it need not turn any more."""
        self._memory[TURNED : TURNED + 8] = _turned.pack(at)

    def use(self, usage: Usage) -> None:
        """Record what the process uses."""
        self._memory[_USED : _USED + _usage.size] = _usage.pack(*usage)

    def read(self) -> list[Posted]:
        """Return the posted jobs, for a reader in the same process."""
        return read(self._memory)


class LeaseBoardReader:
    """The reading side of a board, in the supervisor.

    Args:
        descriptor: The descriptor of the shared memory; `close` closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)

    def read(self) -> list[Posted]:
        """Return the posted jobs."""
        return read(self._memory)

    @property
    def turned_at(self) -> float:
        """The last turn of the child's event loop (boot-time clock); 0 if it need not turn."""
        at: float = _turned.unpack_from(self._memory, TURNED)[0]
        return at

    @property
    def usage(self) -> Usage | None:
        """What the child uses, as it has recorded it; None if it has not."""
        memory, seconds = _usage.unpack_from(self._memory, _USED)
        return Usage(memory, seconds) if memory else None

    @property
    def has_limits(self) -> bool:
        """Whether any run ever had a limit."""
        return bool(self._memory[_LIMITS])

    def overdue(self, now: float) -> dict[tuple[str, int], float]:
        """Return the limit in seconds of each run whose deadline is before `now` (monotonic clock)."""
        return overdue(self._memory, now)

    def close(self) -> None:
        """Release the memory."""
        self._memory.close()
        os.close(self._descriptor)


def read(memory: mmap.mmap) -> list[Posted]:
    """Return every posted job. A record still half-written after the retries is skipped until the next read."""
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
    """Return started runs past their deadline. A record may show the limit of an earlier run, so check twice."""
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
        if length <= ID_BYTES and phase <= Phase.ENDED:
            name = record[16 : 16 + length]
            if zlib.crc32(name, zlib.crc32(record[8:16])) == checksum:
                return Posted(Phase(phase), name.decode(errors="replace"), token)
    return None
