"""Rebuild the results of jobs: the return annotation of a function says what its stored result becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from jobfleet.errors import TypeMismatch
from jobfleet.functions.registry import JobFunction
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext

Functions = Mapping[str, JobFunction[..., Any, Any]]

_leaves_plain: ContextVar[bool] = ContextVar("jobfleet_plain_results", default=False)


@contextmanager
def plain_results() -> Iterator[None]:
    """Leave the results of jobs that this task or thread reads as plain data, even of functions that it has imported.

    An answer to a browser must not depend on the modules that the process has imported.
    """
    token = _leaves_plain.set(True)
    try:
        yield
    finally:
        _leaves_plain.reset(token)


def rebuilt(functions: Functions, result: JobResult[Any]) -> JobResult[Any]:
    """Return a job with its result as its function has returned it.

    A result that does not fit the annotation, or whose class raises, leaves an error: it must not keep a reader from
    other results, nor a job from those of its parents. So does one of a payload store that is away.

    Args:
        functions: The functions that this process knows, by name. The result of another one stays plain data.
        result: The job.
    """
    if result.result is None:
        return result
    function = functions.get(result.function)
    if function is None or function.typed is None:
        return result
    try:
        return replace(result, result=function.typed.load_result(result.result))
    except TypeMismatch as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001 - the class is the user's
        from jobfleet.retry.decision import describe  # imported here, because such a class is rare

        text = f"the stored result of {function.name} does not fit the return annotation: {describe(error)}."
    return replace(result, result=None, error=text, error_class=TypeMismatch.__name__)


def rebuilt_in(context: FleetContext, result: JobResult[Any]) -> JobResult[Any]:
    """Return a job as a Python program gets it. The command line and the web show plain data."""
    is_plain = context.source != "python" or _leaves_plain.get()
    return result if is_plain else rebuilt(context.registry.functions, result)
