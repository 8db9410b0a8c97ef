"""The call is a value: one invocation of a script, ready to run, print, compare or replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from jobfleet.store.script import Script

T = TypeVar("T")
Argument = str | bytes | int
Reply = list[Any]
Command = tuple[Argument, ...]
LONGER = b"longer"
"""What the script of a short way answers, having done nothing, where the long one must be gone."""


class Call(NamedTuple, Generic[T]):
    """One invocation of a script.

    Attributes:
        script: Which.
        keys: Its keys, as its header numbers them.
        args: Its arguments, likewise.
        read: Turns the reply, whose first word is known to the contract, into a value.
        instead: Makes the call to run in its place when its script answers `LONGER`; None where none does.
    """

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    read: Callable[[Reply], T]
    instead: Callable[[], Call[T]] | None = None

    def by_hash(self) -> Command:
        """The command for a server that may know the script."""
        verb = "EVALSHA_RO" if self.script.read_only else "EVALSHA"
        return (verb, self.script.sha, len(self.keys), *self.keys, *self.args)

    def by_source(self) -> Command:
        """The command that brings the script along."""
        verb = "EVAL_RO" if self.script.read_only else "EVAL"
        return (verb, self.script.source, len(self.keys), *self.keys, *self.args)

    def for_fake(self) -> Command:
        """The command for fakeredis, which knows neither first line nor EVAL_RO."""
        return ("EVAL", self.script.plain, len(self.keys), *self.keys, *self.args)
