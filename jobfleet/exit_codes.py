"""The exit codes of the command line, of a worker's children and of a hosted reaper; the end of a process in words."""

from __future__ import annotations

import signal

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_UNREACHABLE = 4
EXIT_RECYCLED = 5
"""A child that has finished its jobs and asked for a successor."""
EXIT_TIMED_OUT = 124
EXIT_INTERRUPTED = 130


def how_it_died(code: int) -> str:
    """Return the end of a process in words, given its exit code or the negative number of a signal."""
    if code < 0:
        try:
            return f"its process died of {signal.Signals(-code).name}"
        except ValueError:
            return f"its process died of signal {-code}"
    return f"its process exited with code {code}"
