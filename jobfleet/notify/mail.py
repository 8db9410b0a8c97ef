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

log: logging.Logger = logging.getLogger("jobfleet.notify")
Security = Literal["starttls", "tls", "none"]
PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}
SUBJECT_MOST = 150
_MAILBOX = re.compile(r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f-\U0010ffff]+@[A-Za-z0-9][A-Za-z0-9.-]*")
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_UNSAFE_ID = re.compile(r"[^A-Za-z0-9._-]")


class EmailNotificationChannel(NotificationChannel):
    """Sends notifications by mail.

    A mail that is sent again has the same ``Message-ID``. If a server accepts the mail for some recipients only, the
    channel logs that and does not repeat the mail; use one channel per recipient to avoid that.

    Args:
        host: The SMTP server.
        sender: The From address: ``Jobs <jobs@example.com>`` or the address alone.
        to: The recipient or the recipients.
        port: Port of the server; default 587 for ``starttls``, 465 for ``tls``, 25 for ``none``.
        security: ``starttls`` (the default; fails if the server lacks it), ``tls`` from the start, or ``none``.
        username: User of the login; default no login.
        password: Password of the login. Requires ``starttls`` or ``tls``.
        name: Name of the channel; default ``email``.
        subject_prefix: Beginning of each subject; default ``[jobfleet]``.
        timeout: Longest time for the whole exchange, in seconds; default 30.
        ca_file: Certificates to trust in place of the system's.

    Raises:
        ConfigError: An address, host, port or login is not valid, or the password would be sent without encryption.
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
            raise ConfigError("Set both username and password, or neither.")
        if password is not None and security == "none":
            raise ConfigError("A password is not sent without encryption; use security='starttls' or 'tls'.")
        self.name = name
        self.timeout: float = (
            check_timeout(timeout) + 5.0
        )  # so that the exchange times out before its thread is abandoned
        self._host, self._port, self._security = host, port or PORTS[security], security
        self._login = None if username is None or password is None else (username, password)
        self._sender = _mailbox(sender)
        self._to = tuple(_mailbox(one) for one in ([to] if isinstance(to, str) else to))
        if not self._to:
            raise ConfigError("to is empty: name at least one recipient.")
        self._prefix = one_line(subject_prefix)
        self._seconds = timeout
        self._ca_file = ca_file

    def describe(self) -> str:
        """Return the recipients and the server."""
        return f"{', '.join(one.addr_spec for one in self._to)} by {self._host}:{self._port} ({self._security})"

    def message(self, notification: Notification) -> EmailMessage:
        """Return the mail for a notification."""
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = self._to
        message["Subject"] = f"{self._prefix} {one_line(headline(notification), SUBJECT_MOST)}".strip()
        message["Date"] = format_datetime(notification.made)
        fleet, delivery = (_UNSAFE_ID.sub("-", text) for text in (notification.namespace, notification.id))
        message["Message-ID"] = f"<{delivery}.{fleet}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-Jobfleet-Event"] = "trial" if notification.is_trial else notification.event
        message["X-Jobfleet-Count"] = str(notification.count)
        message.set_content(as_text(notification))
        message.add_alternative(as_html(notification), subtype="html")
        return message

    def send(self, notification: Notification) -> None:
        """Send a mail.

        Args:
            notification: The notification.

        Raises:
            NotDelivered: The server did not answer in time, or refused for now (4xx).
            DeliveryRefused: The server refused the mail, all recipients or the sender permanently (5xx).
        """
        try:
            message = self.message(notification)
        except (MessageError, ValueError) as error:
            raise DeliveryRefused(f"The notification cannot be written as a mail: {error}.") from error
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
            raise kind(f"{self._host} answered {error.smtp_code} {_shown(error.smtp_error)}.") from error
        except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: the watchdog closed the socket
            raise NotDelivered(f"Cannot send mail by {self._host}: {self._reason(error)}.") from error
        if refused:
            log.warning("notify.refused_in_part channel=%s %s", self.name, _replies(refused))

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A session after login. A watchdog thread closes it when the time limit is over."""
        server = self._server()
        over = threading.Event()
        threading.Thread(target=_watch, args=(server, self._seconds, over), name="jobfleet-mail", daemon=True).start()
        try:
            code, reply = server.connect(self._host, self._port)
            if code != 220:
                raise NotDelivered(f"{self._host} answered {code} {_shown(reply)}.")
            if self._security == "starttls":
                server.starttls(context=self._context())
            if self._login is not None:
                server.login(*self._login)
            yield server
            with suppress(
                OSError, smtplib.SMTPException, ValueError
            ):  # the mail is accepted; a failed QUIT does not matter
                server.quit()
        finally:
            over.set()
            server.close()

    def _server(self) -> smtplib.SMTP:
        if self._security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(timeout=self._seconds, context=self._context())
        else:
            server = smtplib.SMTP(timeout=self._seconds)
        server._host = self._host  # type: ignore[attr-defined]  # noqa: SLF001 - TLS verifies it; connect() does not set it
        return server

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is refused ({error.verify_message})"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._seconds:g} s"
        return one_line(str(error)) or type(error).__name__


def _watch(server: smtplib.SMTP, seconds: float, over: threading.Event) -> None:
    """Shut down the socket after a time limit. Repeat it, because a TLS handshake may replace the socket."""
    while not over.wait(seconds):
        if server.sock is not None:
            with suppress(OSError, ValueError):
                socket.socket.shutdown(server.sock, socket.SHUT_RDWR)
        seconds = 0.5


def _mailbox(text: str) -> Address:
    found = getaddresses([text]) if isinstance(text, str) and text.isprintable() else []
    shown, mailbox = found[0] if len(found) == 1 else ("", "")
    if not _MAILBOX.fullmatch(mailbox):
        raise ConfigError(f"{text!r} is not a mail address.")
    user, _, domain = mailbox.rpartition("@")
    return Address(shown, user, domain)


def _shown(reply: bytes | str) -> str:
    return one_line(reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply)


def _replies(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{who} ({code} {_shown(reply)})" for who, (code, reply) in refused.items())
