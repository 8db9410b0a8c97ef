"""The demo's functions."""

from __future__ import annotations

import ast
import asyncio
import os
import threading
import tokenize

from jobfleet import JobContext, job

_parsing = threading.Lock()
"""Held while a tree is built: CPython counts the depth of all trees in one variable, which two threads corrupt."""


@job(name="demo.add")
async def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@job(name="demo.sleep")
async def sleep(seconds: float) -> float:
    """Sleep, and return the seconds."""
    await asyncio.sleep(seconds)
    return seconds


@job(name="demo.steps")
async def steps(ctx: JobContext, n: int, seconds: float) -> int:
    """Take `n` steps within `seconds`, and report each as progress."""
    for done in range(n):
        ctx.progress(done / n, f"step {done + 1} of {n}", {"done": done})
        await asyncio.sleep(seconds / n)
    ctx.progress(1.0, "done", {"done": n})
    return n


@job(name="demo.flaky", retry_delay=0.2)
def flaky(ctx: JobContext, times: int) -> str:
    """Fail `times` times, then succeed."""
    if ctx.attempt <= times:
        raise ConnectionError(f"attempt {ctx.attempt} of {times} that fail")
    return f"succeeded at attempt {ctx.attempt}"


@job(name="demo.fail", max_retries=0)
def fail(message: str) -> None:
    """Fail with this message."""
    raise RuntimeError(message)


@job(name="demo.die", retry_delay=0.2)
def die(signal: int) -> None:
    """Kill the process that runs this job with this signal."""
    os.kill(os.getpid(), signal)


@job(name="demo.index")
def index(path: str) -> dict[str, int | str]:
    """Parse a Python file; count its lines, functions, classes and imports."""
    with tokenize.open(path) as source:
        text = source.read()
    counts = {"functions": 0, "classes": 0, "imports": 0}
    with _parsing:
        tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            counts["functions"] += 1
        elif isinstance(node, ast.ClassDef):
            counts["classes"] += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            counts["imports"] += 1
    return {"path": path, "lines": text.count("\n") + 1, **counts}
