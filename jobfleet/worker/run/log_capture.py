"""What jobs log through `ctx.log` or the standard library is kept with the job: a handler that finds the run."""

from __future__ import annotations

import logging

from jobfleet.worker.run.current_run import CURRENT

JOB_LOGGER = "jobfleet.job"
"""Above the loggers of `ctx.log`."""

LONGEST_LINE = 8192
"""Characters kept of one line, its traceback included."""

_MARK = "_jobfleet_kept"


class LogCapture(logging.Handler):
    """Hands what is logged within a run to that run.

    It has no lock: a thread that is interrupted while it takes one would leave it locked for all.
    """

    def createLock(self) -> None:  # noqa: N802 - the library's name
        """Have none."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record in; the library's own way takes the lock for granted from Python 3.13 on."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, if it is a job's."""
        if record.levelno >= logging.WARNING:
            self._show_unheard(record)
        run = CURRENT.get()
        if run is None or hasattr(record, _MARK):
            return
        if record.name.startswith("jobfleet.") and not record.name.startswith(JOB_LOGGER):
            return  # the worker's own lines are about the job, not of it
        setattr(record, _MARK, True)
        if (notebook := getattr(run, "notebook", None)) is not None:  # it runs several jobs: whose line is it?
            run = notebook(getattr(record, "job_id", None))
        try:
            run.note(int(record.created * 1e6), record.levelno, _text(record))
        except Exception:  # noqa: BLE001 - a line that cannot be written must not end a job
            self.handleError(record)

    def _show_unheard(self, record: logging.LogRecord) -> None:
        """Print what nobody but this handler has heard, as `logging` does when there is no handler."""
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
        owns_process: Whether logging may be set up where the user has not: lines of INFO are let through.
    """
    global _users  # noqa: PLW0603 - handlers are of the process, and so is this
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
    """Listen again where a user's code has set logging up anew since."""
    if _users:
        for logger in _loggers():
            logger.addHandler(_capture)  # which does nothing if it is there


def stop_capture() -> None:
    """Leave logging as it was found, but for levels."""
    global _users  # noqa: PLW0603 - as above
    _users -= 1
    if not _users:
        for logger in _loggers():
            logger.removeHandler(_capture)


def _loggers() -> tuple[logging.Logger, logging.Logger]:
    return logging.getLogger(), logging.getLogger(JOB_LOGGER)
