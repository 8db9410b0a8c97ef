"""Calls functions with typed arguments: rebuilds the arguments before the call, and dumps the result after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobfleet.functions.registry import JobFunction


def calling(function: JobFunction[..., Any, Any]) -> Callable[..., Any]:
    """What a worker calls for a function. It converts where the function runs: in its thread, loop or process.

    A batch has many runs per call, so its executor converts.
    """
    typed, code = function.typed, function.function
    if typed is None or function.batch is not None or typed.table.is_empty:
        return code
    given = 1 if function.injection.context_first else 0

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = typed.load(args, kwargs, given)  # type: ignore[assignment]
        return typed.dump_result(code(*args, **kwargs))

    async def call_and_await(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = typed.load(args, kwargs, given)  # type: ignore[assignment]
        return typed.dump_result(await code(*args, **kwargs))

    return call_and_await if function.is_coroutine else call
