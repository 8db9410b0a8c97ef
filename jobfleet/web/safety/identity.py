"""Find out who sends a request: a token, a trusted proxy, a session, the host application, or this machine."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from starlette.requests import HTTPConnection

from jobfleet.errors import JobfleetError
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.safety.access import Access, User
from jobfleet.web.safety.access_watch import AccessWatch
from jobfleet.web.safety.caller import Caller, Role
from jobfleet.web.safety.entrance import SEAT_COOKIE, SESSION_COOKIE, Entrance, is_loopback
from jobfleet.web.safety.passwords import hash_token
from jobfleet.web.safety.sessions import Sessions

if TYPE_CHECKING:
    from jobfleet.config import JobConfig

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""A proxy adds one of these: then the request may come from another machine, though the proxy is on this one."""
OPEN_NAME = "web"
"""Name of a caller where there is no user."""

Identify = Callable[[HTTPConnection], tuple[str, str] | None]
"""The login of a host application: returns the name and the role of who sends a request, or None."""


class Identity:
    """Finds out who sends a request.

    Args:
        config: The settings.
        identify: The login of the host application, if it has one. Then only tokens count beside it.

    Attributes:
        entrance: How requests arrive.
        sessions: The logins.
        on_link: Called with the address of a browser and the next token, when that browser has used the one before.
    """

    def __init__(self, config: JobConfig, identify: Identify | None = None) -> None:
        self._file = AccessWatch(config.web_access)
        self.entrance: Entrance = Entrance(config)
        self._opener = User(OPEN_NAME, Role(config.web_open_role))
        self.sessions: Sessions = Sessions(config.web_session, self._opener)
        self._is_open = config.web_open_access
        self._identify = identify
        self._link = ""
        self.on_link: Callable[[str, str], None] = lambda _address, _token: None
        self._listening = config.web_host.strip("[]").lower()

    @property
    def login(self) -> Literal["password", "token", ""]:
        """What people log in with; empty if they do not log in here."""
        if self._identify is not None:
            return ""
        if self._file.read().users:
            return "password"
        return "" if self._is_open else "token"

    @property
    def changes(self) -> object:
        """Another value once a user, a token or a session may have ended."""
        return self._file.mark, self.sessions.ended

    def has_user(self, name: str) -> bool:
        """Whether the access file has a user of this name."""
        return name in self._file.read().users

    def rate_key(self, connection: HTTPConnection) -> str:
        """Whose requests are counted together: of an address, or, behind a trusted proxy, of a user or a token."""
        address = "" if connection.client is None else connection.client.host
        if not self.entrance.trusts(address):  # a trusted proxy that does not say whom it serves
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
        seat = self.entrance.cookie(SEAT_COOKIE, connection)
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
        secret = self.entrance.cookie(SESSION_COOKIE, connection)
        if secret and (user := self.sessions.user(access, secret)) is not None:
            return Caller(user.name, user.role, key=secret, can_log_out=True)
        if access.users or self.entrance.has_proxies or not self._is_open:
            return None
        return self._in_the_open(connection, seat)

    def _by_token(self, text: str) -> Caller:
        access = self._file.read()
        token = access.token(text)
        if token is None and self._is_link(access, text):
            return Caller(self._opener.name, self._opener.role, is_ambient=False)
        if token is None:
            raise refusal("unauthenticated", "The token is wrong or was revoked.", {"WWW-Authenticate": "Bearer"})
        return Caller(token.name, token.role, is_ambient=False)

    def _named_by_proxy(self, connection: HTTPConnection) -> str | None:
        """The name in the header of a trusted proxy; the header of anybody else does not count."""
        peer = connection.scope.get("jobfleet.peer")  # the client is whom it has served
        if self.entrance.login_header is None or not self.entrance.trusts(peer[0] if peer else ""):
            return None
        names = connection.headers.getlist(self.entrance.login_header)
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
        return Caller(self._opener.name, self._opener.role, key=seat)

    async def log_in(self, name: str, password: str, address: str) -> str:
        """Start a session; return its secret. Raises as `Sessions.log_in`."""
        return await self.sessions.log_in(self._file.read(), name, password, address)

    # ------------------------------------------------------------------------------------------ the printed address

    def new_link(self) -> str:
        """Make the token of the printed address. It lets one browser in; until then, programs may send it too."""
        token = secrets.token_urlsafe(24)
        self._link = hash_token(token)
        return token

    def use_link(self, token: str, address: str) -> str:
        """Start a session with the token of the printed address, which is used up; return the secret of the session.

        Raises:
            Problem: It is another token, was used before, or there is a user.
        """
        if not self._is_link(self._file.read(), token):
            raise refusal(
                "unauthenticated",
                "The token is wrong, or was used before: use the one that the dashboard has printed last. If it has "
                "printed none, restart it, or run 'jobfleet web user add NAME'.",
            )
        self.on_link(address, self.new_link())
        return self.sessions.open()

    def _is_link(self, access: Access, token: str) -> bool:
        given = hash_token(token)
        return not access.users and hmac.compare_digest(given, self._link or "none")


def host_of(headers: Mapping[str, str]) -> str:
    """The name in the Host header, without a port, in lower case."""
    host = headers.get("host", "").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def new_seat() -> str:
    """A random value for a browser."""
    return secrets.token_urlsafe(24)


def csrf_token(key: str) -> str:
    """The token that a write of a page has to carry: made of a cookie that other sites cannot read."""
    return hmac.new(key.encode(), b"csrf", sha256).hexdigest()


def signed(key: str, text: str) -> str:
    """A mark that shows that the dashboard itself has written a text into an address."""
    return hmac.new(key.encode(), b"note " + text.encode(), sha256).hexdigest()[:32]
