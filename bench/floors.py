"""Floors: the least that redis-py and Redis themselves take for the like of a job. No leases, nothing promised."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from typing import Any, cast

import redis

from bench.setting import Server

PART = 50
BODY = b"\x00" * 96
RESULT = b"\x00" * 64


def loop_of_sets(client: redis.Redis, count: int) -> float:
    """Seconds for so many SETs, one at a time."""
    keys = [f"floor:{uuid.uuid4()}" for _ in range(count)]
    began = time.perf_counter()
    for key in keys:
        client.set(key, BODY)
    return time.perf_counter() - began


async def loop_of_async_sets(client: Any, count: int) -> float:
    """The same with redis.asyncio."""
    keys = [f"floor:{uuid.uuid4()}" for _ in range(count)]
    began = time.perf_counter()
    for key in keys:
        await client.set(key, BODY)
    return time.perf_counter() - began


def pipelined_sets(client: redis.Redis, count: int, part: int = 1000) -> float:
    """Seconds for so many SETs in pipelines of 1,000, as `enqueue_many` sends them."""
    keys = [f"floor:{uuid.uuid4()}" for _ in range(count)]
    began = time.perf_counter()
    for at in range(0, count, part):
        with client.pipeline(transaction=False) as pipeline:
            for key in keys[at : at + part]:
                pipeline.set(key, BODY)
            pipeline.execute()
    return time.perf_counter() - began


def bare_enqueue(client: redis.Redis, count: int) -> None:
    """A body and a place in a sorted set for so many jobs."""
    for at in range(0, count, 500):
        with client.pipeline(transaction=False) as pipeline:
            for index in range(at, min(count, at + 500)):
                name = str(uuid.uuid4())
                pipeline.set(f"floor:job:{name}", BODY)
                pipeline.zadd("floor:ready", {name: index})
            pipeline.execute()


def bare_drain(client: redis.Redis) -> float:
    """Seconds to take all of them, 50 at a time: pop, read, delete, write a result with a TTL."""
    began = time.perf_counter()
    while popped := cast(list[tuple[bytes, float]], client.zpopmin("floor:ready", PART)):
        names = [name.decode() for name, _ in popped]
        client.mget([f"floor:job:{name}" for name in names])
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.set(f"floor:result:{name}", RESULT, ex=86_400)
            pipeline.delete(*[f"floor:job:{name}" for name in names])
            pipeline.execute()
    return time.perf_counter() - began


_POPPER = """
import sys, time, redis
client = redis.Redis.from_url(sys.argv[1], protocol=2)
count, waits = int(sys.argv[2]), []
client.set("floor:up", 1)
while len(waits) < count:
    _, member, _ = client.bzpopmin("floor:wake", 30)
    waits.append(time.monotonic_ns() - int(member))
import json
print(json.dumps(waits))
"""


def hand_over(server: Server, count: int) -> list[float]:
    """Milliseconds from ZADD in this process to the return of BZPOPMIN in another, 10 ms apart."""
    command = [sys.executable, "-c", _POPPER, server.url, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as popper:
        server.wait(lambda: server.raw.get("floor:up"), "the floor's process is up")
        time.sleep(0.2)  # the popper is to be blocked when the first ZADD comes
        for _ in range(count):
            server.raw.zadd("floor:wake", {str(time.monotonic_ns()): 0})
            time.sleep(0.01)  # so that it is blocked again
        out, _ = popper.communicate(timeout=30)
    return [wait / 1e6 for wait in json.loads(out)]


def interpreter(server: Server) -> float:
    """Seconds until a new Python with redis-py has said PING."""
    code = "import sys, redis.asyncio, redis; redis.Redis.from_url(sys.argv[1]).ping()"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, server.url], check=True)
    return time.perf_counter() - began
