"""Count the jobs that have ended in the last hour, from the samples of the fleet."""

from __future__ import annotations

from jobfleet.operations import unreadable
from jobfleet.operations.doctor.endings import HOUR
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.samples import CANCELLED, COMPLETED, EXPIRED, FAILED, FINE, SECOND_US, TOTAL, unpack, unpack_marks
from jobfleet.store.calls import samples

ENDED = (COMPLETED, FAILED, CANCELLED, EXPIRED)
LATE_US = 60 * SECOND_US
"""µs after which the last sample no longer tells what has ended in the last hour."""


def ended_in_hour(context: FleetContext, last: int | None, now: int) -> Operation[int | None]:
    """Return how many jobs of the fleet have ended in the hour before the last sample; None without a recent sample.

    It costs one trip of at most seven commands.

    Args:
        context: The context of the fleet.
        last: The number of the last step of ten seconds that was sampled.
        now: The time of Redis, µs since 1970.
    """
    if last is None or now - (last + 1) * FINE.step * SECOND_US > LATE_US:
        return None
    first = last + 1 - int(HOUR) // FINE.step
    chunks = range(first // FINE.length, last // FINE.length + 1)
    asked = [samples.points(context.keys, f"{FINE.name}:{chunk}", ["", TOTAL]) for chunk in chunks]
    answers = yield unreadable.without_repair(asked)
    number = 0
    for chunk, answer in zip(chunks, answers, strict=True):
        rows = unreadable.read_or(answer, {"": b"", TOTAL: b""}, [])
        for step, point in unpack(rows[TOTAL], unpack_marks(rows[""])).items():
            if first <= chunk * FINE.length + step <= last:
                number += sum(count for field in ENDED if isinstance(count := point.get(field, 0), int))
    return number
