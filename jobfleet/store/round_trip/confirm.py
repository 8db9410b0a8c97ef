"""Run calls with a barrier: a round trip as a generator, like `trip`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Unpack

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.store.call import Call, Command
from jobfleet.store.round_trip.barrier import Confirming
from jobfleet.store.round_trip.replies import Remedy, remedy
from jobfleet.store.round_trip.trip import FIRST_WAIT, LONGEST_WAIT, Sending, Step, Trip, exchanged, straight, trip


def confirmed(
    batch: Confirming, *, first: list[Any] | None = None, since: float | None = None, **sending: Unpack[Sending]
) -> Trip:
    """Run calls and a barrier until both have replies of one exchange, or the patience is over.

    Args:
        batch: The calls and the barrier.
        first: The replies of a first exchange, in which the mark of the barrier followed the calls.
        since: The time of that exchange.
        sending: How calls are sent; see `trip`.

    Returns:
        A value for each call, or the `JobfleetError` in which it ended.

    Raises:
        StoreUnavailable: The patience is over, and the calls have no reply.
    """
    calls = [call.named() for call in (*batch, *batch.barrier.marks(batch))]
    started = monotonic() if since is None else since
    waits = batch.barrier.waits
    values: list[Any] = []
    pause = FIRST_WAIT
    while True:
        calls = sending["detours"].chosen(calls, monotonic())
        replies = first or (yield from _exchanged(calls, waits, started, sending))
        first = None
        ran, waited = replies[: len(calls)], replies[len(calls) :]
        now = straight(calls, ran)
        is_lost = len(waited) < len(waits) or any(_is_lost(reply) for reply in waited)
        if now is not None and not is_lost:
            batch.is_reached, batch.took = batch.barrier.is_reached(waited), monotonic() - started
            if sending["recorder"] is not None:
                sending["recorder"].tripped(calls, batch.took)
            return _merged(values, now)[: len(batch)]
        if now is None:
            try:
                now = yield from trip(calls, first=ran, since=started, **sending)
            except StoreUnavailable:
                if not values:
                    raise
                return values[: len(batch)]
        values = _merged(values, now)
        if any(isinstance(value, JobfleetError) for value in now):
            return values[: len(batch)]
        if is_lost:
            patience = sending["patience"]
            if patience is not None and monotonic() - started + pause > patience:
                return values[: len(batch)]
            yield pause
            pause = min(LONGEST_WAIT, pause * 2)


def _exchanged(
    calls: Sequence[Call[Any]], waits: Sequence[Command], started: float, sending: Sending
) -> Generator[Step, list[Any] | None, list[Any]]:
    """Send calls, then the waits of their barrier, in one exchange."""
    pending = [(index, False) for index in range(len(calls))]
    return (
        yield from exchanged(
            calls,
            pending,
            sending["clock"],
            sending["spelling"],
            started,
            sending["patience"],
            sending["attempt"],
            after=waits,
        )
    )


def _is_lost(reply: object) -> bool:
    return isinstance(reply, BaseException) and remedy(reply) is Remedy.AGAIN


def _merged(before: list[Any], now: list[Any]) -> list[Any]:
    """The values of a repetition, which must not hide that a job was new."""
    return [_kept(*pair) for pair in zip(before, now, strict=True)] if before else now


def _kept(before: Any, now: Any) -> Any:
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_kept(*pair) for pair in zip(before, now, strict=True)]
    return True if before is True and now is False else now
