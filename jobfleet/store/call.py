"""The call is a value: one invocation of a script, ready to run, print, compare or replay."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any, Generic, NamedTuple, TypeVar, cast

from jobfleet.store.script import Script

T = TypeVar("T")
Argument = str | bytes | int
Key = str | bytes
"""Bytes where somebody else has written an id that is no text."""
Reply = list[Any]
Command = tuple[Argument, ...]
ANSWER = "answer:"
LATE = b"too-late"
"""What a script with a deadline answers after it, having done nothing."""
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
        id: Under which its answer is remembered, where its script does that. Whoever sends it gives it one, and
            sends it again under the same.
        mends: Whether what makes its script fail is repaired; see `mending`.
    """

    script: Script
    keys: tuple[Key, ...]
    args: tuple[Argument, ...]
    read: Callable[[Reply], T]
    instead: Callable[[], Call[T]] | None = None
    id: str = ""
    mends: bool = True

    def named(self) -> Call[T]:
        """The call with an id, if its script remembers answers."""
        return self._replace(id=token_hex(8)) if self.script.is_once and not self.id else self

    def by_hash(self, until: int = 0) -> Command:
        """The command for a server that may know the script.

        Args:
            until: Until when it may run, where its script has a deadline: µs on Redis's clock.
        """
        verb = "EVALSHA_RO" if self.script.read_only else "EVALSHA"
        if self.script.has_deadline:
            return self._guarded(verb, self.script.sha, until)
        return (verb, self.script.sha, len(self.keys), *self.keys, *self.args)

    def by_source(self, until: int = 0) -> Command:
        """The command that brings the script along; `until` as for `by_hash`."""
        verb = "EVAL_RO" if self.script.read_only else "EVAL"
        if self.script.has_deadline:
            return self._guarded(verb, self.script.source, until)
        return (verb, self.script.source, len(self.keys), *self.keys, *self.args)

    def for_fake(self, until: int = 0) -> Command:
        """The command for fakeredis, which knows neither first line nor EVAL_RO; `until` as for `by_hash`."""
        if self.script.has_deadline:
            return self._guarded("EVAL", self.script.plain, until)
        return ("EVAL", self.script.plain, len(self.keys), *self.keys, *self.args)

    def _guarded(self, verb: str, script: Argument, until: int) -> Command:
        keys = self.keys
        if self.script.is_once:
            tag, _, _ = cast("str", keys[0]).partition("}:")
            keys = (*keys, f"{tag}}}:{ANSWER}{self.id}")
        return (verb, script, len(keys), *keys, *self.args, until)
