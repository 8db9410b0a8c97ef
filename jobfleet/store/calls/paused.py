"""pause_function, resume_function, put_back, paused: functions whose jobs are not started."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from jobfleet.store.call import Call
from jobfleet.store.calls.control import who, why
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
AGE = 5_500_000_000_000_000
"""How long after its due time, µs, a job stands whose function is paused; lib/waiting/withheld.lua says the same."""
WITHHELD = 7_000_000_000_000_000
"""From here to the end of time, where blocked jobs stand, all jobs are withheld."""
OVER = "~"
"""Stands before a function that is being resumed."""


class Pause(NamedTuple):
    """A pause.

    Attributes:
        by: Who asked for it; None for nobody in particular.
        at: Since when, µs.
        reason: Why; may be empty.
    """

    by: str | None
    at: int
    reason: str = ""


def read_pause(text: str) -> Pause:
    """Read ``who@at reason``."""
    by, _, rest = text.partition("@")
    at, _, reason = rest.partition(" ")
    return Pause(None if by in ("", "-") else by, number_of(at), reason)


def read_functions(text: str) -> dict[str, Pause]:
    """The functions that are paused, those that are being resumed left out."""
    lines = (line.partition(" ") for line in text.split("\n") if line and not line.startswith(OVER))
    return {name: read_pause(rest) for name, _, rest in lines}


def read_resuming(text: str) -> list[str]:
    """The functions that are being resumed."""
    return [line.partition(" ")[0][1:] for line in text.split("\n") if line.startswith(OVER)]


@lru_cache(maxsize=256)
def stopped(text: str) -> frozenset[str]:
    """The names of the functions that are paused."""
    return frozenset(read_functions(text))


def due_of(due: int) -> int:
    """When a job that waits is due, µs: of one that is withheld, when it was."""
    return due - AGE if is_withheld(due) else due


def is_withheld(due: int) -> bool:
    """Whether a job stands where those of paused functions do."""
    return WITHHELD <= due < WITHHELD + 2_000_000_000_000_000


def pause_function(
    where: Lane | Keyspace, name: str, *, by: str | None, reason: str | None = None
) -> Call[bool | None]:
    """Let no job of a function be started; False when it was paused already, None when too many are.

    Workers go by what their lane says; what the fleet says is brought to lanes that come into being.
    """
    return Call(
        load("pause_function"),
        (where.conf,),
        (name, who(by), why(reason)),
        lambda reply: bool(reply[1]) if len(reply) > 1 else None,
    )


def resume_function(where: Lane | Keyspace, name: str, *, is_done: bool = False) -> Call[bool]:
    """Let jobs of a paused function be started again; `is_done` once all that were withheld were put back.

    False when there was nothing to do.
    """
    step = "end" if is_done else "begin"
    return Call(load("resume_function"), (where.conf,), (name, step), lambda reply: bool(reply[1]))


def paused(keys: Keyspace) -> Call[str]:
    """The functions that are paused in every queue, a line each."""
    return Call(load("paused"), (keys.conf,), (), lambda reply: text_of(reply[1]))


def put_back(lane: Lane, ids: Sequence[str]) -> Call[int]:
    """Let at most 50 jobs that are withheld stand where they stood; how many were."""
    return Call(
        load("put_back"),
        (*lane.ready, lane.wake, lane.grouped, lane.gdue),
        (lane.tag, *ids),
        lambda reply: int(reply[1]),
    )
