"""Which addresses may be connected to: none that lead inside, unless they are allowed."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from jobfleet.notify.channel import NotDelivered

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

_TRANSLATED = IPv6Network("64:ff9b::/96")
_INSIDE = (  # not known as such to every Python
    IPv6Network("64:ff9b:1::/48"),  # translated, inside
    IPv6Network("fec0::/10"),  # site-local, of old
    IPv6Network("3fff::/20"),  # documentation
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, of old
)


class AddressRefused(NotDelivered):
    """Every address of a host leads inside, and that is not allowed."""


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet: not private, loopback, link-local, shared or reserved."""
    address = _unwrapped(ip_address(text.partition("%")[0]))
    if any(address in network for network in _INSIDE):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    teredo = address.teredo
    inside = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
    if inside is None and (address in _TRANSLATED or int(address) >> 32 == 0):
        inside = IPv4Address(int(address) & 0xFFFF_FFFF)
    return address if inside is None else inside


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that the system knows for a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def permitted(
    host: str, port: int, *, allow_private: bool, timeout: float, resolver: Resolver = system_resolver
) -> list[str]:
    """Resolve a host once; what is answered are addresses to connect to, not names to resolve again.

    Args:
        host: A name or an address.
        allow_private: Whether addresses may lead inside.
        timeout: Seconds.
        resolver: What knows addresses.

    Raises:
        NotDelivered: The host is not known, or that takes too long.
        AddressRefused: All its addresses lead inside.
    """
    addresses = _resolved(host, port, timeout, resolver)
    fine = [address for address in addresses if allow_private or is_public(address)]
    if not fine:
        raise AddressRefused(
            f"{host} leads to {', '.join(addresses)}, which is not public; allow_private=True allows that."
        )
    return fine


def _resolved(host: str, port: int, timeout: float, resolver: Resolver) -> Sequence[str]:
    """Resolve in a thread, since the system's resolver knows no time limit."""
    answers: queue.SimpleQueue[Sequence[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolver(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="jobfleet-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise NotDelivered(f"Resolving {host} took longer than {timeout:.1f} s.") from None
    if isinstance(answer, Exception):
        raise NotDelivered(f"Cannot resolve {host}: {answer}.") from answer
    if not answer:
        raise NotDelivered(f"Cannot resolve {host}: it has no address.")
    return answer
