"""Reads for panels, and parts of a page that refresh. Reads give up early, so that the page is not blocked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import streamlit as st

from jobfleet.clock import from_timedelta, monotonic
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.model import JobResult
from jobfleet.model.option_types import Seconds
from jobfleet.secret import Redaction
from jobfleet.typed.converter import plain

T = TypeVar("T")
PATIENCE = 1.0
"""Longest time that a panel waits for Redis, in seconds."""
AGAIN = 3.0
"""Seconds without further requests after Redis did not answer, so that pages stay fast during an outage."""

_fleets: WeakKeyDictionary[Fleet, Reader] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The value that was read, or the reason why there is none.

    Attributes:
        value: The value; None if there is a problem.
        problem: The reason why there is no value; empty if there is one.
        is_passing: Whether a later read may succeed.
    """

    value: T | None = None
    problem: str = ""
    is_passing: bool = False


class Reader:
    """Reads from a fleet with shorter timeouts than the fleet's own.

    Args:
        fleet: The fleet whose server and settings to use.
    """

    def __init__(self, fleet: Fleet) -> None:
        config = replace(
            fleet.config,
            patience=min(PATIENCE, fleet.config.patience),
            connect_timeout=min(PATIENCE, fleet.config.connect_timeout),
            socket_timeout=min(2 * PATIENCE, fleet.config.socket_timeout),
        )
        self._fleet = Fleet.of(config, fleet.context.registry, target=fleet.store.at)
        self._away_until = 0.0
        self._away = ""

    def ask(self, question: Callable[[Fleet], T]) -> Answer[T]:
        """Run a read on the fleet; an error of jobfleet becomes part of the answer.

        Args:
            question: The read, for example ``lambda fleet: fleet.poll(job_id)``.
        """
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
    """Run a read on the default fleet; see `Reader.ask`."""
    fleet = default_fleet()
    reader = _fleets.get(fleet)
    if reader is None:
        reader = _fleets[fleet] = Reader(fleet)
    return reader.ask(question)


def read_job(job_id: str) -> Answer[JobResult[Any]]:
    """Poll a job of the default fleet."""
    return ask(lambda fleet: fleet.poll(job_id))


def redacted(value: object) -> object:
    """Hide parts of a value, as the settings of the default fleet say."""
    return Redaction(default_fleet().config.redact)(plain(value))


SHORTEST = 0.1


def refreshing(draw: Callable[[], bool], *, every: Seconds, is_over: bool) -> None:
    """Draw one part of the page repeatedly, without rerunning the rest of the page.

    Args:
        draw: Draws the part. Returns True if its state is final, so that it will not change any more.
        every: Seconds between two drawings, at least 0.1.
        is_over: Whether the state is final already; the part is then drawn once. When the state becomes final
            later, the page reruns once: this part stops refreshing, and the rest of the page sees the final state.
    """

    def part() -> None:
        if draw() and not is_over:
            st.rerun()

    st.fragment(part, run_every=None if is_over else max(SHORTEST, from_timedelta(every)))()
