"""Which node serves which slot, and which slot a command is for. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from jobfleet.store.call import Argument, Command
from jobfleet.store.round_trip.barrier import ALL as ALL_HEIRS
from jobfleet.store.server.hosts import Address

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
