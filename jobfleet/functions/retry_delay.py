"""The function of ``@job(retry_delay=…)``: its check, and its guarded call in a worker."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from jobfleet.durations import seconds_or_text
from jobfleet.errors import InvalidJob
from jobfleet.functions.coroutines import is_coroutine_function

_log = logging.getLogger("jobfleet.worker")


class RetryDelayFunction:
    """Returns the delay before a retry, from the number of the retry and the error.

    A function that raises, or returns something that is not a duration, costs no job: the first time is logged, and
    the default delay applies.

    Args:
        function: The user's function.
        name: The name of the job function, for the log.
    """

    def __init__(self, function: Callable[[int, BaseException], Any], name: str) -> None:
        self.function = function
        self._name = name
        self._has_failed = False

    def __call__(self, number: int, error: BaseException) -> float | None:
        """Return the delay in seconds; None for the default delay.

        Args:
            number: The number of the retry, 1 for the first.
            error: The error of the run.
        """
        try:
            return seconds_or_text(self.function(number, error), field="what it returned")
        except BaseException as wrong:  # noqa: BLE001 - the user's function may raise anything; it is logged
            if not self._has_failed:
                self._has_failed = True
                _log.error(
                    "function.retry_delay_failed function=%s retry=%d the default delay applies, now and later",
                    self._name, number, exc_info=wrong,
                )  # fmt: skip
            return None


def delay_function_of(options: dict[str, Any], name: str) -> RetryDelayFunction | None:
    """Remove the function of `retry_delay` from the options of a decorator; return it, or None.

    Raises:
        InvalidJob: It is a coroutine function, or does not take two arguments.
    """
    given = options.get("retry_delay")
    if not callable(given):
        return None
    if is_coroutine_function(given):
        raise InvalidJob(f"retry_delay is {given!r}, a coroutine function; give a plain function.", field="retry_delay")
    try:
        inspect.signature(given).bind(1, Exception())
    except TypeError:
        raise InvalidJob(
            f"retry_delay is {given!r}; give a function that takes the number of the retry and the error.",
            field="retry_delay",
        ) from None
    except ValueError:  # a function written in C has no signature to check
        pass
    del options["retry_delay"]
    return RetryDelayFunction(given, name)
