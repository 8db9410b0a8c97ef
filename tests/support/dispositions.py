"""What the tests' programs do with signals, whatever the parent of the tests ignores.

A shell starts `make test &` with SIGINT ignored, and `nohup` starts it with SIGHUP ignored. A program inherits what is
ignored, and would then pass over the signals that tests send it. What is *caught* is not inherited: a program begins
with the default. So the tests catch such a signal and do nothing, and are as deaf to it as before.
"""

from __future__ import annotations

import os
import signal

HEEDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
DEAF = "JOBFLEET_TEST_DEAF_TO"
"""The variable in which the first process names the ignored signals to those among which it distributes the tests."""


def hand_on_defaults() -> None:
    """Catch each signal that the parent ignores. Call it once in each process that runs tests."""
    ignored = {number for number in HEEDED if signal.getsignal(number) is signal.SIG_IGN}
    ignored |= {signal.Signals[name] for name in os.environ.get(DEAF, "").split()}
    for number in ignored:
        signal.signal(number, lambda *_: None)
    os.environ[DEAF] = " ".join(number.name for number in ignored)
