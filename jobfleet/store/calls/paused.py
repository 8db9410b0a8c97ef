"""Calls for paused functions, whose jobs do not start: pause_function, resume_function, put_back and paused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from jobfleet.model.who import from_word
from jobfleet.store.call import Call
from jobfleet.store.calls.control import who, why
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
OVER = "~"
"""The prefix of a function that is being resumed."""


class Pause(NamedTuple):
    """The pause of a function.

    Attributes:
        by: Who requested it; None if unknown.
        at: Time of the pause in µs.
        reason: The reason; may be empty.
    """

    by: str | None
    at: int
    reason: str = ""


def read_pause(text: str) -> Pause:
    """Parse ``who@at reason``."""
    by, _, rest = text.partition("@")
    at, _, reason = rest.partition(" ")
    return Pause(None if by in ("", "-") else from_word(by), number_of(at), reason)


def read_functions(text: str) -> dict[str, Pause]:
    """Return the paused functions, without those that are being resumed."""
    lines = (line.partition(" ") for line in text.split("\n") if line and not line.startswith(OVER))
    return {name: read_pause(rest) for name, _, rest in lines}


def read_resuming(text: str) -> list[str]:
    """Return the functions that are being resumed."""
    return [line.partition(" ")[0][1:] for line in text.split("\n") if line.startswith(OVER)]


@lru_cache(maxsize=256)
def stopped(text: str) -> frozenset[str]:
    """Return the names of the paused functions."""
    return frozenset(read_functions(text))


def pause_function(
    where: Lane | Keyspace, name: str, *, by: str | None, reason: str | None = None
) -> Call[bool | None]:
    """Stop starts of a function's jobs; False if it was already paused, None if too many functions are.

    Workers obey the setting of their lane; the setting of the fleet is copied to new lanes.
    """
    return Call(
        load("pause_function"),
        (where.conf,),
        (name, who(by), why(reason)),
        lambda reply: bool(reply[1]) if len(reply) > 1 else None,
    )


def resume_function(where: Lane | Keyspace, name: str, *, is_done: bool = False) -> Call[bool]:
    """Allow starts of a paused function's jobs again; `is_done` after all withheld jobs were put back.

    Returns False if there was nothing to do.
    """
    step = "end" if is_done else "begin"
    return Call(load("resume_function"), (where.conf,), (name, step), lambda reply: bool(reply[1]))


def paused(keys: Keyspace) -> Call[str]:
    """Return the functions that are paused in every queue, one line each."""
    return Call(load("paused"), (keys.conf,), (), lambda reply: text_of(reply[1]))


def put_back(lane: Lane, ids: Sequence[str]) -> Call[int]:
    """Put at most 50 withheld jobs back to their old position; return the number of moved jobs."""
    return Call(
        load("put_back"),
        (*lane.ready, lane.wake, lane.grouped, lane.gdue),
        (lane.tag, *ids),
        lambda reply: int(reply[1]),
    )
