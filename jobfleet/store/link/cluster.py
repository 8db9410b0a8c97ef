"""The map of a cluster's slots: which node serves which, how it stays up to date, and redirections. No I/O."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError, TryAgainError

from jobfleet.clock import monotonic
from jobfleet.errors import ConfigError
from jobfleet.store.call import ALL as ALL_HEIRS
from jobfleet.store.call import Argument, Command
from jobfleet.store.replies import CONNECTION_ERRORS, set_node
from jobfleet.store.target import Address, ClusterSeeds

ASK_SLOTS: Command = ("CLUSTER", "SLOTS")
ALL, ANY, CALLED = -1, -2, -3
"""Instead of a slot: the command is for all primaries, for any of them, or for all that commands before it go to."""
WAITS = frozenset(("WAIT", "WAITAOF"))
WAIT_ALL: Command = ("WAIT", ALL_HEIRS)
"""The beginning of a wait for all replicas of each node that is called; the link puts in their number."""
_KEY_AT = {"EVALSHA": 3, "EVALSHA_RO": 3, "EVAL": 3, "EVAL_RO": 3, "FCALL": 3, "FCALL_RO": 3, "XREADGROUP": 7}
_KEYLESS = {
    "TIME": ALL,
    "SCRIPT": ALL,
    "FUNCTION": ALL,
    "INFO": ANY,
    "PING": ANY,
    "CLUSTER": ANY,
    "WAIT": CALLED,
    "WAITAOF": CALLED,
}


def slot_of(command: Command) -> int:
    """Return the slot of a command, or `ALL`, `ANY` or `CALLED`. All keys of a command share a slot."""
    verb: Any = command[0]
    keyless = _KEYLESS.get(verb)
    if keyless is not None:
        return keyless
    return int(key_slot(_as_bytes(command[_KEY_AT.get(verb, 1)])))


def _as_bytes(key: Argument) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


class SlotMap:
    """The slots of a cluster.

    Args:
        reply: The reply to `ASK_SLOTS`.
        asked: The address of the node that replied; a node that does not know its own address names none.

    Attributes:
        primaries: The addresses of the primaries.
        replicas: The addresses of the replicas.
        id: Identifies the set of primaries. It changes when a replica takes over, and not when a slot moves.
    """

    __slots__ = ("_by_slot", "_heirs", "id", "primaries", "replicas")

    def __init__(self, reply: Any, asked: Address) -> None:
        self._by_slot: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        ids: dict[Address, str] = {}
        replicas: dict[Address, None] = {}
        self._heirs: dict[Address | None, int] = {}
        for first, last, primary, *others in reply:
            address = address_of(primary, asked)
            ids[address] = bytes(primary[2]).decode() if len(primary) > 2 else f"{address[0]}:{address[1]}"
            self._by_slot[first : last + 1] = [address] * (last + 1 - first)
            self._heirs[address] = len(others)
            replicas |= dict.fromkeys(address_of(other, asked) for other in others)
        self.primaries: tuple[Address, ...] = tuple(ids)
        self.replicas: tuple[Address, ...] = tuple(replicas)
        self.id: str = ",".join(sorted(ids.values()))

    def __getitem__(self, slot: int) -> Address | None:
        """The address of the node that serves a slot; None if none does."""
        return self._by_slot[slot]

    def heirs(self, address: Address | None) -> int:
        """How many replicas of a primary must confirm: all that the cluster does not hold for failed; at least one."""
        return max(1, self._heirs.get(address, 0))

    def counted(self, address: Address | None, commands: Sequence[Command], numbers: Sequence[int]) -> list[Command]:
        """Return some commands for a node, with the number of its replicas where a wait is for all of them."""
        every = (commands[number] for number in numbers)
        return [("WAIT", self.heirs(address), *one[2:]) if one[:2] == WAIT_ALL else one for one in every]

    def moved(self, slot: int, address: Address) -> None:
        """Record that another node serves a slot."""
        self._by_slot[slot] = address
        if address not in self.primaries:
            self.primaries = (*self.primaries, address)


def address_of(node: Sequence[Any], asked: Address) -> Address:
    """Return the address of a node in the reply; its host is missing, or '?', if the node does not know it."""
    host = bytes(node[0] or b"").decode()
    return (host if host not in ("", "?") else asked[0]), int(node[1])


def parts_of(
    commands: Sequence[Command], slots: SlotMap, silent: Collection[Address | None] = ()
) -> Iterator[tuple[int, Address | None]]:
    """Yield the number of each command with the node to send it to; several nodes for some, None if none serves it.

    Args:
        commands: The commands.
        slots: The map.
        silent: Nodes that did not reply. Their clocks are not read, because that would delay calls to other nodes.
    """
    primaries = slots.primaries
    called: dict[Address | None, None] = {}
    for number, command in enumerate(commands):
        slot = slot_of(command)
        if slot >= 0:
            called[slots[slot]] = None
            yield number, slots[slot]
            continue
        chosen: Sequence[Address | None] = [one for one in primaries if one not in silent] or primaries
        if slot == ANY:
            chosen = chosen[:1]
        elif slot == CALLED:
            chosen = list(called)
        elif command[0] != "TIME":
            chosen = primaries
        for address in chosen or (None,):
            yield number, address


def merged(command: Command, replies: Sequence[Any]) -> Any:
    """Return one reply in the place of those of several nodes.

    Of several clocks the one that is ahead counts, so that an estimate is never behind any of them. A node that does
    not reply is ignored there, because its clock matters to nobody until it replies. Of several waits the one that was
    confirmed least counts.
    """
    errors = [reply for reply in replies if isinstance(reply, BaseException)]
    if command[0] == "TIME":
        times = [reply for reply in replies if not isinstance(reply, BaseException)]
        return max(times, key=lambda time: (int(time[0]), int(time[1]))) if times else errors[0]
    if errors or command[0] not in WAITS:
        return errors[0] if errors else replies[0]
    return min(replies) if command[0] == "WAIT" else [min(counts) for counts in zip(*replies, strict=True)]


EVERY = 60.0
"""Seconds after which the map is read again; up to a quarter less, so that clients do not ask all at once."""
SOON = 0.1
"""Minimum seconds between two readings after a sign that the map is outdated."""
LEAST = 0.2
"""Minimum time limit in seconds for one node that is asked for the map."""
REDIRECTIONS = 5
"""Redirections that a command follows within one exchange."""
ASKING: Command = ("ASKING",)
_MOVING = TryAgainError("TRYAGAIN the slot is being moved")
_MIGRATING = "to access a non local key"
"""A script met a key that has moved already: it has only read so far, because it writes none but declared keys."""


class Detour(NamedTuple):
    """Where to send commands again.

    Attributes:
        address: The node.
        is_asking: Whether the node serves the slot only after `ASKING`, because the slot is being moved to it.
    """

    address: Address
    is_asking: bool


class Router:
    """Knows the slots of a cluster.

    Args:
        seeds: The nodes in the URL.
        shown: The masked URL.
        timeout: Time limit in seconds for reading the map from all nodes.

    Attributes:
        slots: The map; None before the first reading.
    """

    def __init__(self, seeds: ClusterSeeds, shown: str, *, timeout: float) -> None:
        self._seeds = seeds
        self._shown = shown
        self._timeout = timeout
        self._next = 0.0
        self._read_at = float("-inf")
        self._silent: set[Address | None] = set()
        self._failed: set[Address | None] = set()
        self._is_known = False
        self.slots: SlotMap | None = None

    def is_due(self) -> bool:
        """Whether to read the map now. Returns true once: meanwhile other callers use the present map."""
        if self.slots is not None and monotonic() < self._next:
            return False
        self._plan(EVERY)
        return True

    def address(self, key: str) -> Address | None:
        """The node that serves the slot of a key; None if none does, or if the map was not read yet."""
        return self.slots[slot_of(("EXISTS", key))] if self.slots is not None else None

    def is_away(self, key: str) -> bool:
        """Whether no node serves the slot of a key, or its node did not reply when it was last asked."""
        address = self.address(key)
        return self.slots is not None and (address is None or address in self._silent)

    def outdated(self) -> None:
        """Record a sign that the map is outdated; it is read again before the next exchange, but not all the time."""
        self._next = min(self._next, self._read_at + SOON * random.uniform(0.75, 1.0))

    def candidates(self) -> list[Address]:
        """The nodes to ask for the map, in this order."""
        known = [*self.slots.primaries, *self.slots.replicas] if self.slots is not None else []
        known = [one for one in known if one not in self._silent]
        random.shuffle(known)
        seeds = random.sample(self._seeds.hosts, len(self._seeds.hosts))
        return list(dict.fromkeys([*known, *seeds, *filter(None, self._silent)]))

    def not_learnt(self) -> None:
        """Record that no node has replied: the whole cluster may be away."""
        self._is_known = False
        self.outdated()

    def share(self, candidates: Sequence[Address]) -> float:
        """The time limit for one of these nodes."""
        return max(LEAST, self._timeout / (len(candidates) + 1))

    def learn(self, reply: Any, asked: Address) -> None:
        """Process the reply to `ASK_SLOTS`.

        Raises:
            ConfigError: The node is not part of a cluster.
            redis.RedisError: The node cannot tell.
        """
        if isinstance(reply, BaseException):
            if "cluster support disabled" in str(reply):
                raise ConfigError(
                    f"The server at {self._shown} is not a cluster. Write the URL as redis://HOST:6379/0."
                )
            raise reply
        slots = SlotMap(reply, asked)
        if not slots.primaries:
            raise ClusterDownError("CLUSTERDOWN Hash slot not served")
        self.slots = slots
        self._is_known = True
        self._seeds.primaries[:] = slots.primaries
        self._silent &= set(slots.primaries)
        self._failed &= set(slots.primaries)
        self._plan(EVERY)

    def parts(self, commands: Sequence[Command], slots: SlotMap) -> dict[Address | None, list[int]]:
        """Group the numbers of commands by the node to send them to; None for those that no node serves."""
        parts: dict[Address | None, list[int]] = {}
        for number, address in parts_of(commands, slots, self._silent):
            parts.setdefault(address, []).append(number)
        return parts

    def joined(
        self, commands: Sequence[Command], parts: Mapping[Address | None, Sequence[int]], replies: Iterable[list[Any]]
    ) -> list[Any]:
        """Return one reply per command, in their order.

        Args:
            commands: The commands.
            parts: The numbers of the commands by node.
            replies: The replies of each node, in the order of `parts`.
        """
        found: list[list[Any]] = [[] for _ in commands]
        for (address, numbers), part in zip(parts.items(), replies, strict=True):
            self.heard(address, part)
            for number, reply in zip(numbers, part, strict=True):
                found[number].append(self._beyond(commands[number], address, reply))
        return [
            some[0] if len(some) == 1 else merged(command, some) for command, some in zip(commands, found, strict=True)
        ]

    def _beyond(self, command: Command, address: Address | None, reply: Any) -> Any:
        """The reply to a wait for all replicas of a node, less their number: below 0 if some have not confirmed."""
        if command[:2] != WAIT_ALL or not isinstance(reply, int) or self.slots is None:
            return reply
        return reply - self.slots.heirs(address)

    def heard(self, address: Address | None, replies: Sequence[Any]) -> None:
        """Look for a sign that the map is outdated: a node is away, or is not a primary any more."""
        last = replies[-1]  # after an error of the connection, no reply follows
        if not isinstance(last, BaseException):
            if self._failed:
                self._silent.discard(address)
                self._failed.discard(address)
            return
        if isinstance(last, (*CONNECTION_ERRORS, ReadOnlyError, ClusterDownError)):
            self.outdated()
            if isinstance(last, CONNECTION_ERRORS):
                self._silent.add(address)
            self._note_node(last, address)

    def _note_node(self, error: BaseException, address: Address | None) -> None:
        """Note in an error which node it is about, unless all of them may be away or down."""
        self._failed.add(address)
        primaries = self.slots.primaries if self.slots is not None and self._is_known else ()
        if address is not None and not self._failed.issuperset(primaries):
            set_node(error, f"{address[0]}:{address[1]}")

    def detours(
        self, commands: Sequence[Command], replies: list[Any], asked: Mapping[int, Address]
    ) -> dict[Detour, list[int]]:
        """Return the commands to send again, by node. Change other replies about moving slots to errors to retry.

        A script does not follow its keys to a node that only some of them have reached: there, a key that it does not
        declare and that has not come yet looks as if it did not exist. The script is retried until the slot has moved.

        Args:
            commands: The commands.
            replies: A reply per command.
            asked: The node that was asked, by the number of the command; a redirection may name no host.
        """
        found: dict[Detour, list[int]] = {}
        for number, reply in enumerate(replies):
            if not isinstance(reply, ResponseError):
                continue
            if isinstance(reply, AskError):
                address = (reply.host or asked[number][0], reply.port)
                if isinstance(reply, MovedError):
                    self._note_move(reply.slot_id, address)
                    found.setdefault(Detour(address, is_asking=False), []).append(number)
                elif str(commands[number][0]).startswith("EVAL"):
                    replies[number] = _MOVING
                else:
                    found.setdefault(Detour(address, is_asking=True), []).append(number)
            elif _MIGRATING in str(reply):
                replies[number] = _MOVING
        if found:  # a wait has not covered what is sent again
            waits = [number for number, command in enumerate(commands) if command[0] in WAITS]
            replies[:] = [_MOVING if number in waits else reply for number, reply in enumerate(replies)]
        return found

    def _note_move(self, slot: int, address: Address) -> None:
        if self.slots is not None:
            self.slots.moved(slot, address)
            self.outdated()

    @staticmethod
    def given_up(replies: list[Any]) -> list[Any]:
        """Change redirections that were not followed to errors that the store retries."""
        return [
            TryAgainError("TRYAGAIN too many redirections") if isinstance(reply, AskError) else reply
            for reply in replies
        ]

    def _plan(self, seconds: float) -> None:
        self._read_at = monotonic()
        self._next = self._read_at + seconds * random.uniform(0.75, 1.0)


def with_asking(commands: Sequence[Command], numbers: Sequence[int], to: Detour) -> list[Command]:
    """Return some commands for another node, each after `ASKING` if the node needs that."""
    if not to.is_asking:
        return [commands[number] for number in numbers]
    return [command for number in numbers for command in (ASKING, commands[number])]
