"""What a function is given beside its arguments."""

from __future__ import annotations

from typing import Any

from jobfleet.client.context import JobContext
from jobfleet.client.registry import Injection

Given = tuple[list[Any], dict[str, Any]]


def inject(injection: Injection, context: JobContext, args: list[Any], kwargs: dict[str, Any]) -> Given:
    """The arguments of a call, with what the function's parameters ask for.

    Args:
        injection: What they ask for.
        context: The job, as its function sees it.
        args: The job's positional arguments.
        kwargs: Its named arguments; not changed.
    """
    if injection.progress:
        kwargs = {**kwargs, "progress_callback": context.progress}
    if injection.context_first:
        args = [context, *args]
    elif injection.context is not None:
        kwargs = {**kwargs, injection.context: context}
    return args, kwargs
