"""The program of an isolated process: ``python -m jobfleet.worker.executors.isolated.main LINE LIFELINE PARENT MAX``.

MAX is the largest payload in bytes.

It runs one job after the other; a quarantine process runs several at once. Started fresh, never forked from a process
with threads. What it is to load comes in the first frame.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys

from jobfleet.config import JobConfig
from jobfleet.errors import exit_fast
from jobfleet.worker.executors.isolated.channel import ChannelEnd, ReceivedFrames
from jobfleet.worker.executors.isolated.confinement import end_group, offer_for_memory, tie
from jobfleet.worker.executors.isolated.loading import load


def main() -> None:
    """Run an isolated process."""
    exit_fast()
    line, lifeline, parent, most = (int(number) for number in sys.argv[1:5])
    tie(lifeline, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C of the terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the worker's process ignores it, and that is inherited
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    offer_for_memory()
    sock = socket.socket(fileno=line)
    sock.set_inheritable(False)
    os.register_at_fork(after_in_child=sock.close)  # a child of a job must not write to the channel
    frames = ReceivedFrames(sock, most)
    word, child, settings, modules, app_dir, path = next(frames)
    sys.path[:] = path
    talker = ChannelEnd(sock, end_group)
    config = JobConfig(**settings)
    handlers = load(talker, child, config, modules, app_dir)
    # Each kind of process imports only its own host.
    if handlers is not None and word == "ward":
        from jobfleet.worker.executors.isolated.quarantine_host import QuarantineHost

        QuarantineHost(frames, talker, child, config, handlers).serve()
    elif handlers is not None:
        from jobfleet.worker.executors.isolated.job_host import JobHost

        JobHost(frames, talker, child, config, handlers).serve()
    talker.close()


if __name__ == "__main__":
    main()
