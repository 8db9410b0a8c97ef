"""What panels read, without holding up the page: little patience, and a message where there is no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.model import JobResult
from jobfleet.store.sync import Store

T = TypeVar("T")
PATIENCE = 1.0
"""Seconds that a page waits for Redis."""
AGAIN = 3.0
"""Seconds after which Redis is asked again when it was away: meanwhile pages are as quick as ever."""

_fleets: WeakKeyDictionary[Fleet, Reader] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was read.

    Attributes:
        value: It; None when there is a problem.
        problem: Why there is nothing to show; empty when there is.
        is_passing: Whether it may go by itself, so that asking again makes sense.
    """

    value: T | None = None
    problem: str = ""
    is_passing: bool = False


class Reader:
    """Asks a fleet on behalf of pages, with less patience than the fleet has.

    Args:
        fleet: Whose server and settings to use.
    """

    def __init__(self, fleet: Fleet) -> None:
        config = replace(
            fleet.config,
            patience=min(PATIENCE, fleet.config.patience),
            connect_timeout=min(PATIENCE, fleet.config.connect_timeout),
            socket_timeout=min(2 * PATIENCE, fleet.config.socket_timeout),
        )
        self._fleet = Fleet.of(config, fleet.context.registry)
        self._fleet._store = Store(  # noqa: SLF001 - an embedded server is one for both
            fleet.store.at,
            patience=config.patience,
            connect_timeout=config.connect_timeout,
            socket_timeout=config.socket_timeout,
        )
        self._away_until = 0.0
        self._away = ""

    def ask(self, question: Callable[[Fleet], T]) -> Answer[T]:
        """Ask something; what goes wrong is part of the answer."""
        if monotonic() < self._away_until:
            return Answer(problem=self._away, is_passing=True)
        try:
            return Answer(question(self._fleet))
        except StoreUnavailable as error:
            self._away, self._away_until = str(error), monotonic() + AGAIN
            return Answer(problem=self._away, is_passing=True)
        except JobNotFound as error:
            return Answer(problem=str(error))
        except JobfleetError as error:
            return Answer(problem=str(error), is_passing=True)


def ask(question: Callable[[Fleet], T]) -> Answer[T]:
    """Ask the default fleet."""
    fleet = default_fleet()
    reader = _fleets.get(fleet)
    if reader is None:
        reader = _fleets[fleet] = Reader(fleet)
    return reader.ask(question)


def read_job(job_id: str) -> Answer[JobResult[Any]]:
    """What is known of a job."""
    return ask(lambda fleet: fleet.poll(job_id))
