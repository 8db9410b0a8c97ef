"""The signals that a supervisor handles for its children."""

from __future__ import annotations

import signal

END_LOADING = signal.SIGTERM
"""The signal that ends a child that still loads its modules. Later, the child ignores it."""
NOT_FOR_CHILDREN = (signal.SIGINT, END_LOADING, signal.SIGTSTP, signal.SIGQUIT, signal.SIGHUP)
"""Signals that children ignore. A terminal sends some of them to all processes in its foreground group."""
