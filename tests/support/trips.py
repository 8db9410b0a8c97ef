"""What an operation asks for, call by call: for tests that run it step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.store.call import Call
from jobfleet.store.trip import Detours, LazyCalls


def calls_of(asked: Sequence[Call[Any]] | LazyCalls) -> Sequence[Call[Any]]:
    """The calls of a trip, also those that are made while it is sent."""
    if not isinstance(asked, LazyCalls):
        return asked
    for _ in asked.commands(lambda _: (), Detours()):
        pass
    asked.ended([])  # raises what was raised while they were made
    return asked.calls
