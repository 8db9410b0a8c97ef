"""The type of operations, and how they are run.

An operation is a generator. It yields calls that belong in one pipeline, and receives their values. `drive` runs it on
an `AsyncStore`, and `drive_blocking` on a `Store`, so no operation is written twice for `await`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, final

from jobfleet.errors import FleetFull, JobfleetError, PayloadUnavailable, StoreUnavailable
from jobfleet.event_loop import in_thread
from jobfleet.model.signals import NotWritten
from jobfleet.store.call import Call
from jobfleet.store.trip import LazyCalls

if TYPE_CHECKING:
    from jobfleet.store.aio import AsyncStore
    from jobfleet.store.keys import Lane
    from jobfleet.store.sync import Store


T = TypeVar("T")


@final
class Blocking(tuple[Any, ...]):
    """A trip that calls a function instead of Redis. It blocks, so that no event loop may wait for it.

    It may have a second function, which an event loop awaits in its place.
    """

    __slots__ = ()

    @classmethod
    def on(cls, call: Callable[[], Any]) -> Self:
        """The trip that calls a function."""
        return cls((call,))

    @classmethod
    def pause(cls, seconds: float) -> Self:
        """The trip that waits."""
        return cls((partial(time.sleep, seconds), partial(asyncio.sleep, seconds)))

    def run(self) -> list[Any]:
        """Run the call; return its value or its `JobfleetError`, as a trip with one call does."""
        try:
            return [self[0]()]
        except JobfleetError as error:
            return [error]

    async def run_aside(self) -> list[Any]:
        """`run` in a thread, or the second function."""
        return [await self[1]()] if len(self) > 1 else await in_thread(self.run)


@final
class EachLane(tuple[Any, ...]):
    """A trip whose calls fail alone: if a node of a cluster is away, the values of its lanes are `StoreUnavailable`."""

    __slots__ = ()


NODE_PATIENCE = 2.0
"""Seconds for which such a trip waits for a node."""
Operation = Generator[Sequence[Call[Any]], list[Any], T]
BulkOperation = Generator[Sequence[Call[Any]] | LazyCalls, list[Any], T]
"""An operation whose calls may be sent while further calls are made."""


class Driver(Protocol):
    """Runs an operation and returns its value."""

    def __call__(self, operation: BulkOperation[T], /) -> T:
        """Run the operation."""


class AsyncDriver(Protocol):
    """`Driver`, awaited."""

    async def __call__(self, operation: BulkOperation[T], /) -> T:
        """Run the operation."""


def value(results: list[Any]) -> Any:
    """Return the value of a trip with one call; raise it if it is an error."""
    if isinstance(results[0], JobfleetError):
        raise results[0]
    return results[0]


def is_denied(answer: object) -> bool:
    """Whether the value of a call is the error that the Redis user may not do this."""
    return isinstance(answer, JobfleetError) and "(NOPERM)" in str(answer)


async def drive(store: AsyncStore, operation: BulkOperation[T]) -> T:
    """Run an operation on a store; return its result."""
    answers: Any = None
    try:
        while True:
            asked = operation.send(answers)
            if type(asked) is EachLane:
                answers = await store.run_each(asked, patience=NODE_PATIENCE)
            else:
                answers = await (asked.run_aside() if type(asked) is Blocking else store.run_many(asked))
    except StopIteration as end:
        result: T = end.value
        return result


async def drive_own(store: AsyncStore, operation: Operation[T]) -> T:
    """Run an operation by which a running job writes other jobs for itself; return its result.

    A job that exists may always go on, so Redis accepts these writes even if its memory is full.

    Raises:
        NotWritten: They cannot be done now. The job is put back, and is not charged.
    """
    try:
        return await drive(store, _exempt(operation))
    except (FleetFull, StoreUnavailable, PayloadUnavailable) as error:
        raise NotWritten(str(error)) from error


def _exempt(operation: Operation[T]) -> Operation[T]:
    answers: Any = None
    try:
        while True:
            asked = operation.send(answers)
            if isinstance(asked, list):  # in place, because a list may have a barrier
                asked[:] = [call.exempt() for call in asked]
            elif not isinstance(asked, Blocking | EachLane):
                asked = [call.exempt() for call in asked]
            answers = yield asked
    except StopIteration as end:
        result: T = end.value
        return result


def drive_blocking(store: Store, operation: BulkOperation[T]) -> T:
    """Run an operation on a store that blocks; return its result."""
    answers: Any = None
    try:
        while True:
            asked = operation.send(answers)
            if type(asked) is EachLane:
                answers = store.run_each(asked, patience=NODE_PATIENCE)
            else:
                answers = asked.run() if type(asked) is Blocking else store.run_many(asked)
    except StopIteration as end:
        result: T = end.value
        return result


def run_ahead(operation: Operation[T]) -> T | Operation[T]:
    """Run an operation up to its first call; return its result, or the rest of the operation."""
    try:
        calls = next(operation)
    except StopIteration as end:
        result: T = end.value
        return result
    return _resumed(operation, calls)


def _resumed(operation: Operation[T], calls: Sequence[Call[Any]]) -> Operation[T]:
    try:
        while True:
            calls = operation.send((yield calls))
    except StopIteration as end:
        result: T = end.value
        return result


def run_all(every: Iterable[Call[T]], size: int = 100) -> Operation[list[T]]:
    """Run many calls, up to `size` per trip; return their values."""
    answers: list[T] = []
    for part in batches(every, size):
        answers += [value([answer]) for answer in (yield part)]
    return answers


def by_lane(items: Iterable[tuple[Lane, T]], size: int) -> list[tuple[Lane, list[T]]]:
    """Group items by their lanes, in parts of at most `size`."""
    grouped: dict[Lane, list[T]] = {}
    for lane, item in items:
        grouped.setdefault(lane, []).append(item)
    return [(lane, part) for lane, members in grouped.items() for part in batches(members, size)]


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists of at most `size`."""
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part
