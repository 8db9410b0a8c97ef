"""The hooks of a process: what is logged when one of them fails."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jobfleet.functions.hooks import Hooks
from jobfleet.worker.run import hooks as process_hooks


async def test_a_time_out_inside_a_hook_is_logged_as_its_error(caplog: pytest.LogCaptureFixture) -> None:
    hooks = Hooks()

    @hooks.on_stop
    async def close_pool() -> None:
        raise TimeoutError("the pool is busy")

    await process_hooks.stop(hooks)

    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage().startswith("hook.raised ")
    assert record.getMessage().endswith("close_pool TimeoutError: the pool is busy")


async def test_a_hook_that_takes_too_long_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    hooks, was_cancelled = Hooks(), asyncio.Event()

    @hooks.on_stop
    async def close_pool() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    await process_hooks.stop(hooks, timeout=0.0)

    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage().startswith("hook.unfinished ")
    assert was_cancelled.is_set()
