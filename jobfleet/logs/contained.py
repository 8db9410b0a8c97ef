"""Keep errors of the user's log handlers from the code of jobfleet that logs."""

from __future__ import annotations

import logging
import traceback

OWN = (
    "jobfleet.archive", "jobfleet.audit", "jobfleet.client", "jobfleet.contrib", "jobfleet.day", "jobfleet.functions",
    "jobfleet.journal", "jobfleet.metrics", "jobfleet.notify", "jobfleet.outbox", "jobfleet.reaper", "jobfleet.store",
    "jobfleet.web", "jobfleet.worker",
)  # fmt: skip
"""The loggers of jobfleet's own lines. A job learns of what its own line raises, so its loggers are not among them."""


def contain_handler_errors() -> None:
    """Let lines of jobfleet raise nothing in this process.

    `logging` catches errors of its own handlers only. A handler or filter of the user that raises would otherwise end
    the task that logs, such as the one that settles runs.
    """
    for name in OWN:
        logger = logging.getLogger(name)
        if not isinstance(logger.handle, _Contained):
            vars(logger)["handle"] = _Contained(logger)


class _Contained:
    """`Logger.handle`, except that it prints an error, as `logging` prints those of its own handlers.

    Args:
        logger: The logger.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._handle = logger.handle

    def __call__(self, record: logging.LogRecord) -> None:
        try:
            self._handle(record)
        except Exception:  # noqa: BLE001 - the user's handler may raise anything
            if logging.raiseExceptions:
                traceback.print_exc()
