"""Rescue plans: a group of dead letters is replayed as a canary, and then at a rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex

from jobfleet.errors import ConfigError, InvalidJob, UnknownGroup, UnknownRescue
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.limits import rate_of
from jobfleet.model.signals import FINGERPRINT, check_fingerprint
from jobfleet.model.status import check_number
from jobfleet.operations.dead.groups import group
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import moment
from jobfleet.store.calls import dead as calls
from jobfleet.store.calls.dead import groups

RATE_MOST = 1000.0
"""The most jobs per second. A reaper looks at a rescue five times a second, and replays at most 200 jobs each time."""
CANARY_STEPS = 10
CANARY_MOST = 200


@dataclass(frozen=True, slots=True)
class RescueStatus:
    """The state of a rescue.

    Attributes:
        id: Its id.
        fingerprint: The group of dead letters.
        state: running, stopped, completed, undoing or undone.
        why: Why it was stopped: ``failures`` or ``asked``; empty if it was not.
        by: Who began it; None for nobody in particular.
        ended_by: Who stopped or undid it.
        started_at: When it began.
        ended_at: When it was stopped, completed or undone; None while it runs.
        rate: Jobs per second after the canary.
        canary: The numbers of jobs that are replayed first.
        stop_after: The number of failures that stops it.
        stage: ``canary 1 of 2``, ``rate``, or empty when it does not run.
        total: The number of dead letters at its begin.
        replayed: How many of them were replayed.
        in_flight: How many of these have not ended.
        completed: How many have completed.
        failed: How many have failed again.
        ended: How many have ended otherwise: cancelled, expired, or with a result that was not kept.
        left: How many letters were not replayed, because they were gone or another job holds the unique key.
        undone: How many are dead letters again.
        started: How many had started before the undo.
    """

    id: str
    fingerprint: str
    state: str
    why: str
    by: str | None
    ended_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    rate: float
    canary: tuple[int, ...]
    stop_after: int
    stage: str
    total: int
    replayed: int
    in_flight: int
    completed: int
    failed: int
    ended: int
    left: int
    undone: int
    started: int

    @property
    def is_over(self) -> bool:
        """Whether it replays nothing more."""
        return self.state not in ("running", "undoing")


def status_of(stored: calls.StoredRescue) -> RescueStatus:
    """Convert a stored rescue."""
    fields = stored.fields
    numbers = {name: int(fields.get(name, 0)) for name in ("completed", "failed", "ended", "left", "undone", "started")}
    state, by, ended_by = fields.get("state", ""), fields.get("by", NOBODY), fields.get("ended_by", NOBODY)
    canary = canary_of(fields)
    return RescueStatus(
        stored.id,
        fields.get("fp", ""),
        state,
        fields.get("why", ""),
        None if by == NOBODY else from_word(by),
        None if ended_by == NOBODY else from_word(ended_by),
        moment(int(fields.get("at", 0))),
        moment(int(fields.get("over", 0))),
        round(1e6 / int(fields.get("every", 1e6)), 6),
        canary,
        int(fields.get("stop_after", 1)),
        _stage(int(fields.get("stage", 0)), len(canary)) if state == "running" else "",
        int(fields.get("total", 0)),
        int(fields.get("planned", 0)) - numbers["left"],
        stored.flying,
        **numbers,
    )


def canary_of(fields: Mapping[str, str]) -> tuple[int, ...]:
    """The numbers of jobs that a rescue replays first."""
    return tuple(int(part) for part in fields.get("canary", "").split(",") if part)


def _stage(stage: int, steps: int) -> str:
    return "rate" if stage > steps or not steps else f"canary {max(stage, 1)} of {steps}"


def start(
    context: FleetContext,
    fingerprint: str,
    *,
    rate: float | str,
    canary: Sequence[int],
    stop_after: int,
    by: str | None,
) -> Operation[str]:
    """Begin the rescue of a group, which the reapers carry out; return its id.

    Raises:
        UnknownGroup: There is no such group.
        ConfigError: The group has no dead letters, or a rescue of it runs.
        InvalidJob: An argument is not valid.
    """
    check_fingerprint(fingerprint)
    per_second, steps = _read_rate(rate), _read_canary(canary)
    check_number(stop_after, field="stop_after")
    found = yield from group(context, fingerprint)
    if not found.count:
        raise ConfigError(f"Group {fingerprint} has no dead letters; there is nothing to rescue.")
    rescue = f"{fingerprint}-{token_hex(3)}"
    call = calls.open_rescue(
        context.keys, rescue, fingerprint=fingerprint, by=by, every_us=max(1, round(1e6 / per_second)), canary=steps,
        stop_after=stop_after, total=found.count,
    )  # fmt: skip
    word, other = value((yield (call,)))
    if word == "unknown":
        raise UnknownGroup(fingerprint)
    if word == "running":
        raise ConfigError(f"Rescue {other} of this group is not over; 'jobfleet dead stop-rescue {other}' stops it.")
    return rescue


def _read_rate(given: object) -> float:
    try:
        rate = rate_of(given)
        per_second = rate.count / rate.seconds
    except InvalidJob:
        per_second = 0.0
    if not 0 < per_second <= RATE_MOST:
        raise InvalidJob(
            f"rate is {given!r:.100}; give jobs per second, or a rate such as '10/s' or '5/min', at most 1,000/s.",
            field="rate",
        )
    return per_second


def _read_canary(given: object) -> list[int]:
    steps = list(given) if isinstance(given, list | tuple) else []
    is_fine = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= CANARY_MOST for one in steps)
    if not isinstance(given, list | tuple) or not is_fine or len(steps) > CANARY_STEPS:
        raise InvalidJob(
            f"canary is {given!r:.100}; give at most 10 whole numbers from 1 to 200, such as (1, 10).", field="canary"
        )
    return steps


def status(context: FleetContext, rescue: str) -> Operation[RescueStatus]:
    """Read a rescue.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    stored: calls.StoredRescue = value((yield (calls.rescue(context.keys, rescue),)))
    if not stored.fields:
        raise UnknownRescue(rescue)
    return status_of(stored)


def listing(context: FleetContext, *, limit: int = 50) -> Operation[list[RescueStatus]]:
    """List the rescues, the newest first.

    Raises:
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    found: list[calls.StoredRescue] = value((yield (calls.rescues(context.keys, limit=limit),)))
    return [status_of(stored) for stored in found if stored.fields]


def find(context: FleetContext, text: str) -> Operation[str]:
    """Return the id of a rescue from its id, or from the fingerprint of its group, which names the last one.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    if isinstance(text, str) and FINGERPRINT.fullmatch(text):
        _, stored = value((yield (groups(context.keys, fingerprint=text),)))
        text = (stored[0].fields.get("rescue") if stored else "") or text
    return (yield from status(context, text)).id


def stop(context: FleetContext, rescue: str, by: str | None) -> Operation[bool]:
    """Stop a rescue; False if it was not running.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    noted = value((yield (calls.note_rescue(context.keys, rescue, wish="stop", by=by),)))
    if not noted.before:
        raise UnknownRescue(rescue)
    return bool(noted.before == "running")
