"""Keeps what jobs log, through `ctx.log` or the standard library, with their runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

# The run to which the executing code belongs. What user code logs is kept with that run's job.


class CurrentRun(Protocol):
    """Takes lines of a job's log; a `Run` does."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line, from any thread, without waiting."""

    def described(self) -> Mapping[str, object]:
        """The fields of a log line about this run."""


CURRENT: ContextVar[CurrentRun | None] = ContextVar("jobfleet_run", default=None)


# A logging handler that keeps what jobs log, through `ctx.log` or the standard library, with the job.


JOB_LOGGER = "jobfleet.job"
"""The parent of the loggers of `ctx.log`."""

LONGEST_LINE = 8192
"""The maximal length of one line in characters, with its traceback."""

_MARK = "_jobfleet_kept"


class LogCapture(logging.Handler):
    """Passes log records to the run in which they were logged.

    It has no lock, because a thread that is interrupted while it takes the lock would leave it locked.
    """

    def createLock(self) -> None:  # noqa: N802 - the library's name
        """Create no lock."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Handle a record without a lock. The library's implementation needs one since Python 3.13."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, if it was logged within a run."""
        if record.levelno >= logging.WARNING:
            self._print_unhandled(record)
        run = CURRENT.get()
        if run is None or hasattr(record, _MARK):
            return
        if record.name.startswith("jobfleet.") and not record.name.startswith(JOB_LOGGER):
            return  # the worker's own lines do not belong to the job
        setattr(record, _MARK, True)
        if (notebook := getattr(run, "notebook", None)) is not None:  # a batch: find the job of the line
            run = notebook(getattr(record, "job_id", None))
        try:
            run.note(int(record.created * 1e6), record.levelno, _text(record))
        except Exception:  # noqa: BLE001 - a log line must not end a job
            self.handleError(record)

    def _print_unhandled(self, record: logging.LogRecord) -> None:
        """Print a record that has no other handler, as `logging` does without handlers."""
        last = logging.lastResort
        if last is None or hasattr(record, _MARK) or record.levelno < last.level:
            return
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(not isinstance(handler, LogCapture) for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        last.handle(record)


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{_FORMATTER.formatException(record.exc_info)}"
    elif record.exc_text:
        text = f"{text}\n{record.exc_text}"
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE // 2]}\n…\n{text[-LONGEST_LINE // 2 :]}"


_FORMATTER = logging.Formatter()
_users = 0
_capture = LogCapture()


def start_capture(*, owns_process: bool = False) -> None:
    """Keep what jobs log, until `stop_capture` was called as often.

    Args:
        owns_process: Whether to accept records of level INFO if the user has not configured logging.
    """
    global _users  # noqa: PLW0603 - logging handlers are global too
    _users += 1
    if _users > 1:
        return
    root, jobs = _loggers()
    if owns_process and not root.handlers and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
    if jobs.level == logging.NOTSET:
        jobs.setLevel(logging.INFO)
    keep_capturing()


def keep_capturing() -> None:
    """Add the handler again, in case user code has configured logging in the meantime."""
    if _users:
        for logger in _loggers():
            logger.addHandler(_capture)  # this does nothing if the handler is there


def stop_capture() -> None:
    """Remove the handler. Levels stay as they are."""
    global _users  # noqa: PLW0603 - as above
    _users -= 1
    if not _users:
        for logger in _loggers():
            logger.removeHandler(_capture)


def _loggers() -> tuple[logging.Logger, logging.Logger]:
    return logging.getLogger(), logging.getLogger(JOB_LOGGER)
