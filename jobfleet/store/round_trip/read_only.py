"""A process that must not write: its stores refuse every call of a script that may change Redis.

`jobfleet reproduce` runs the code of a job in such a process. The refusal is chosen when a store is made, so that the
stores of other processes do not check anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from jobfleet.errors import JobfleetError
from jobfleet.store.call import Call, Command
from jobfleet.store.round_trip import trip


class WriteRefused(JobfleetError):
    """This process only reads from Redis."""


def refuse_writes(why: str) -> None:
    """Make the stores that this process opens from now on refuse calls that may write.

    Args:
        why: The reason, for the message of the refusal; empty to end it.
    """
    trip.guard = partial(_guarded, why) if why else None


def _guarded(why: str, spell: Callable[..., Command]) -> Callable[..., Command]:
    """The function that formats calls, or refuses them."""

    def spelled(call: Call[Any], *arguments: int) -> Command:
        if not call.script.read_only:
            raise WriteRefused(f"{call.script.name} is refused: {why}")
        return spell(call, *arguments)

    return spelled
