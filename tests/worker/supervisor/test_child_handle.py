"""A child that must end before it has reported anything runs nothing of the user's yet: it is killed."""

from __future__ import annotations

import os
import signal

from jobfleet.worker.supervisor.child_handle import ChildHandle


def test_a_child_that_still_starts_is_killed_at_once() -> None:
    handle = ChildHandle("w.1", 1, 10)

    handle.drain(600.0)
    _, status = os.waitpid(handle.pid, 0)
    handle.reaped(status)
    handle.close()

    assert handle.exit_code == -signal.SIGKILL
    assert handle.is_leaving
