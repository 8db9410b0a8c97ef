"""Calls for runs at their gates: pass_gates and leave_gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobfleet.model.gates import Demand
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import text_of
from jobfleet.store.script import load

CHUNK = 50
UNLIMITED = -1
RUN_IN_US = 3 / 64
"""The part of the period of a rate within which a run must start after it has passed."""


class Passing(NamedTuple):
    """A run at its gates.

    Attributes:
        id: The id of its job.
        token: Its fencing token.
        demands: What it needs.
        number: How many times it has passed before. Each time it holds other places, so a late report that it has left
            those of an earlier time does not free them.
    """

    id: str
    token: int
    demands: tuple[Demand, ...]
    number: int = 0

    @property
    def holder(self) -> str:
        """The run as a holder of places; see `calls.lock.Holder`."""
        return f"{self.token} {self.number} {self.id}"


class Leaving(NamedTuple):
    """A run that leaves its gates.

    Attributes:
        holder: `Passing.holder`.
        demands: What it had.
        outcome: ``ok``, ``fail``, ``none`` (it says nothing about the health of the function), or ``unused`` for a run
            that has not started.
        error: The class of its error.
        passed: When it passed, µs.
    """

    holder: str
    demands: tuple[Demand, ...]
    outcome: str
    error: str
    passed: int


class Room(NamedTuple):
    """The room of a gate.

    Attributes:
        places: How many runs may pass; `UNLIMITED` without a limit.
        units: How much their costs may be together; `UNLIMITED` without a rate.
        at: When there is more, µs; 0 if that is not known.
        then: How much there is then.
        period: The period of the rate in µs; 0 without one, -1 if no limit has this name.
        words: The settings of a breaker; see `Demand`.
    """

    places: int
    units: int
    at: int
    then: int
    period: int
    words: str = ""


class Passed(NamedTuple):
    """The answer to `pass_gates`.

    Attributes:
        now: Redis's time, µs.
        refusals: For each run an empty text, or the gate that has refused it.
        impossible: The places of the runs whose cost can never fit.
        rooms: The room that is left, by gate.
    """

    now: int
    refusals: tuple[str, ...]
    impossible: frozenset[int]
    rooms: Mapping[str, Room]


def pass_gates(keys: Keyspace, child: str, runs: Sequence[Passing], *, look: Sequence[Demand] = ()) -> Call[Passed]:
    """Let runs through their gates.

    Args:
        keys: The fleet's keys.
        child: The child that asks. If there is no room, it is notified on its channel when there may be.
        runs: The runs.
        look: Further gates whose room is returned.
    """
    gates = {one.gate: one.words for one in (*look, *(one for run in runs for one in run.demands))}
    names = [*gates]
    numbers = {name: place for place, name in enumerate(names, start=1)}
    args: list[Argument] = [child, len(names), *(part for pair in gates.items() for part in pair)]
    for run in runs:
        args += (run.id, run.holder, len(run.demands))
        args += [part for one in run.demands for part in (numbers[one.gate], one.cost)]

    def read(reply: Reply) -> Passed:
        refusals = [int(number) for number in reply[2]]
        rooms = [int(number) for number in reply[3]]
        return Passed(
            int(reply[1]),
            tuple(names[abs(number) - 1] if number else "" for number in refusals),
            frozenset(place for place, number in enumerate(refusals) if number < 0),
            {name: _room(rooms[5 * at : 5 * at + 5], gates[name]) for at, name in enumerate(names)},
        )

    return Call(load("pass_gates"), _keys(keys, names), tuple(args), read)


def _room(numbers: Sequence[int], words: str) -> Room:
    places, units, at, then, period = numbers
    return Room(places, units, at, then, period, words)


def leave_gates(
    keys: Keyspace, child: str, runs: Sequence[Leaving], *, gone: Sequence[Demand] = ()
) -> Call[list[tuple[str, str, str]]]:
    """Free the places of runs, and count their outcomes; return the breakers that changed: name, state and reason.

    Args:
        keys: The fleet's keys.
        child: The child that reports.
        runs: The runs.
        gone: The gates for which the child does not wait any more, because it ends.
    """
    gates = {one.gate: one.words for one in (*gone, *(one for run in runs for one in run.demands))}
    numbers = {name: place for place, name in enumerate(gates, start=1)}
    args: list[Argument] = [keys.gate_freed(""), child, int(bool(gone)), len(gates)]
    args += [part for pair in gates.items() for part in pair]
    for run in runs:
        args += (run.holder, run.outcome, run.error, run.passed, len(run.demands))
        args += [part for one in run.demands for part in (numbers[one.gate], one.cost)]
    return Call(load("leave_gates"), _keys(keys, [*gates]), tuple(args), _changes)


def _changes(reply: Reply) -> list[tuple[str, str, str]]:
    words = [text_of(part) for part in reply[2]]
    return [(words[at], words[at + 1], words[at + 2]) for at in range(0, len(words), 3)]


def _keys(keys: Keyspace, names: Sequence[str]) -> tuple[str, ...]:
    return (keys.gates, *(key for name in names for key in (keys.gate(name), keys.inside(name))))
