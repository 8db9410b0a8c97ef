"""The call as a value: one invocation of a script; and the barriers by which the server confirms writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Generic, NamedTuple, TypeVar, cast

from jobfleet.clock import monotonic
from jobfleet.store.script import Script, function_of, load

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


DURABILITY = "durability"
"""The field of a level in the header of a job, and among the settings of a queue."""
REPLICATED = "replicated"
FSYNC = "fsync"
KNOWN = frozenset((REPLICATED, FSYNC))
"""The levels that need a confirmation."""
ALL = 0
"""In place of a number of replicas: all that may take over."""
_LANE = re.compile(r"\{[^{}:]+:[^{}:]+:\d+\}:")
"""The beginning of a key of a lane; the fleet's own keys have no colon in their braces."""


class Heirs(NamedTuple):
    """Which replicas may take over from a primary, as those see it who would promote them.

    Attributes:
        number: How many there are; `ALL` if the link to a cluster puts in the number of each node.
        primary: The replication id of the primary that they belong to; empty if it is unknown.
    """

    number: int
    primary: str = ""


class AskHeirs(NamedTuple):
    """A step of a trip: find out the heirs.

    Attributes:
        is_misled: Whether the last exchange went to another server than the primary: its connections are closed.
    """

    is_misled: bool = False


class Barrier(NamedTuple):
    """What the server must confirm after calls.

    Attributes:
        mark: The write of its own.
        levels: `REPLICATED`, `FSYNC` or both.
        replicas: The least number of replicas that must confirm; `ALL` for all heirs.
        timeout_ms: Time limit of the wait in ms; never 0, which would wait for ever.
        is_spread: Whether lanes may be on several nodes: then each lane that is written to gets a mark. The waits go to
            all nodes that are called.
        heirs: The heirs that must confirm if `replicas` is `ALL`; None before they are known.
    """

    mark: Call[str]
    levels: frozenset[str]
    replicas: int
    timeout_ms: int
    is_spread: bool = False
    heirs: Heirs | None = None

    @property
    def asks_heirs(self) -> bool:
        """Whether all heirs must confirm."""
        return self.replicas == ALL and REPLICATED in self.levels

    @property
    def needs_heirs(self) -> bool:
        """Whether the heirs must be known before the waits can be sent."""
        return self.asks_heirs and self.heirs is None

    def is_primary(self, marks: Iterable[str]) -> bool:
        """Whether the marks were written by the primary that the heirs belong to; they return its replication id."""
        primary = "" if self.heirs is None else self.heirs.primary
        return not primary or all(mark in ("", primary) for mark in marks)

    def marks(self, calls: Iterable[Call[Any]]) -> list[Call[str]]:
        """The writes that follow calls, so that the waits cover them."""
        if not self.is_spread:
            return [self.mark]
        found = (_LANE.match(_text(call.keys[0])) for call in calls if not call.script.read_only)
        keys = dict.fromkeys(f"{one[0]}barrier" for one in found if one is not None)
        return [self.mark._replace(keys=(key,)) for key in keys or self.mark.keys]

    @property
    def _least(self) -> int:
        """How many replicas must confirm."""
        return self.replicas if self.heirs is None or self.replicas != ALL else self.heirs.number

    @property
    def waits(self) -> list[Command]:
        """The commands that wait; together they take at most `timeout_ms`. None before the heirs are known."""
        if self.needs_heirs:
            return []
        timeout_ms = max(1, self.timeout_ms // len(self.levels))
        made: list[Command] = []
        if REPLICATED in self.levels:
            made.append(("WAIT", self._least, timeout_ms))
        if FSYNC in self.levels:
            made.append(("WAITAOF", 1, 0, timeout_ms))
        return made

    def is_reached(self, replies: Sequence[Any]) -> bool:
        """Whether the replies to `waits` confirm all levels."""
        left = list(replies)
        if REPLICATED in self.levels and not _is_at_least(left.pop(0), self._least):
            return False
        return FSYNC not in self.levels or (isinstance(left[0], list) and _is_at_least(left[0][0], 1))


def _text(key: Key) -> str:
    return key if isinstance(key, str) else key.decode(errors="surrogateescape")


def _is_at_least(count: object, least: int) -> bool:
    return isinstance(count, int) and count >= least


def levels_in(headers: Iterable[Mapping[str, Any]]) -> Collection[str]:
    """Return the levels that jobs ask for, by their headers."""
    levels = {header[DURABILITY] for header in headers if DURABILITY in header}
    return levels & KNOWN if levels else levels


class Confirming(list[Call[Any]]):
    """Calls that a barrier follows.

    Args:
        calls: The calls. Each is safe to repeat.
        barrier: The barrier.

    Attributes:
        is_reached: Whether the levels were reached; set when the calls have been run.
        took: Seconds from the first attempt to the confirmation.
    """

    def __init__(self, calls: Iterable[Call[Any]], barrier: Barrier) -> None:
        super().__init__(calls)
        self.barrier: Barrier = barrier
        self.is_reached: bool = False
        self.took: float = 0.0


FRESH = 5.0
"""Seconds for which an answer is used."""
FRESH_AFTER_FAILURE = 1.0
"""The same after a batch that was not confirmed, so that a replica that is away does not make everybody ask."""


class KnownHeirs:
    """The last answer of one store."""

    __slots__ = ("_asked_at", "_heirs")

    def __init__(self) -> None:
        self._heirs: Heirs | None = None
        self._asked_at = 0.0

    def fresh(self, within: float = FRESH) -> Heirs | None:
        """The answer, if it is not older than some seconds."""
        return self._heirs if monotonic() - self._asked_at < within else None

    @property
    def is_used(self) -> bool:
        """Whether anybody has asked, so that the store has writes that replicas must confirm."""
        return self._heirs is not None

    def learn(self, heirs: Heirs, asked_at: float) -> Heirs:
        """Keep an answer, with the time of the question."""
        self._heirs, self._asked_at = heirs, asked_at
        return heirs

    def doubt(self) -> None:
        """A batch was not confirmed, so ask sooner."""
        self._asked_at = min(self._asked_at, monotonic() - FRESH + FRESH_AFTER_FAILURE)


def heirs_of(info: Mapping[str, str], named: int | None) -> Heirs:
    """The heirs of a primary.

    Args:
        info: Its INFO; empty if the user may not ask.
        named: How many replicas those name who promote; None if nobody does, and the primary's own count is used.
    """
    rows = (row for name, row in info.items() if name.startswith("slave") and name[5:].isdigit())
    online = sum("state=online" in row for row in rows)
    return Heirs(max(1, online if named is None else named), info.get("master_replid", ""))


OF_THE_CLUSTER = Heirs(ALL)
"""The link to a cluster puts in the number of replicas of each node."""


def is_unguarded(info: Mapping[str, str]) -> bool:
    """Whether a primary with replicas continues to accept writes after all of them have left it; by its INFO."""
    return "slave0" in info and "min_slaves_good_slaves" not in info
