"""The jobs of simulated runs. Their arguments say what they do, act by act; the last value is their result.

============  =============================  =======================================================================
act           arguments                      what it does
============  =============================  =======================================================================
sleep         seconds                        takes virtual time
effect        name                           does something outside jobfleet: it is noted in the run
step          key, seconds                   runs a step that takes so long, with the effect ``step:<key>``
checkpoint    key, value                     stores a value
progress      value                          reports progress
emit          text                           writes a chunk of output
emits         count, seconds                 writes so many chunks, each after so long; their value is [fence, n]
large         bytes                          has an argument of that size, and checks it
result        bytes                          returns a value of that size
wait          name, seconds                  waits durably for a signal, with the effect ``signal:<name>:<value>``
nap           seconds                        sleeps durably
fail          times                          raises in the first attempts
fail_for_good                                raises what is not retried
snooze        seconds, times                 puts itself off in the first runs
lock          name, seconds                  holds a lock for so long, with the effects ``enter:`` and ``leave:<name>``
add           acts                           adds a job to its flow, after itself
enqueue       acts, id                       enqueues another job
stubborn      seconds                        ignores its cancellation for so long
die                                          ends its process, as a segmentation fault does
============  =============================  =======================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol, cast

from jobfleet.errors import JobCancelled
from jobfleet.functions.context import JobContext
from jobfleet.functions.limiting import Breaker
from jobfleet.functions.registry import JobDecorator, Registry
from jobfleet.model import Job
from jobfleet.model.signals import Discard, Snooze

registry = Registry()
fleet = SimpleNamespace(context=SimpleNamespace(registry=registry))
"""What a child takes its functions from."""
job = JobDecorator(registry, None)
Acts = list[list[Any]]
RETRIES: dict[str, Any] = {"max_retries": 5, "retry_delay": 2, "max_crashes": 5}


class Stage(Protocol):
    """What the jobs of a run tell the simulator."""

    def begin(self, ctx: JobContext, function: str) -> Any:
        """Code of a job begins; return its run."""

    def effect(self, run: Any, what: str) -> None:
        """It did something outside jobfleet."""

    def end(self, run: Any, how: str) -> None:
        """It has ended."""

    def die(self) -> None:
        """End the process whose code runs."""

    def sleep(self, seconds: float) -> None:
        """Sleep in the thread of a plain function."""

    def runs_of(self, job_id: str) -> int:
        """How many runs of a job have begun."""

    def producer(self) -> Any:
        """A client in the process whose code runs."""


stage: Stage = cast("Stage", None)
"""What simulates now."""


async def _acted(ctx: JobContext, function: str, acts: Acts) -> Any:
    run, value = stage.begin(ctx, function), None
    try:
        for name, *args in acts:
            value = await _act(ctx, run, name, args)
    except BaseException as error:
        stage.end(run, "cancelled" if isinstance(error, asyncio.CancelledError) else f"raised {type(error).__name__}")
        raise
    stage.end(run, "returned")
    return value


async def _act(ctx: JobContext, run: Any, name: str, args: list[Any]) -> Any:
    match name, args:
        case "sleep", [seconds]:
            await asyncio.sleep(seconds)
        case "effect", [what]:
            stage.effect(run, what)
        case "step", [key, seconds]:

            async def step() -> str:
                await asyncio.sleep(seconds)
                stage.effect(run, f"step:{key}")
                return str(key)

            return await ctx.step(key, step)
        case "checkpoint", [key, value]:
            await ctx.checkpoint(key, value)
        case "progress", [value]:
            ctx.progress(value)
        case "emit", [text]:
            await ctx.emit(text)
        case "result", [size]:
            return "r" * size
        case "wait", [signal, seconds]:
            value = await ctx.wait_for(signal, timeout=seconds)
            stage.effect(run, f"signal:{signal}:{value}")
            return value
        case "nap", [seconds]:
            await ctx.sleep(seconds)
        case _:
            await _rarer_act(ctx, run, name, args)
    return None


async def _rarer_act(ctx: JobContext, run: Any, name: str, args: list[Any]) -> None:
    match name, args:
        case "lock", [lock, seconds]:
            async with ctx.lock(lock):
                stage.effect(run, f"enter:{lock}")
                await asyncio.sleep(seconds)
                stage.effect(run, f"leave:{lock}")
        case "add", [acts]:
            await ctx.flow.add(Job("added", work, (acts,)))
        case "enqueue", [acts, *own_id]:
            client = stage.producer()
            await client.enqueue(Job("enqueued", work, (acts,), id=own_id[0] if own_id else None))
        case "emits", [count, seconds]:
            for number in range(1, count + 1):
                await asyncio.sleep(seconds)
                await ctx.emit([ctx.fence, number])
            stage.effect(run, f"emitted:{count}")
        case "large", [size, text]:
            if text != "a" * size:
                stage.effect(run, f"garbled argument of {len(text)} instead of {size} bytes")
        case "stubborn", [seconds]:
            until = asyncio.get_running_loop().time() + seconds
            while (left := until - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.sleep(left)
                except asyncio.CancelledError:
                    stage.effect(run, "ignored a cancellation")
        case "die", []:
            stage.die()
            await asyncio.Event().wait()
        case _:
            _plain_act(ctx, name, args)


def _plain_act(ctx: JobContext, name: str, args: list[Any]) -> None:
    match name, args:
        case "fail", [times]:
            if ctx.attempt <= times:
                raise RuntimeError(f"planned failure {ctx.attempt} of {times}")
        case "fail_for_good", []:
            raise Discard("planned")
        case "snooze", [seconds, times]:
            if stage.runs_of(ctx.job_id) <= times:
                raise Snooze(seconds)
        case _:
            raise AssertionError(f"no act {name}{args}")


def _acted_sync(ctx: JobContext, function: str, acts: Acts) -> None:
    run = stage.begin(ctx, function)
    try:
        for name, *args in acts:
            match name, args:
                case "sleep", [seconds]:
                    stage.sleep(seconds)
                case "effect", [what]:
                    stage.effect(run, what)
                case "step", [key, seconds]:

                    def step(key: str = key, seconds: float = seconds) -> str:
                        stage.sleep(seconds)
                        stage.effect(run, f"step:{key}")
                        return key

                    ctx.step_sync(key, step)
                case "wait", [signal, seconds]:
                    stage.effect(run, f"signal:{signal}:{ctx.wait_for_sync(signal, timeout=seconds)}")
                case "nap", [seconds]:
                    ctx.sleep_sync(seconds)
                case "progress", [value]:
                    ctx.progress(value)
                case "die", []:
                    stage.die()
                    stage.sleep(1e6)
                case _:
                    _plain_act(ctx, name, args)
    except BaseException as error:
        stage.end(run, "cancelled" if isinstance(error, JobCancelled) else f"raised {type(error).__name__}")
        raise
    stage.end(run, "returned")


def _named(name: str, **options: Any) -> Callable[..., Any]:
    async def function(ctx: JobContext, acts: Acts) -> Any:
        return await _acted(ctx, name, acts)

    made: Callable[..., Any] = job(name=name, **{**RETRIES, **options})(function)
    return made


work = _named("work")
limited = _named("limited", limits=["api"])
broken = _named("broken", breaker=Breaker(0.5, window=60, cooldown=10, minimum=3))
elsewhere = _named("elsewhere", queue="other")
grouped = _named("grouped", concurrency=2, group="all", queue="other")
few = _named("few", concurrency=1, queue="few")


def _blocking(ctx: JobContext, acts: Acts) -> None:
    """A function for a thread."""
    _acted_sync(ctx, "blocking", acts)


blocking = job(name="blocking", **RETRIES)(_blocking)


FUNCTIONS: dict[str, Any] = {name: registry.functions[name] for name in registry.functions}
"""The functions by name, for plans."""
