"""Run calls with a barrier: a round trip as a generator, like `trip`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Unpack

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.store.call import Call, Command
from jobfleet.store.round_trip.barrier import AskHeirs, Barrier, Confirming, Heirs
from jobfleet.store.round_trip.replies import Remedy, remedy, unavailable
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
    barrier, is_misled = batch.barrier, False
    values: list[Any] = []
    pause = FIRST_WAIT
    while True:
        if first is None and barrier.asks_heirs:
            barrier = yield from _with_heirs(barrier, started, sending, has_values=bool(values), is_misled=is_misled)
            if barrier.needs_heirs:
                return values[: len(batch)]
        waits, is_first = barrier.waits, first is not None
        calls = sending["detours"].chosen(calls, monotonic())
        replies = first or (yield from _exchanged(calls, waits, started, sending))
        first = None
        ran, waited = replies[: len(calls)], replies[len(calls) :]
        now = straight(calls, ran)
        is_misled = now is not None and not barrier.is_primary(now[len(batch) :])
        is_lost = is_misled or len(waited) < max(1, len(waits)) or any(_is_lost(reply) for reply in waited)
        if now is not None and not is_lost:
            batch.is_reached, batch.took = barrier.is_reached(waited), monotonic() - started
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
        if is_lost and not (is_first and barrier.needs_heirs):
            patience = sending["patience"]
            if patience is not None and monotonic() - started + pause > patience:
                return values[: len(batch)]
            yield pause
            pause = min(LONGEST_WAIT, pause * 2)


def _with_heirs(
    barrier: Barrier, started: float, sending: Sending, *, has_values: bool, is_misled: bool
) -> Generator[Step, list[Any] | None, Barrier]:
    """Return the barrier with the heirs of today; without them if nobody names them and the calls have been run.

    Raises:
        StoreUnavailable: Nobody names them within the patience, and the calls have not been run.
    """
    pause = FIRST_WAIT
    while True:
        (found,) = (yield AskHeirs(is_misled=is_misled)) or [ConnectionError("no answer")]
        if isinstance(found, Heirs):
            return barrier._replace(heirs=found)
        patience = sending["patience"]
        if patience is not None and monotonic() - started + pause > patience:
            if has_values:
                return barrier._replace(heirs=None)
            raise unavailable(sending["url"], found)
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
