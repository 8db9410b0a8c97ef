"""A real SMTP server in a thread, and what it got."""

from __future__ import annotations

import socket
import ssl
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "ann", "opensesame"


class _OnAnyPort(Controller):
    """A controller that knows its port where it was told none."""

    async def _create_server(self) -> Any:
        server: Any = await super()._create_server()
        self.port = server.sockets[0].getsockname()[1]
        return server


class Mailbox:
    """The server: takes mail, or answers what it is told.

    Args:
        context: Offers STARTTLS with it.
        from_the_start: Speaks TLS at once, with the same.
        needs_login: Takes mail from `USER` only.
        to: What it answers of recipients, by address; the others are taken.
        data: What it answers to the mail itself.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None = None,
        from_the_start: bool = False,
        needs_login: bool = False,
        to: dict[str, str] | None = None,
        data: str = "250 OK",
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[str] = []
        self.to, self.data = to or {}, data
        starttls = None if from_the_start else context
        self._controller = _OnAnyPort(
            self,
            hostname="127.0.0.1",
            port=0,
            ready_timeout=60,
            ssl_context=context if from_the_start else None,
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=needs_login,
            auth_require_tls=not from_the_start and needs_login,
            authenticator=self._authenticate if needs_login else None,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._controller.port)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address in self.to:
            return self.to[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Take a mail, or not."""
        if self.data.startswith("2"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.envelopes.append(envelope)
            self.mails.append(message_from_bytes(content, policy=policy.default))
        return self.data

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        self.logins.append(given.login.decode())
        is_right = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=is_right)


class ChannelEnd:
    """A server that says what it is told to, and then nothing or the same for ever; whoever calls must give up."""

    def __init__(self, first: bytes, *, again: bytes = b"") -> None:
        self._first, self._again = first, again
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.sendall(self._first)
            while not self._over.wait(0.01):
                try:
                    connection.sendall(self._again)
                except OSError:
                    return
