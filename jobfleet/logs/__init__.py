"""Logs on stderr: one line per transition, for people or, as JSON, for machines.

A line of jobfleet itself has the form ``event name=value … words``. The JSON form takes the event and the values from
that line, so both forms have one source. On a terminal, lines about jobs have a shorter form: the time, the end of the
job's id, its function and attempt, and what happened.
"""

from jobfleet.logs.json_lines import JsonFormatter
from jobfleet.logs.setup import JobLogger, is_for_terminal, set_up_logs
from jobfleet.logs.terminal import TerminalFormatter, announce_days
from jobfleet.logs.text import FORMAT, PlainFormatter

__all__ = [
    "FORMAT", "JobLogger", "JsonFormatter", "PlainFormatter", "TerminalFormatter", "announce_days", "is_for_terminal",
    "set_up_logs",
]  # fmt: skip
