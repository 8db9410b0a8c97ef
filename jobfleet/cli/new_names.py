"""Names in a command that the fleet did not know before: they may be misspelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.model.option_checks import similar_function, similar_queue
from jobfleet.operations.lanes import seen
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.workers.info import runs_undecorated, workers_of

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet


def new_names(fleet: Fleet, queue: str | None, function: str | None = None) -> list[str]:
    """Return one line per name that is new. Ask before the command changes something, and print them afterwards.

    A new queue with the name of another one, but for a few letters, is left out: its creation warns.

    Args:
        fleet: The fleet.
        queue: The queue that the command may create.
        function: The function that it names.
    """
    known, lines = drive_blocking(fleet.store, seen(fleet.context)), []
    if queue is not None and queue not in known.queues and similar_queue(queue, known.queues) is None:
        lines.append(f"Queue {queue!r} is new.")
    is_run = function is None or function in known.functions
    if function is not None and not is_run and not runs_undecorated(workers_of(fleet.context, known), function):
        meant = similar_function(function, known.functions)
        lines.append(f"No worker has published {function!r}{f'; did you mean {meant!r}?' if meant else '.'}")
    return lines
