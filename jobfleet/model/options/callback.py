"""The jobs of `on_success` and `on_failure`: their checks."""

from __future__ import annotations

import inspect
from typing import Any

from jobfleet.errors import InvalidJob

CALLBACKS = ("on_success", "on_failure")
REFUSED = ("id", "depends_on", "cron_expression", "unique")
"""Options that a callback cannot have: its id is derived, and it waits for its parent alone."""


def callback_of(given: Any, option: str) -> Any:
    """Convert a callback to a job.

    Args:
        given: A `Job`, or a job function that can be called without arguments.
        option: The option, for messages.

    Raises:
        InvalidJob: It is neither, or the job has an option that a callback cannot have.
    """
    job = _called(given, option) if hasattr(given, "parameters") and hasattr(given, "given") else given
    if not hasattr(job, "own_options") or isinstance(job, type):  # `model/spec.py` imports this module
        raise InvalidJob(
            f"{option} is {given!r:.100}; give a job, such as notify.job(…), or a function with @job.", field=option
        )
    for name in REFUSED:
        if getattr(job, name) is not None:
            raise InvalidJob(
                f"{option} is a job with {name}, which a callback cannot have; leave it out.", field=option
            )
    return job


def _called(function: Any, option: str) -> Any:
    """The job of a job function."""
    if function.parameters is not None:
        try:
            inspect.Signature(function.parameters).bind()
        except TypeError as error:
            raise InvalidJob(
                f"{option} is {function!r}, which needs arguments ({error}); give {function.__name__}.job(…).",
                field=option,
            ) from None
    return function.job()
