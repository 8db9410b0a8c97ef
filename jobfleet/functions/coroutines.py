"""Which functions are coroutine functions, callable objects included."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a call of it returns a coroutine: an ``async def``, or an object whose ``__call__`` is one."""
    return inspect.iscoroutinefunction(called(function))


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a call runs: for an object with ``__call__`` that method, else the function itself."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    method: Callable[..., Any] = getattr(function, "__call__", function)  # noqa: B004 - the method itself is wanted
    return method
