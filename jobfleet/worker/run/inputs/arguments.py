"""Adds the injected parameters to the arguments of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobfleet.functions.context import JobContext
from jobfleet.functions.injection import Injection, with_secrets

NONE: Mapping[str, Any] = {}
Arguments = tuple[list[Any], dict[str, Any]]


def inject(
    injection: Injection,
    context: JobContext,
    args: list[Any],
    kwargs: dict[str, Any],
    resources: Mapping[str, Any] = NONE,
) -> Arguments:
    """The arguments of a call, with the injected parameters.

    Args:
        injection: The parameters to inject.
        context: The context of the job.
        args: The job's positional arguments.
        kwargs: The job's named arguments. They are not changed.
        resources: The result of `Resources.open_all` for `injection.resources`.
    """
    if injection.secrets:
        args, kwargs = with_secrets(injection, args, kwargs)
    if resources:
        kwargs = {**kwargs, **resources}
    if injection.progress:
        kwargs = {**kwargs, "progress_callback": context.progress}
    if injection.context_first:
        args = [context, *args]
    elif injection.context is not None:
        kwargs = {**kwargs, injection.context: context}
    return args, kwargs
