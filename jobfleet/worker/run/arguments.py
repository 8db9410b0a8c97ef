"""What a function is given beside its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobfleet.functions.context import JobContext
from jobfleet.functions.injection import Injection

NONE: Mapping[str, Any] = {}
Given = tuple[list[Any], dict[str, Any]]


def inject(
    injection: Injection,
    context: JobContext,
    args: list[Any],
    kwargs: dict[str, Any],
    resources: Mapping[str, Any] = NONE,
) -> Given:
    """The arguments of a call, with what the function's parameters ask for.

    Args:
        injection: What they ask for.
        context: The job, as its function sees it.
        args: The job's positional arguments.
        kwargs: Its named arguments; not changed.
        resources: What `Resources.open_all` gave for `injection.resources`; a function that has some needs them.
    """
    if resources:
        kwargs = {**kwargs, **resources}
    if injection.progress:
        kwargs = {**kwargs, "progress_callback": context.progress}
    if injection.context_first:
        args = [context, *args]
    elif injection.context is not None:
        kwargs = {**kwargs, injection.context: context}
    return args, kwargs
