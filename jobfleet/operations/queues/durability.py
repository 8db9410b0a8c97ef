"""Set the durability of the jobs of a queue."""

from __future__ import annotations

from jobfleet.model.option_checks import check_level
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import opened_lanes
from jobfleet.operations.operation import Operation
from jobfleet.operations.queues.setting import set_in_lanes
from jobfleet.store.call import DURABILITY


def set_durability(context: FleetContext, queue: str, level: str | None) -> Operation[bool]:
    """Set the durability of jobs of a queue that have none of their own; False when it was so before.

    Args:
        context: The context of the fleet.
        queue: The queue; it is created if it does not exist.
        level: The level; None to remove the setting.

    Raises:
        ConfigError: There are too many queues to create this one.
        InvalidJob: `level` is not a level, or `queue` is not a queue name.
    """
    if level is not None:
        check_level(level, field=DURABILITY)
    every = yield from opened_lanes(context, queue)
    has_changed = yield from set_in_lanes(every, DURABILITY, level or "")
    context.queues.pop(queue, None)  # this client reads it again at once
    return has_changed
