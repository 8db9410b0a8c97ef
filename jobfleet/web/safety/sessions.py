"""Sessions of people who have logged in with a password. They end with the process, by time, or at a logout."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from jobfleet.clock import monotonic
from jobfleet.web.errors import refusal
from jobfleet.web.safety.access import Access, User
from jobfleet.web.safety.lockout import Lockout
from jobfleet.web.safety.passwords import hash_password, hash_token, is_password

SESSIONS_MOST = 10_000
FAILURES_OF_ADDRESS, FAILURES_OF_NAME = 10, 5
HASHING_AT_ONCE = 2
"""Logins that are checked at once: each needs 32 MiB."""


@dataclass(frozen=True, slots=True)
class Session:
    """A login.

    Attributes:
        user: The name of the user.
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
    """

    def __init__(self, lasts: float) -> None:
        self.lasts = lasts
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._names = Lockout(FAILURES_OF_NAME)
        self._addresses = Lockout(FAILURES_OF_ADDRESS)
        self._hashing: asyncio.Semaphore | None = None
        self._nobody = ""

    async def log_in(self, access: Access, name: str, password: str, address: str) -> str:
        """Check a password and start a session; return its secret. An empty address is one that many users share.

        Raises:
            Problem: The name or the password is wrong, or there were too many failures.
        """
        user = await self._checked(access, name, password, address)
        secret = secrets.token_urlsafe(32)
        self._sessions[hash_token(secret)] = Session(name, user.password, monotonic() + self.lasts)
        if len(self._sessions) > SESSIONS_MOST:
            self._sessions.popitem(last=False)
        return secret

    async def _checked(self, access: Access, name: str, password: str, address: str) -> User:
        """The user, if the password is right. Logins wait here before the lock is looked at: they count one by one."""
        self._hashing = self._hashing or asyncio.Semaphore(HASHING_AT_ONCE)
        async with self._hashing:
            if left := max(self._names.left(name), self._addresses.left(address) if address else 0.0):
                text = f"Too many failed logins; try again in {math.ceil(left)} s."
                raise refusal("locked-out", text, {"Retry-After": str(math.ceil(left))})
            user = access.users.get(name)
            is_right = await self._is_right(user, password)
            if user is None or not is_right:
                self._names.failed(name)
                if address:
                    self._addresses.failed(address)
                raise refusal("unauthenticated", "The name or the password is wrong.")
            self._names.succeeded(name)
            self._addresses.succeeded(address)
            return user

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
        if session.ends_at <= monotonic() or user is None or user.password != session.password:
            self._sessions.pop(hash_token(secret), None)
            return None
        return user

    def log_out(self, secret: str) -> None:
        """End a session."""
        self._sessions.pop(hash_token(secret), None)
