"""A supervisor's signals: their effects, and how none is lost during a restart.

======  ======================================================================================
signal  effect
======  ======================================================================================
TERM    drain within the grace, release the rest, exit with 0; a second one: stop at once
INT     the same
QUIT    release everything at once, and exit
HUP     drain as for TERM, then restart: same pid, arguments and environment, new code
TSTP    claim nothing more
CONT    claim again
USR1    log the jobs that the children hold, and the stacks of their threads
======  ======================================================================================
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping

log = logging.getLogger("jobfleet.worker")
HANDLED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1,
)  # fmt: skip
LATER = (signal.SIGHUP, signal.SIGUSR1)
"""Signals whose default action ends the process; a worker that has not started yet ignores them."""
ALWAYS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals that end a worker even if they were ignored when the process began.

A shell without job control starts a background job (`jobfleet worker … &` in a script) with INT and QUIT ignored. That
is not intended, and the worker could only be killed.
"""


class Signals:
    """The signal handlers of this process, from before its first child to its last.

    Except for those in `ALWAYS`, a signal that was ignored when the process began stays ignored, as `nohup` intends. A
    worker with a terminal handles HUP like TERM, because its terminal is gone.
    """

    def __init__(self) -> None:
        self._ignored = {number for number in HANDLED if signal.getsignal(number) is signal.SIG_IGN} - ALWAYS
        for number in LATER:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # `restart` blocked them

    def install(self, handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Install handlers on the running loop."""
        loop = asyncio.get_running_loop()
        for number, handler in handlers.items():
            if number not in self._ignored:
                loop.add_signal_handler(number, handler)

    @staticmethod
    def has_terminal() -> bool:
        """Whether a user's terminal is attached to this process."""
        return any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))

    def restart(self) -> int:
        """Replace this process by a new one with the same pid, arguments and environment; return 1 if that fails.

        Signals that arrive in between are delivered to the new process.
        """
        log.info("worker.restarting pid=%d", os.getpid())
        logging.shutdown()
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        for number in set(LATER) - self._ignored:
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - there is no shell
        except OSError as error:
            log.error("worker.not_restarted %s", error)
            return 1
