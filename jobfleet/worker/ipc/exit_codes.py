"""The exit codes of a child, and the description of a process's end."""

from __future__ import annotations

import signal

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_RECYCLED = 5


def how_it_died(code: int) -> str:
    """Describe an exit code in words."""
    if code < 0:
        try:
            return f"its process died of {signal.Signals(-code).name}"
        except ValueError:
            return f"its process died of signal {-code}"
    return f"its process exited with code {code}"
