"""The check of a job that waits behind others of its strict sequence. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from shlex import quote

from jobfleet.clock import local, span
from jobfleet.model.result import Fact, Reason, ReasonCode
from jobfleet.operations.explain.reasons import counted
from jobfleet.operations.explain.snapshot import Snapshot


def is_behind(seen: Snapshot) -> bool:
    """Whether another job is the head of its sequence."""
    return seen.lane.sequence is not None and seen.lane.sequence.head != seen.id


def in_sequence(seen: Snapshot) -> Reason | None:
    """Another job is the head of its strict sequence."""
    place, group = seen.lane.sequence, seen.lane.group
    if place is None or group is None or seen.job is None or not is_behind(seen):
        return None
    text = f"Waits behind {place.head}, the head of its sequence {group.name!r}, which {_state(seen)}"
    more = place.before - (place.state not in ("parked", "failing"))
    text += f"; {counted(more, 'job')} between them." if more > 0 else "."
    if place.state == "parked":
        flag = f"{quote(group.name)} --queue {seen.job.queue}"
        text += (
            f" 'jobfleet groups resume {flag}' continues behind it; 'jobfleet dead replay {place.head}' runs it again, "
            "unless it was forgotten."
        )
    facts: dict[str, Fact] = {"sequence": group.name, "head": place.head, "state": place.state, "before": place.before}
    return Reason(ReasonCode.SEQUENCE, text, facts)


def _state(seen: Snapshot) -> str:
    """What the head does, as a clause."""
    place = seen.lane.sequence
    assert place is not None  # noqa: S101 - the caller has one
    match place.state:
        case "running":
            return "runs"
        case "blocked":
            return "waits for its parents"
        case "withheld":
            return "waits until its function is resumed"
        case "parked":
            return "has failed, so the sequence is parked"
        case "failing":
            return "has failed, so the jobs behind it fail"
        case _ if place.due > seen.lane.now:
            at = local(datetime.fromtimestamp(place.due // 1_000_000, UTC))
            left = span((place.due - seen.lane.now) / 1e6)
            if place.state == "sleeping":
                what = f"waits for signal {place.signal}" if place.signal else "sleeps"
                return f"{what} until {at}, for {left} more"
            return f"is due at {at}, in {left}"
        case _:
            return "is queued"
