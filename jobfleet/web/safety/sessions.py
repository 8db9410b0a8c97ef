"""Sessions of people who have logged in with a password. They end with the process, by time, or at a logout."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from jobfleet.clock import monotonic
from jobfleet.web.errors import refusal
from jobfleet.web.safety.access import Access, User
from jobfleet.web.safety.lockout import LONGEST_DELAY, Delays
from jobfleet.web.safety.passwords import hash_password, hash_token, is_password

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
