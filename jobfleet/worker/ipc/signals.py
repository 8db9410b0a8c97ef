"""The signals that a supervisor handles for its children."""

from __future__ import annotations

import signal

NOT_FOR_CHILDREN = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGQUIT, signal.SIGHUP)
"""Signals that children ignore. A terminal sends some of them to all processes in its foreground group."""
