"""Logs on stderr: one line per transition, for people or, as JSON, for machines.

A line of jobfleet itself has the form ``event name=value … words``. The JSON form takes the event and the values from
that line, so both forms have one source. On a terminal, lines about jobs have a shorter form: the time, the end of the
job's id, its function and attempt, and what happened.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

from jobfleet.config import JobConfig
from jobfleet.logs.formatters import FORMAT, Current, PlainFormatter, nobody

if TYPE_CHECKING:
    from jobfleet.logs.formatters import JobLogger
    from jobfleet.logs.lines import JsonFormatter, TerminalFormatter

__all__ = [
    "FORMAT", "JobLogger", "JsonFormatter", "PlainFormatter", "TerminalFormatter", "contain_handler_errors",
    "is_for_terminal", "set_up_logs",
]  # fmt: skip

OWN = (
    "jobfleet.archive", "jobfleet.audit", "jobfleet.client", "jobfleet.contrib", "jobfleet.day", "jobfleet.functions",
    "jobfleet.journal", "jobfleet.metrics", "jobfleet.notify", "jobfleet.outbox", "jobfleet.reaper", "jobfleet.store",
    "jobfleet.web", "jobfleet.worker",
)  # fmt: skip
"""The loggers of jobfleet's own lines. A job learns of what its own line raises, so its loggers are not among them."""


def __getattr__(name: str) -> Any:
    if name == "JobLogger":  # these are imported on use, because most processes do not need them
        from jobfleet.logs.formatters import JobLogger

        return JobLogger
    if name == "JsonFormatter":
        from jobfleet.logs.lines import JsonFormatter

        return JsonFormatter
    if name == "TerminalFormatter":
        from jobfleet.logs.lines import TerminalFormatter

        return TerminalFormatter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def set_up_logs(config: JobConfig, *, worker: str = "", current: Current = nobody, shows_day: bool = True) -> None:
    """Log to stderr, unless the program has configured its own logging. In any case, contain errors of its handlers.

    Args:
        config: The settings `log_format`, `verbose` and `no_color`.
        worker: The name of this worker process, for JSON lines.
        current: Returns the run that the calling code belongs to, or None.
        shows_day: Whether this process prints the date on a terminal; one of the processes of a worker does.
    """
    contain_handler_errors()
    logger = logging.getLogger("jobfleet")
    if logger.handlers or logging.getLogger().handlers:
        return
    formatter = _formatter(config, worker, current, shows_day=shows_day)
    if logging.lastResort is not None:  # it prints records of the user's loggers that have no handler
        logging.lastResort.setFormatter(formatter)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.addHandler(_RootRelay())
    logger.setLevel(logging.DEBUG if config.verbose else logging.INFO)
    logger.propagate = False


def is_for_terminal(config: JobConfig) -> bool:
    """Whether the logs of this process are read on a terminal."""
    return config.log_format != "json" and sys.stderr.isatty()


def _formatter(config: JobConfig, worker: str, current: Current, *, shows_day: bool) -> logging.Formatter:
    if config.log_format == "json":
        from jobfleet.logs.lines import JsonFormatter
        from jobfleet.secret import Redaction

        return JsonFormatter(worker=worker, current=current, redaction=Redaction(config.redact))
    if not is_for_terminal(config):
        return PlainFormatter(current=current)
    from jobfleet.logs.lines import TerminalFormatter

    return TerminalFormatter.of(config, current=current, shows_day=shows_day)


class _RootRelay(logging.Handler):
    """Passes errors to handlers that the user's modules have added to the root logger, such as those of log services.

    Handlers that write to the standard streams are left out, because the line is there already.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        for handler in list(logging.getLogger().handlers):
            stream = getattr(handler, "stream", None)
            if record.levelno >= handler.level and stream not in (sys.stderr, sys.stdout):
                handler.handle(record)


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
