"""Calls one hook."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jobfleet.event_loop import in_thread
from jobfleet.functions.callables import is_coroutine_function


async def called(call: Callable[..., Any], *arguments: Any) -> None:
    """Call a hook: an async one on the event loop, any other one in a thread."""
    if is_coroutine_function(call):
        await call(*arguments)
        return
    answer = await in_thread(call, *arguments)
    if inspect.isawaitable(answer):
        await answer
