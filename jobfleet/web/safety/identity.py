"""Find out who sends a request: a token, a trusted proxy, a session, the host application, or nobody."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from starlette.requests import HTTPConnection

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.safety.access import Access, AccessWatch, Caller, Role, User, hash_password, hash_token, is_password
from jobfleet.web.safety.entrance import SEAT_COOKIE, SESSION_COOKIE, Entrance, is_loopback
from jobfleet.web.safety.guard import LONGEST_DELAY, Delays

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


SESSIONS_MOST = 10_000
FREE, FREE_OF_MANY = 5, 20
"""Failures without a delay: of a name from one address; and of an address with any name, or of a name from anywhere."""
WAITING_MOST = 5
"""Logins of a name from an address that are delayed at once."""
HASHING_AT_ONCE = 2
"""Logins that are checked at once: each needs 32 MiB."""
QUEUED_OF_ADDRESS, QUEUED_MOST = 20, 100
"""Logins that may wait for that check, of an address and in all: without a limit, one client would delay all others."""


@contextlib.contextmanager
def _counted(counts: Counter[str], key: str) -> Iterator[None]:
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


@dataclass(frozen=True, slots=True)
class Session:
    """A login.

    Attributes:
        user: The name of the user; empty for a browser that has used the printed address.
        password: The hash of the password at that time; a new password ends the session.
        ends_at: When it ends, monotonic seconds.
    """

    user: str
    password: str
    ends_at: float


class Sessions:
    """The sessions of this process.

    Args:
        lasts: Seconds that a session lasts.
        opener: Who has used the printed address; such a session ends once there is a user.

    Attributes:
        ended: How many sessions have ended early.
    """

    def __init__(self, lasts: float, opener: User) -> None:
        self.lasts = lasts
        self.ended: int = 0
        self._opener = opener
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._pairs, self._many = Delays(FREE), Delays(FREE_OF_MANY)
        self._waiting: Counter[str] = Counter()
        self._queued: Counter[str] = Counter()
        self._hashing: asyncio.Semaphore | None = None
        self._nobody = ""

    async def log_in(self, access: Access, name: str, password: str, address: str) -> str:
        """Check a password and start a session; return its secret. After failures, it waits first.

        Raises:
            Problem: The name or the password is wrong, or too many logins wait.
        """
        user = await self._checked(access, name, password, address)
        return self._begin(name, user.password)

    def open(self) -> str:
        """Start the session of a browser that has used the printed address; return its secret."""
        return self._begin("", self._opener.password)

    def _begin(self, name: str, password: str) -> str:
        secret = secrets.token_urlsafe(32)
        self._sessions[hash_token(secret)] = Session(name, password, monotonic() + self.lasts)
        if len(self._sessions) > SESSIONS_MOST:
            self._sessions.popitem(last=False)
        return secret

    async def _checked(self, access: Access, name: str, password: str, address: str) -> User:
        """The user, if the password is right. Delays are looked at one by one, so that logins at once evade none."""
        pair, many, has_waited = f"{address} {name}", (f"address {address}", f"name {name}"), False
        while True:
            async with self._turn(address):
                delay = 0.0 if has_waited else max(self._pairs.of(pair), *map(self._many.of, many))
                if not delay:
                    user = access.users.get(name)
                    if await self._is_right(user, password) and user is not None:
                        self._pairs.succeeded(pair)
                        return user
                    self._pairs.failed(pair)
                    for key in many:
                        self._many.failed(key)
                    raise refusal("unauthenticated", "The name or the password is wrong.")
            await self._wait(pair, delay)
            has_waited = True

    @contextlib.asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        """Wait until a password may be checked; refuse a login if too many wait."""
        self._hashing = self._hashing or asyncio.Semaphore(HASHING_AT_ONCE)
        if self._queued[address] >= QUEUED_OF_ADDRESS or self._queued.total() >= QUEUED_MOST:
            raise refusal("locked-out", "Too many logins at once; try again in 2 s.", {"Retry-After": "2"})
        with _counted(self._queued, address):
            async with self._hashing:
                yield

    async def _wait(self, pair: str, delay: float) -> None:
        if self._waiting[pair] >= WAITING_MOST:
            text = f"Too many failed logins; try again in {LONGEST_DELAY:.0f} s."
            raise refusal("locked-out", text, {"Retry-After": f"{LONGEST_DELAY:.0f}"})
        with _counted(self._waiting, pair):
            await asyncio.sleep(delay)

    async def _is_right(self, user: User | None, password: str) -> bool:
        """Check a password in a thread; for a user that does not exist it takes as long."""
        if user is not None and user.password:
            return await asyncio.to_thread(is_password, password, user.password)
        self._nobody = self._nobody or await asyncio.to_thread(hash_password, secrets.token_hex())
        await asyncio.to_thread(is_password, password, self._nobody)
        return False

    def user(self, access: Access, secret: str) -> User | None:
        """The user of a session as the access file has the user now; None if the session has ended."""
        session = self._sessions.get(hash_token(secret))
        if session is None:
            return None
        user = access.users.get(session.user)
        if not session.user:
            user = None if access.users else self._opener
        if session.ends_at <= monotonic() or user is None or user.password != session.password:
            self.log_out(secret)
            return None
        return user

    def log_out(self, secret: str) -> None:
        """End a session."""
        if self._sessions.pop(hash_token(secret), None) is not None:
            self.ended += 1
