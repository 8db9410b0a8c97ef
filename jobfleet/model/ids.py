"""Creation and parsing of job ids.

An id is ``<queue>.<lane>.<suffix>``, so an id alone locates its job. The suffix is either the caller's own `id`,
or a UUIDv7 (RFC 9562) in 32 hex digits that increases strictly within a process.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
import time
from typing import NamedTuple

from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.names import LANE_RULE, QUEUE_RULE, SUFFIX_RULE

ID_RULE = re.compile(rf"({QUEUE_RULE.pattern})\.({LANE_RULE.pattern})\.({SUFFIX_RULE.pattern})")
PART_LEAST = 4
"""Least length of a part of an id that commands complete."""
PARENT_MARK_BYTES = 5
ID_BYTES = 112  # the longest id that the lease board holds; 32 + 64 and a lane number stay below it

_FORMS = f"ids look like mail.0.0192f0c1…; commands also take its last {PART_LEAST} or more characters."
_COUNTER_BITS = 26
_UUID7_RULE = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")


class Place(NamedTuple):
    """The location of a job: the parts of its id."""

    queue: str
    lane: int
    suffix: str


class _Suffixes:
    """Makes UUIDv7 suffixes that increase strictly, even if the machine's clock steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self.reseed()

    def reseed(self) -> None:
        """Read a new random seed, so that a forked child does not repeat its parent's suffixes."""
        self._lock = threading.Lock()
        self._random = random.Random(os.urandom(32)).getrandbits

    def __call__(self) -> str:
        tick = (time.time_ns() // 1_000_000) << _COUNTER_BITS
        with self._lock:
            if tick <= self._last:
                tick = self._last + 1
            self._last = tick
            tail = self._random(48)
        return f"{tick >> 26:012x}7{(tick >> 14 & 0xFFF) << 16 | 0x8000 | tick & 0x3FFF:07x}{tail:012x}"


new_suffix: _Suffixes = _Suffixes()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=new_suffix.reseed)


def suffix_time_us(suffix: str) -> int | None:
    """The producer's time of creation in µs, from a generated suffix; None for a suffix that the caller chose."""
    return int(suffix[:12], 16) * 1000 if _UUID7_RULE.fullmatch(suffix) else None


def derived_suffix(job_id: str, why: str) -> str:
    """Derive the suffix of a job from another job's id and a reason. The same input always gives the same suffix."""
    digest = hashlib.blake2b(f"{job_id} {why}".encode(), digest_size=5).hexdigest()
    return f"{split_id(job_id).suffix[:53]}.{digest}"


def parent_mark(job_id: str) -> bytes:
    """A short hash of an id: the header of a job names the parents that must have completed by these."""
    return hashlib.blake2b(job_id.encode(), digest_size=PARENT_MARK_BYTES).digest()


def added_suffix(job_id: str, name: str, number: int) -> str:
    """Derive the suffix of a job that another job adds to its flow, from that job's id, a name and a number."""
    digest = hashlib.blake2b(f"{job_id} {name}".encode(), digest_size=8).hexdigest()
    return f"{split_id(job_id).suffix[:40]}.{digest}.{number:x}"


def split_id(job_id: str) -> Place:
    """Split a job id into its parts.

    Raises:
        JobNotFound: The text does not have the form of a job id, so no job can have it.
        InvalidJob: `job_id` is not a text.
    """
    try:
        match = ID_RULE.fullmatch(job_id)
    except TypeError:
        raise InvalidJob(f"job_id is {job_id!r:.100}; give a text, such as handle.id.", field="job_id") from None
    if match is None:
        raise JobNotFound(job_id, f"{job_id!r} is not a job id; {_FORMS}")
    queue, lane, suffix = match.groups()
    return Place(queue, int(lane), suffix)
