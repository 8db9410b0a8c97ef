"""Find out who sends a request: a token, a trusted proxy, a session, the host application, or this machine."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from jobfleet.errors import JobfleetError
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.safety.access_watch import AccessWatch
from jobfleet.web.safety.caller import Caller, Role
from jobfleet.web.safety.sessions import Sessions

if TYPE_CHECKING:
    from jobfleet.config import JobConfig

SESSION_COOKIE, SEAT_COOKIE = "jobfleet_session", "jobfleet_seat"
"""The secret of a login; and a random value of a browser without one, which its CSRF token is made of."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""A proxy adds one of these: then the request may come from another machine, though the proxy is on this one."""
OPEN_NAME = "web"
"""Name of a caller where nobody logs in."""

Identify = Callable[[HTTPConnection], tuple[str, str] | None]
"""The login of a host application: returns the name and the role of who sends a request, or None."""


class Identity:
    """Finds out who sends a request.

    Args:
        config: The settings.
        identify: The login of the host application, if it has one. Then only tokens count beside it.
    """

    def __init__(self, config: JobConfig, identify: Identify | None = None) -> None:
        self._file = AccessWatch(config.web_access)
        self.sessions: Sessions = Sessions(config.web_session)
        self._open_role = Role(config.web_open_role)
        self._proxies = frozenset(map(_address, config.web_proxies))
        self._header = config.web_proxy_header
        self._identify = identify
        self._listening = config.web_host.strip("[]").lower()

    @property
    def has_login(self) -> bool:
        """Whether people log in here."""
        return self._identify is None and bool(self._file.read().users)

    def has_user(self, name: str) -> bool:
        """Whether the access file has a user of this name."""
        return name in self._file.read().users

    def rate_key(self, connection: HTTPConnection) -> str:
        """Whose requests are counted together: of an address, or, behind a trusted proxy, of a user or a token."""
        address = "" if connection.client is None else connection.client.host
        if _address(address) not in self._proxies:
            return address
        try:
            caller = self.caller(connection)
        except (Problem, JobfleetError):  # what is refused later counts together
            return address
        return address if caller is None else f"{address} {'user' if caller.is_ambient else 'token'} {caller.name}"

    def caller(self, connection: HTTPConnection) -> Caller | None:
        """Who sends a request; None if that is not known.

        Raises:
            Problem: The token is wrong, the name of the host is not one of this machine, or the access file cannot be
                used.
        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer"  # a proxy may pass its own basic authentication on
        seat = connection.cookies.get(SEAT_COOKIE, "")
        if self._identify is not None and (found := self._identify(connection)) is not None:
            return Caller(found[0], Role(found[1]), is_ambient=not is_bearer, key=seat)
        if is_bearer:
            return self._by_token(token.strip())
        if self._identify is not None:
            return None
        access = self._file.read()
        if (name := self._named_by_proxy(connection)) is not None:
            user = access.users.get(name)
            if user is None:
                raise refusal("forbidden", "The proxy names a user that the access file does not have.")
            return Caller(user.name, user.role, key=seat)
        secret = connection.cookies.get(SESSION_COOKIE, "")
        if secret and (user := self.sessions.user(access, secret)) is not None:
            return Caller(user.name, user.role, key=secret, can_log_out=True)
        if access.users or self._proxies:
            return None
        return self._in_the_open(connection, seat)

    def _by_token(self, text: str) -> Caller:
        token = self._file.read().token(text)
        if token is None:
            raise refusal("unauthenticated", "The token is wrong or was revoked.", {"WWW-Authenticate": "Bearer"})
        return Caller(token.name, token.role, is_ambient=False)

    def _named_by_proxy(self, connection: HTTPConnection) -> str | None:
        """The name in the header of a trusted proxy; the header of anybody else does not count."""
        if connection.client is None or _address(connection.client.host) not in self._proxies:
            return None
        names = connection.headers.getlist(self._header)
        return names[0] if len(names) == 1 else None

    def _in_the_open(self, connection: HTTPConnection, seat: str) -> Caller | None:
        """A caller on this machine, where there is no user. The name of the host is checked against DNS rebinding."""
        if not is_loopback("" if connection.client is None else connection.client.host):
            return None
        if any(name in connection.headers for name in FORWARDED):
            raise refusal("behind-proxy")
        if host_of(connection.headers) not in LOCAL_NAMES | {self._listening, f"[{self._listening}]"}:
            raise refusal(
                "wrong-host",
                "Without a user, the dashboard answers to localhost only: run 'jobfleet web user add NAME'.",
            )
        return Caller(OPEN_NAME, self._open_role, key=seat)

    async def log_in(self, name: str, password: str, address: str) -> str:
        """Start a session; return its secret. Raises as `Sessions.log_in`."""
        is_shared = _address(address) in self._proxies  # then one user could lock all others out
        return await self.sessions.log_in(self._file.read(), name, password, "" if is_shared else address)


def host_of(headers: Mapping[str, str]) -> str:
    """The name in the Host header, without a port, in lower case."""
    host = headers.get("host", "").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _address(text: str) -> str:
    """One spelling of an address."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return text


def new_seat() -> str:
    """A random value for a browser."""
    return secrets.token_urlsafe(24)


def csrf_token(key: str) -> str:
    """The token that a write of a page has to carry: made of a cookie that other sites cannot read."""
    return hmac.new(key.encode(), b"csrf", sha256).hexdigest()


def signed(key: str, text: str) -> str:
    """A mark that shows that the dashboard itself has written a text into an address."""
    return hmac.new(key.encode(), b"note " + text.encode(), sha256).hexdigest()[:32]
