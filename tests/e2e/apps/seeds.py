"""Jobs for the rows of the user's list: each shows one thing that was asked for."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from jobfleet import JobContext, ProgressCallback, job, register_job_function

STEP = 0.02


def note(path: str, text: str) -> None:
    """Append one line."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


@job(name="seed.add")
async def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


register_job_function("seed.double", lambda x: x * 2)


@job(name="seed.compute")
def compute(path: str, progress_callback: ProgressCallback) -> str:
    """Report half of the work, and the rest when a file is there."""
    while not Path(path).exists():
        progress_callback(0.5, "Computing", {"rows": 7})
        time.sleep(STEP)
    progress_callback(1.0, "Done", {"rows": 14})
    return "computed"


@job(name="seed.steps")
def steps(folder: str, progress_callback: ProgressCallback) -> str:
    """Report a quarter, and go on each time that the next file is there."""
    for value, gate in ((0.25, "first"), (0.75, "second")):
        while not (Path(folder) / gate).exists():
            progress_callback(value, f"Waiting for the {gate} file")
            time.sleep(STEP)
    return "all steps"


@job(name="seed.hold", retry_delay=0.1)
async def hold(ctx: JobContext, path: str) -> int:
    """Run until a file is there; answer which run it was."""
    while not Path(path).exists():
        await asyncio.sleep(STEP)
    return ctx.attempt


@job(name="seed.note")
def note_down(path: str, text: str) -> None:
    """Append a line to a file."""
    note(path, text)


@job(name="seed.moments", retry_jitter=False)
def moments(ctx: JobContext, path: str, failures: int) -> int:
    """Fail so many times for want of a network. Each run notes its start: µs of a clock that all processes share."""
    note(path, str(time.monotonic_ns() // 1000))
    if ctx.attempt <= failures:
        raise ConnectionError("the network is down")
    return ctx.attempt


@job(name="seed.raise", retry_delay=0.05)
def raise_(name: str) -> None:
    """Raise an exception of the standard library."""
    raise {"ValueError": ValueError, "ConnectionError": ConnectionError, "TimeoutError": TimeoutError}[name]("no luck")


class Busy(ValueError):
    """A ValueError that passes."""


class Refused(ConnectionError):
    """A ConnectionError that does not."""


@job(name="seed.charge", retry_on=(Busy,), discard_on=(Refused,), retry_delay=0.05)
def charge(ctx: JobContext, name: str) -> int:
    """Raise an error of its own kind, once."""
    if ctx.attempt == 1:
        raise {"Busy": Busy, "Refused": Refused}[name]("the bank said so")
    return ctx.attempt


@job(name="seed.total")
def total(ctx: JobContext) -> int:
    """Add up what the jobs before have returned."""
    return sum(int(parent.result or 0) for parent in ctx.parents.values())


@job(name="seed.told")
def told(ctx: JobContext) -> dict[str, object]:
    """Tell what a job sees of itself."""
    ctx.log.warning("looking around")
    return {
        "name": ctx.job.name, "user": ctx.user, "tags": list(ctx.tags), "metadata": dict(ctx.metadata),
        "session": ctx.job.session, "correlation_id": ctx.correlation_id, "attempt": ctx.attempt,
        "max_retries": ctx.job.max_retries,
        "retry_delay": ctx.job.retry_delay, "retry_backoff": ctx.job.retry_backoff,
        "retry_jitter": ctx.job.retry_jitter,
    }  # fmt: skip


@job(name="seed.read", max_retries=0)
def read(path: str) -> str:
    """Read a file; fail for good while there is none."""
    return Path(path).read_text()
