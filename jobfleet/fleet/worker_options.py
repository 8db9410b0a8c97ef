"""The options of a worker in the calling process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TypedDict

from jobfleet.model.option_types import Items


class WorkerOptions(TypedDict, total=False):
    """What `Fleet.run_worker` takes.

    Attributes:
        queues: The queues to serve; default those of the registered functions. A mapping gives weights.
        slots: How many jobs run at once; default the setting ``slots``.
        burst: Whether to return when no due job is left.
        stop: Ends the worker from another thread.
        with_reaper: Whether to do the duties of a reaper too: recurring jobs, flows, retention.
        allow_undecorated: Whether to run public functions of ``__main__`` that are not registered; default the setting.
    """

    queues: Mapping[str, int] | Items[str]
    slots: int | None
    burst: bool
    stop: threading.Event | None
    with_reaper: bool
    allow_undecorated: bool | None
