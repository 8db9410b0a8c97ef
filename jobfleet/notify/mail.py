"""`EmailNotificationChannel`: a mail by SMTP, as text and as HTML."""

from __future__ import annotations

import logging
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from typing import Literal

from jobfleet.errors import ConfigError
from jobfleet.notify.channel import DeliveryRefused, NotDelivered, NotificationChannel, check_timeout
from jobfleet.notify.notice import Notification
from jobfleet.notify.text import as_html, as_text, headline, one_line

log = logging.getLogger("jobfleet.notify")
Security = Literal["starttls", "tls", "none"]
PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}
SUBJECT_MOST = 150
_MAILBOX = re.compile(r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f-\U0010ffff]+@[A-Za-z0-9][A-Za-z0-9.-]*")
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_UNSAFE_ID = re.compile(r"[^A-Za-z0-9._-]")


class EmailNotificationChannel(NotificationChannel):
    """Sends notifications by mail.

    A mail that is sent again has the same ``Message-ID``. Where a server takes it for some recipients only, that is
    logged and the mail is not repeated; give each recipient a channel where that matters.

    Args:
        host: The SMTP server.
        sender: The From address; ``Jobs <jobs@example.com>`` or the address alone.
        to: Who gets it.
        port: The server's port; by default 587, 465 or 25, as `security` has it.
        security: ``starttls`` (refused where the server has none), ``tls`` from the start, or ``none``.
        username: For the login; none without one.
        password: For the login.
        name: The channel's name.
        subject_prefix: What subjects begin with.
        timeout: Seconds for the whole exchange.
        ca_file: Certificates to trust in place of the system's.

    Raises:
        ConfigError: An address is none, or a password would travel in the clear.
    """

    def __init__(
        self,
        host: str,
        *,
        sender: str,
        to: str | Sequence[str],
        port: int | None = None,
        security: Security = "starttls",
        username: str | None = None,
        password: str | None = None,
        name: str = "email",
        subject_prefix: str = "[jobfleet]",
        timeout: float = 30.0,
        ca_file: str | None = None,
    ) -> None:
        if security not in PORTS:
            raise ConfigError(f"security = {security!r}: use {', '.join(PORTS)}.")
        if not _HOST.fullmatch(host):
            raise ConfigError(f"host = {host!r}: use the name of an SMTP server.")
        if port is not None and not 0 < port < 65_536:
            raise ConfigError(f"port = {port!r}: use 1 to 65535.")
        if (username is None) != (password is None):
            raise ConfigError("Give both username and password, or none.")
        if password is not None and security == "none":
            raise ConfigError("A password does not travel in the clear; use security='starttls' or 'tls'.")
        self.name = name
        self.timeout = check_timeout(timeout) + 5.0  # the exchange ends by itself before its thread is given up
        self._host, self._port, self._security = host, port or PORTS[security], security
        self._login = None if username is None or password is None else (username, password)
        self._sender = _mailbox(sender)
        self._to = tuple(_mailbox(one) for one in ([to] if isinstance(to, str) else to))
        if not self._to:
            raise ConfigError("to is empty: name who gets the mail.")
        self._prefix = one_line(subject_prefix)
        self._seconds = timeout
        self._ca_file = ca_file

    def describe(self) -> str:
        """Its server, and who gets the mail."""
        return f"{', '.join(one.addr_spec for one in self._to)} by {self._host}:{self._port} ({self._security})"

    def message(self, notification: Notification) -> EmailMessage:
        """The mail, as it is sent."""
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = self._to
        message["Subject"] = f"{self._prefix} {one_line(headline(notification), SUBJECT_MOST)}".strip()
        message["Date"] = format_datetime(notification.made)
        fleet, delivery = (_UNSAFE_ID.sub("-", text) for text in (notification.namespace, notification.id))
        message["Message-ID"] = f"<{delivery}.{fleet}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-Jobfleet-Event"] = notification.event
        message["X-Jobfleet-Count"] = str(notification.count)
        message.set_content(as_text(notification))
        message.add_alternative(as_html(notification), subtype="html")
        return message

    def send(self, notification: Notification) -> None:
        """Send a mail.

        Raises:
            NotDelivered: The server was not there, too slow, or wants to be asked later.
            DeliveryRefused: The server refuses the mail, all its recipients or its sender for good.
        """
        try:
            message = self.message(notification)
        except (MessageError, ValueError) as error:
            raise DeliveryRefused(f"The notification makes no mail: {error}.") from error
        try:
            with self._session() as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            kind = DeliveryRefused if all(code >= 500 for code in codes) else NotDelivered
            raise kind(f"{self._host} refuses all recipients: {_replies(error.recipients)}.") from error
        except smtplib.SMTPAuthenticationError as error:
            raise NotDelivered(f"{self._host} refuses the login ({error.smtp_code}).") from None
        except smtplib.SMTPResponseException as error:
            is_final = isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError) and error.smtp_code >= 500
            kind = DeliveryRefused if is_final else NotDelivered
            raise kind(f"{self._host} answered {error.smtp_code} {_said(error.smtp_error)}.") from error
        except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: a socket closed by the watch
            raise NotDelivered(f"Cannot send mail by {self._host}: {self._told(error)}.") from error
        if refused:
            log.warning("notify.refused_in_part channel=%s %s", self.name, _replies(refused))

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A session that is logged in; whatever the server does, it is cut off when the time is over."""
        server = self._server()
        over = threading.Event()
        threading.Thread(target=_watch, args=(server, self._seconds, over), name="jobfleet-mail", daemon=True).start()
        try:
            code, reply = server.connect(self._host, self._port)
            if code != 220:
                raise NotDelivered(f"{self._host} answered {code} {_said(reply)}.")
            if self._security == "starttls":
                server.starttls(context=self._context())
            if self._login is not None:
                server.login(*self._login)
            yield server
            with suppress(OSError, smtplib.SMTPException, ValueError):  # the mail is taken; a bad farewell is none
                server.quit()
        finally:
            over.set()
            server.close()

    def _server(self) -> smtplib.SMTP:
        if self._security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(timeout=self._seconds, context=self._context())
        else:
            server = smtplib.SMTP(timeout=self._seconds)
        server._host = self._host  # type: ignore[attr-defined]  # noqa: SLF001 - verified by TLS; connect() sets none
        return server

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file)

    def _told(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is refused ({error.verify_message})"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._seconds:g} s"
        return one_line(str(error)) or type(error).__name__


def _watch(server: smtplib.SMTP, seconds: float, over: threading.Event) -> None:
    """Cut a session off that takes too long; more than once, since a handshake goes on beside its socket."""
    while not over.wait(seconds):
        if server.sock is not None:
            with suppress(OSError, ValueError):
                socket.socket.shutdown(server.sock, socket.SHUT_RDWR)
        seconds = 0.5


def _mailbox(text: str) -> Address:
    found = getaddresses([text]) if isinstance(text, str) and text.isprintable() else []
    shown, mailbox = found[0] if len(found) == 1 else ("", "")
    if not _MAILBOX.fullmatch(mailbox):
        raise ConfigError(f"{text!r} is no mail address.")
    user, _, domain = mailbox.rpartition("@")
    return Address(shown, user, domain)


def _said(reply: bytes | str) -> str:
    return one_line(reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply)


def _replies(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{who} ({code} {_said(reply)})" for who, (code, reply) in refused.items())
