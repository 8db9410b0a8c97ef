"""What both clients can do, written once.

A verb is a generator: it yields calls to run in one pipeline and is sent their values. `Fleet`
drives it with a `Store`, `AsyncFleet` with an `AsyncStore`; nothing is written twice for `await`.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from jobfleet.errors import JobfleetError
from jobfleet.store.call import Call
from jobfleet.store.trip import Making

if TYPE_CHECKING:
    from jobfleet.store.aio import AsyncStore


T = TypeVar("T")
Operation = Generator[Sequence[Call[Any]], list[Any], T]
BulkOperation = Generator[Sequence[Call[Any]] | Making, list[Any], T]
"""A verb that may let its calls be sent as they are made."""


class Driver(Protocol):
    """Runs an operation and returns its value."""

    def __call__(self, operation: BulkOperation[T], /) -> T:
        """Run the operation."""


class AsyncDriver(Protocol):
    """`Driver`, awaited."""

    async def __call__(self, operation: BulkOperation[T], /) -> T:
        """Run the operation."""


def value(results: list[Any]) -> Any:
    """The one value of a trip, or its error raised."""
    if isinstance(results[0], JobfleetError):
        raise results[0]
    return results[0]


async def drive(store: AsyncStore, verb: BulkOperation[T]) -> T:
    """Run a verb."""
    answers: Any = None
    try:
        while True:
            answers = await store.run_many(verb.send(answers))
    except StopIteration as end:
        return cast("T", end.value)


def run_ahead(verb: Operation[T]) -> T | Operation[T]:
    """Run a verb as far as it asks nothing: its value, or what is left of it."""
    try:
        calls = next(verb)
    except StopIteration as end:
        return cast("T", end.value)
    return _resumed(verb, calls)


def _resumed(verb: Operation[T], calls: Sequence[Call[Any]]) -> Operation[T]:
    try:
        while True:
            calls = verb.send((yield calls))
    except StopIteration as end:
        return cast("T", end.value)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of at most `size`."""
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part
