"""The call as a value: one invocation of a script, which can be run, printed, compared and replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any, Generic, NamedTuple, TypeVar, cast

from jobfleet.store.script import Script, load

T = TypeVar("T")
Argument = str | bytes | int
Key = str | bytes
"""Bytes, because a foreign client may have written an id that is not text."""
Reply = list[Any]
Command = tuple[Argument, ...]
ANSWER = "answer:"
LATE = b"too-late"
"""The reply of a script after its deadline; the script has done nothing."""
LONGER = b"longer"
"""The reply of a fast path's script that cannot handle the call; it has done nothing. Run the general script."""


class Call(NamedTuple, Generic[T]):
    """One invocation of a script.

    Attributes:
        script: The script.
        keys: Its keys, in the order of its header.
        args: Its arguments, in the order of its header.
        read: Converts the reply to a value; the first word of the reply is already checked.
        instead: Makes the general call to run if the script of a fast path replies `LONGER`; None for general scripts.
        id: The id under which the script stores its reply, if it does. The sender chooses it and keeps it for retries.
        mends: Whether damage that makes the script fail is repaired; see `mending`.
    """

    script: Script
    keys: tuple[Key, ...]
    args: tuple[Argument, ...]
    read: Callable[[Reply], T]
    instead: Callable[[], Call[T]] | None = None
    id: str = ""
    mends: bool = True

    def named(self) -> Call[T]:
        """Return the call with an id, if its script stores replies."""
        return self._replace(id=token_hex(8)) if self.script.is_once and not self.id else self

    def anyway(self) -> Call[T]:
        """Return the call for a second attempt, after the script has failed; see `Script.anyway`."""
        place = self.script.anyway
        return self if place is None else self._replace(args=(*self.args[:place], 1, *self.args[place + 1 :]))

    def exempt(self) -> Call[T]:
        """Return the call in the form that Redis runs even if its memory is full; for what a running job writes."""
        instead = self.instead
        return self._replace(
            script=load(self.script.name, is_exempt=True),
            instead=None if instead is None else lambda: instead().exempt(),
        )

    def by_hash(self, until: int = 0) -> Command:
        """Return the command for a server that may know the script.

        Args:
            until: The deadline in µs of Redis's clock, if the script has one.
        """
        verb = "EVALSHA_RO" if self.script.read_only else "EVALSHA"
        if self.script.has_deadline:
            return self._guarded(verb, self.script.sha, until)
        return (verb, self.script.sha, len(self.keys), *self.keys, *self.args)

    def by_source(self, until: int = 0) -> Command:
        """Return the command that includes the script's source; `until` is as for `by_hash`."""
        verb = "EVAL_RO" if self.script.read_only else "EVAL"
        if self.script.has_deadline:
            return self._guarded(verb, self.script.source, until)
        return (verb, self.script.source, len(self.keys), *self.keys, *self.args)

    def for_fake(self, until: int = 0) -> Command:
        """Return the command for fakeredis, without the first line and EVAL_RO; `until` is as for `by_hash`."""
        if self.script.has_deadline:
            return self._guarded("EVAL", self.script.plain, until)
        return ("EVAL", self.script.plain, len(self.keys), *self.keys, *self.args)

    def by_function(self, until: int = 0) -> Command:
        """Return the command for a server that has loaded the library of functions; `until` is as for `by_hash`."""
        from jobfleet.store.functions import function_of  # few fleets use it

        verb = "FCALL_RO" if self.script.read_only else "FCALL"
        name = function_of(self.script.name, is_exempt=self.script.is_exempt)
        if self.script.has_deadline:
            return self._guarded(verb, name, until)
        return (verb, name, len(self.keys), *self.keys, *self.args)

    def _guarded(self, verb: str, script: Argument, until: int) -> Command:
        keys = self.keys
        if self.script.is_once:
            tag, _, _ = cast("str", keys[0]).partition("}:")
            keys = (*keys, f"{tag}}}:{ANSWER}{self.id}")
        return (verb, script, len(keys), *keys, *self.args, until)


def in_order(calls: Sequence[Call[Any]]) -> list[Call[Any]]:
    """Return calls of one pipeline, in the form in which none overtakes another.

    A call of a script that the server does not know is sent again, after the calls that follow it. So each call names
    the scripts before it in its source: a server that knows this source was sent it after the others.
    """
    before: set[str] = set()
    ordered = []
    for call in calls:
        name = call.script.name
        others = tuple(sorted(before - {name}))
        ordered.append(call._replace(script=load(name, after=others)) if others else call)
        before.add(name)
    return ordered


class Spelling(NamedTuple):
    """How calls are written for a server.

    Attributes:
        usual: Writes a call for a server that may know its script.
        sure: Writes it for one that may not know it.
    """

    usual: Callable[..., Command]
    sure: Callable[..., Command]


BY_SCRIPT = Spelling(Call.by_hash, Call.by_source)
BY_FUNCTION = Spelling(Call.by_function, Call.by_function)
FOR_FAKE = Spelling(Call.for_fake, Call.for_fake)
