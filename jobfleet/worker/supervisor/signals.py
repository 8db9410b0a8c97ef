"""A supervisor's signals: what each does, and how none is lost when the process starts afresh.

======  ======================================================================================
signal  what it does
======  ======================================================================================
TERM    drain within the grace, give back the rest, leave with 0; a second one: now
INT     the same
QUIT    give everything back now, and leave
HUP     drain as for TERM, then start afresh: same pid, arguments and environment, new code
TSTP    claim no more
CONT    claim again
USR1    log what the children hold, and the stacks of their threads
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
"""Signals whose default is death, and that mean nothing to a worker which has not started yet."""
ALWAYS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals that end a worker even if the process began with them ignored.

A shell without job control starts a background job (`jobfleet worker … &` in a script) with INT and QUIT ignored.
Nobody asked for that, and the worker could only be killed.
"""


class Signals:
    """The signals of this process, from before its first child to its last.

    A signal that was ignored when the process began stays ignored, because `nohup` is meant, except for those in
    `ALWAYS`. A worker with a terminal takes HUP as TERM: its terminal has gone.
    """

    def __init__(self) -> None:
        self._ignored = {number for number in HANDLED if signal.getsignal(number) is signal.SIG_IGN} - ALWAYS
        for number in LATER:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # `start_afresh` held them back

    def install(self, handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Handle signals on the running loop."""
        loop = asyncio.get_running_loop()
        for number, handler in handlers.items():
            if number not in self._ignored:
                loop.add_signal_handler(number, handler)

    @staticmethod
    def has_terminal() -> bool:
        """Whether somebody sits before this process."""
        return any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))

    def start_afresh(self) -> int:
        """Become a new process of the same number, arguments and environment; answer 1 if that fails.

        Signals that come in between wait for it.
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
