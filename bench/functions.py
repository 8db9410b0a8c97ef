"""What the workers of the benchmarks run. Each body notes that it ran in a file it shares with the bench."""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import time
from functools import cache
from mmap import mmap
from pathlib import Path

from jobfleet import JobContext, job

FOLDER = "BENCH_METERS"
SLOT = struct.Struct("<QQQ")
STAMP = struct.Struct("<QQ")
STAMPS = 4096


class Meter:
    """Counts the jobs of one process: how many ended, when the first started and the last ended (ns, monotonic)."""

    def __init__(self, folder: Path) -> None:
        self._map = _mapped(folder / f"{os.getpid()}.meter", SLOT.size)
        self._stamps = _mapped(folder / f"{os.getpid()}.stamps", STAMPS * STAMP.size)
        self._count = 0
        self._first = 0

    def started(self) -> None:
        if not self._first:
            self._first = time.monotonic_ns()

    def ended(self) -> None:
        now = time.monotonic_ns()
        self._first = self._first or now
        self._count += 1
        SLOT.pack_into(self._map, 0, self._count, self._first, now)

    def stamp(self, index: int, start: int) -> None:
        """Note a job's start: by its number, and when it was asked for."""
        STAMP.pack_into(self._stamps, index * STAMP.size, start, time.monotonic_ns())


def _mapped(path: Path, size: int) -> mmap:
    with path.open("wb+") as file:
        file.truncate(size)
        return mmap(file.fileno(), size)


@cache
def meter() -> Meter:
    return Meter(Path(os.environ[FOLDER]))


_lock = threading.Lock()


@job(name="bench.add")
async def add(x: int, y: int) -> int:
    meter().ended()
    return x + y


@job(name="bench.add_limited", limits=["bench"])
async def add_limited(x: int, y: int) -> int:
    meter().ended()
    return x + y


@job(name="bench.add_thread")
def add_thread(x: int, y: int) -> int:
    with _lock:
        meter().ended()
    return x + y


@job(name="bench.sleep")
async def sleep(seconds: float) -> None:
    meter().started()
    await asyncio.sleep(seconds)
    meter().ended()


@job(name="bench.latency")
async def latency(index: int, asked: int) -> None:
    meter().stamp(index, asked)


@job(name="bench.hold")
async def hold(index: int, seconds: float) -> None:
    meter().stamp(index, os.getpid())
    await asyncio.sleep(seconds)


@job(name="bench.nap")
async def nap(ctx: JobContext, seconds: float) -> None:
    await ctx.sleep(seconds)
    meter().ended()


@job(name="bench.await_signal")
async def await_signal(ctx: JobContext, index: int) -> None:
    meter().stamp(index, await ctx.wait_for("go"))


@job(name="bench.emit")
async def emit(ctx: JobContext, count: int, text: str) -> None:
    for _ in range(count):
        await ctx.emit(text)


@job(name="bench.tick")
async def tick(ctx: JobContext, count: int, spacing: float) -> None:
    for _ in range(count):
        await ctx.emit(time.monotonic())
        await asyncio.sleep(spacing)


@job(name="bench.publish")
async def publish(url: str, count: int, spacing: float) -> None:
    import redis.asyncio  # it takes longer than the start of a fresh process, which another row measures

    async with redis.asyncio.Redis.from_url(url, protocol=2) as client:
        for _ in range(count):
            await client.publish("plain", repr(time.monotonic()))
            await asyncio.sleep(spacing)
