"""Checks the addresses that a channel connects to. Private addresses are refused unless they are allowed."""

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
_INSIDE = (  # Python, or some versions of it, take these for public
    IPv4Network("168.63.129.16/32"),  # what Azure serves each machine: its agent, DNS and health
    IPv6Network("64:ff9b:1::/48"),  # local-use translation
    IPv6Network("fec0::/10"),  # site-local, deprecated
    IPv6Network("3fff::/20"),  # documentation
    IPv4Network("192.0.0.0/24"),  # protocol assignments; clouds serve their machines there
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, deprecated
)


class AddressRefused(NotDelivered):
    """All addresses of a host are private, and private addresses are not allowed."""


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet: not private, loopback, link-local, shared or reserved.

    Args:
        text: An IPv4 or IPv6 address; a zone after ``%`` is ignored.
    """
    address = _unwrapped(ip_address(text.partition("%")[0]))
    if any(address in network for network in _INSIDE):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that is embedded in an IPv6 address, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    teredo = address.teredo
    inside = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
    if inside is None and (address in _TRANSLATED or int(address) >> 32 == 0):
        inside = IPv4Address(int(address) & 0xFFFF_FFFF)
    return address if inside is None else inside


def system_resolver(host: str, port: int) -> list[str]:
    """Return the addresses of a host by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def permitted(
    host: str, port: int, *, allow_private: bool, timeout: float, resolver: Resolver = system_resolver
) -> list[str]:
    """Resolve a host once and return the addresses to connect to. The name must not be resolved again.

    Args:
        host: A name or an address.
        port: The port, which the resolver needs.
        allow_private: Whether private addresses are allowed.
        timeout: Longest time to resolve, in seconds.
        resolver: Returns the addresses of a host and port; default the system's.

    Raises:
        NotDelivered: The host is unknown, or resolving took too long.
        AddressRefused: All its addresses are private.
    """
    addresses = _resolved(host, port, timeout, resolver)
    fine = [address for address in addresses if allow_private or is_public(address)]
    if not fine:
        raise AddressRefused(
            f"{host} leads to {', '.join(addresses)}, which is not public; allow_private=True allows that."
        )
    return fine


def _resolved(host: str, port: int, timeout: float, resolver: Resolver) -> Sequence[str]:
    """Resolve in a thread, because the system's resolver has no time limit."""
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
