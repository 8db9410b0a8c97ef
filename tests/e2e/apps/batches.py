"""Batch functions that write down their calls, outside of Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from jobfleet import BatchItem, job

CALLS = Path(os.environ.get("JOBFLEET_TEST_FOLDER", ".")) / "calls"


def note(values: list[str]) -> None:
    """Append one line, in one write."""
    descriptor = os.open(CALLS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (" ".join(values) + "\n").encode())
    finally:
        os.close(descriptor)


@job(name="batches.load", batch=5, batch_wait=0.3)
async def load(items: list[BatchItem[str]]) -> list[str]:
    """Load what it is given; one of them kills the process."""
    note([item.value for item in items])
    if any(item.value == "bad" for item in items):
        os.kill(os.getpid(), signal.SIGKILL)
    return [f"{item.value} of {len(items)}" for item in items]


@job(name="batches.insert", batch=50, batch_wait=60)
def insert(rows: list[str]) -> None:
    """Take many rows, in a thread; it gathers for a minute."""
    note(rows)


@job(name="batches.nap", batch=3, batch_wait=0.05)
async def nap(seconds: list[float]) -> list[float]:
    """Sleep for the longest of them."""
    note([f"{one:g}" for one in seconds])
    await asyncio.sleep(max(seconds))
    return seconds


@job(name="batches.mixed", batch=4, batch_wait=0.02, retry_delay=0.05)
async def mixed(items: list[BatchItem[int]]) -> list[object]:
    """Each job ends in its own way, the second time if not the first."""
    await asyncio.sleep(0.05)
    return [
        ConnectionError("once") if item.value % 5 == 0 and item.context.attempt == 1 else item.value for item in items
    ]


@job(name="batches.stuck", batch=3, batch_wait=0.2, timeout=0.3, hard_timeout=0.6)
def stuck(seconds: list[float]) -> None:
    """Sit in one call of C, where no exception can be raised."""
    note([f"{one:g}" for one in seconds])
    time.sleep(max(seconds))
