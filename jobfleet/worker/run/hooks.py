"""Calls hooks: a single one, and those of a process before its first job and after its last one."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.event_loop import in_thread
from jobfleet.functions.callables import is_coroutine_function
from jobfleet.functions.hooks import Hooks, ProcessHook
from jobfleet.retry.decision import describe

log = logging.getLogger("jobfleet.worker")
STOPPING = 5.0
"""Seconds that the `on_stop` hooks of a child may take together."""
LEAST = 0.1
"""The least time in seconds that each of them has."""


class StartHookFailed(JobfleetError):
    """An `on_start` hook has raised an exception, which is the cause of this one."""

    def __init__(self, hook: ProcessHook, error: BaseException) -> None:
        super().__init__(f"The on_start hook {_name(hook)} failed: {describe(error)}.")


async def start(hooks: Hooks) -> None:
    """Call the `on_start` hooks, one after the other.

    Raises:
        StartHookFailed: A hook has raised an exception. The hooks after it were not called.
    """
    for hook in list(hooks.on_starts):
        try:
            await called(hook)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise StartHookFailed(hook, error) from error


async def stop(hooks: Hooks, timeout: float = STOPPING) -> None:
    """Call the `on_stop` hooks, the last one first. Errors and time-outs are logged.

    Args:
        hooks: The hooks.
        timeout: Seconds for all of them together.
    """
    deadline = monotonic() + timeout
    for hook in reversed(hooks.on_stops):
        try:
            async with asyncio.timeout(max(LEAST, deadline - monotonic())) as limit:
                await called(hook)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the user's hook may raise anything
            if isinstance(error, TimeoutError) and limit.expired():
                log.error("hook.unfinished hook=%s it took too long", _name(hook))
            else:
                log.error("hook.raised hook=%s %s", _name(hook), describe(error))


def _name(hook: Any) -> str:
    return str(getattr(hook, "__qualname__", None) or repr(hook))


async def called(call: Callable[..., Any], *arguments: Any) -> None:
    """Call a hook: an async one on the event loop, any other one in a thread."""
    if is_coroutine_function(call):
        await call(*arguments)
        return
    answer = await in_thread(call, *arguments)
    if inspect.isawaitable(answer):
        await answer
