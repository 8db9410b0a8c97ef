"""`WebhookNotificationChannel`: a signed POST of JSON to an address that was checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import queue
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from jobfleet.clock import monotonic, wall_us
from jobfleet.errors import ConfigError, JobfleetError
from jobfleet.notify.channel import DeliveryRefused, NotDelivered, NotificationChannel, check_timeout
from jobfleet.notify.notice import Notification
from jobfleet.notify.text import as_data, one_line
from jobfleet.version import VERSION

# Signatures of webhooks by the Standard Webhooks specification: HMAC-SHA256 over id, timestamp and body.
#
# The headers are ``webhook-id``, ``webhook-timestamp`` (seconds since 1970) and ``webhook-signature``
# (``v1,`` and base64). Libraries in many languages verify them.


SECRET_PREFIX = "whsec_"
SECRET_LEAST = 16
TOLERANCE = 300.0


class SignatureRefused(JobfleetError):
    """A webhook's signature is wrong, or too old."""


def key_of(secret: str) -> bytes:
    """Return the key of a secret: the base64 after ``whsec_``, else the text itself.

    Args:
        secret: The secret.

    Raises:
        ConfigError: The key is shorter than 16 bytes, or not base64.
    """
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ConfigError(f"The webhook's secret is not base64 after {SECRET_PREFIX}.") from None
    else:
        key = secret.encode()
    if len(key) < SECRET_LEAST:
        raise ConfigError(f"The webhook's secret is too short; use {SECRET_LEAST} bytes or more.")
    return key


def sign(key: bytes, *, id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    Args:
        key: The key, from `key_of`.
        id: Id of the delivery.
        timestamp: Time of the delivery, in seconds since 1970.
        body: The body as it is sent.
    """
    signed = hmac.new(key, b"%s.%d.%s" % (id.encode(), timestamp, body), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def verify_webhook(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = TOLERANCE, now: float | None = None
) -> str:
    """Verify a webhook on the side of the receiver.

    Args:
        secret: The secret of the channel.
        headers: Headers of the request; the case of their names does not matter.
        body: Body of the request, unchanged.
        tolerance: Largest difference between its timestamp and now, in seconds; default 300.
        now: Current time, in seconds since 1970; default the clock's.

    Returns:
        The id of the delivery. A repetition has the same id.

    Raises:
        SignatureRefused: The webhook was not signed with this secret, or its timestamp differs too much.

    Example:
        >>> delivery = verify_webhook(SECRET, request.headers, request.body)
    """
    lower = {name.lower(): value for name, value in headers.items()}
    delivery, stamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    if not delivery or not (stamp.isascii() and stamp.isdigit()):
        raise SignatureRefused("The webhook has no webhook-id or no webhook-timestamp.")
    if abs((wall_us() / 1e6 if now is None else now) - int(stamp)) > tolerance:
        raise SignatureRefused("The webhook's timestamp is too far from now.")
    expected = sign(key_of(secret), id=delivery, timestamp=int(stamp), body=body).encode()
    given = lower.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected, one.encode()) for one in given):
        raise SignatureRefused("The webhook's signature is wrong.")
    return delivery


# Checks the addresses that a channel connects to. Private addresses are refused unless they are allowed.


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


RETRY_AFTER_MOST = 3600.0
_OWN_HEADERS = {"content-length", "content-type", "connection", "host", "transfer-encoding", "user-agent"}


class WebhookNotificationChannel(NotificationChannel):
    """POSTs notifications as JSON. A response of 2xx is a success, 410 gives up, any other is tried again.

    The body has a field ``text``, so that chat hooks (Slack, Mattermost, Rocket.Chat) accept it. A repetition has the
    same header ``webhook-id``.

    Args:
        url: The URL. It may contain a secret; only its host is ever shown.
        secret: Secret to sign the body with (HMAC-SHA256, 16 bytes or more); default no signature.
        name: Name of the channel; default ``webhook``.
        headers: Further headers, such as ``Authorization``.
        timeout: Longest time for the whole exchange, in seconds; default 10.
        allow_http: Whether a URL without TLS is allowed; default no.
        allow_private: Whether a private, loopback or link-local host is allowed; default no.
        ca_file: Certificates to trust in place of the system's.
        text_field: Name of the field ``text``, for example ``content`` for Discord.
        text_only: Whether to send only that field, for hooks that refuse unknown fields (Google Chat).
        body: Returns another body for a `Notification`, as plain data.
        resolver: Returns the addresses of a host and port; default the system's.

    Raises:
        ConfigError: The URL, the secret or a header is not valid.

    Example:
        >>> add_notification_channel(WebhookNotificationChannel("https://hooks.example.org/x", secret=SECRET))
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        name: str = "webhook",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        allow_http: bool = False,
        allow_private: bool = False,
        ca_file: str | None = None,
        text_field: str = "text",
        text_only: bool = False,
        body: Callable[[Notification], Any] | None = None,
        resolver: Resolver = system_resolver,
    ) -> None:
        self.name = name
        self.timeout: float = (
            check_timeout(timeout) + 5.0
        )  # so that the exchange times out before its thread is abandoned
        self._endpoint = endpoint_of(url, allow_http=allow_http)
        self._key = None if secret is None else key_of(secret)
        self._headers = dict(headers or {})
        check_headers(self._headers)
        for header in self._headers:
            if header.lower() in _OWN_HEADERS or header.lower().startswith("webhook-"):
                raise ConfigError(f"The channel sets the header {header!r} itself; leave it out.")
        self._text_field = text_field
        self._text_only = text_only
        self._body = body
        self._post = Post(
            self._endpoint, timeout=timeout, allow_private=allow_private, ca_file=ca_file, resolver=resolver
        )

    def describe(self) -> str:
        """Return the host, and whether the body is signed."""
        scheme = "https" if self._endpoint.is_secure else "http"
        return f"{scheme}://{self._endpoint.authority}/…{'' if self._key is None else ', signed'}"

    def send(self, notification: Notification) -> None:
        """POST a notification.

        Args:
            notification: The notification.

        Raises:
            NotDelivered: There was no response, or one other than 2xx and 410.
            DeliveryRefused: The server answered 410: the hook no longer exists.
        """
        body = json.dumps(self._content(notification), ensure_ascii=False, default=str).encode("utf-8", "replace")
        timestamp = wall_us() // 1_000_000
        headers = {
            "User-Agent": f"jobfleet/{VERSION}",
            "Content-Type": "application/json; charset=utf-8",
            **self._headers,
            "webhook-id": notification.id,
            "webhook-timestamp": str(timestamp),
        }
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, id=notification.id, timestamp=timestamp, body=body)
        answer = self._post.send(headers, body)
        if 200 <= answer.status < 300:
            return
        outcome = f"{self._endpoint.host} answered {answer.status}"
        if answer.status == 410:
            raise DeliveryRefused(f"{outcome}: the hook no longer exists.")
        if answer.status < 400:
            raise NotDelivered(f"{outcome}; redirects are not followed: set the URL that it redirects to.")
        excerpt = one_line(answer.excerpt)
        retry_after = min(answer.retry_after, RETRY_AFTER_MOST)
        raise NotDelivered(f"{outcome}{f': {excerpt}' if excerpt else ''}.", retry_after=retry_after)

    def _content(self, notification: Notification) -> Any:
        if self._body is not None:
            return self._body(notification)
        data = as_data(notification)
        text = {self._text_field: data.pop("text")}
        return text if self._text_only else text | data


# One HTTP POST with limits. It connects to the address that was checked.
#
# It follows no redirect and uses no proxy of the environment. It reads only the head of the response and the
# beginning of an error's body, and ignores the length that the server states.


HEAD_MOST: Final = 32_768
EXCERPT_MOST: Final = 512
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_RETRY_AFTER = re.compile(rb"^retry-after:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The target of a POST.

    Attributes:
        is_secure: Whether to use TLS.
        host: The name to resolve and to verify, without brackets.
        port: The port.
        target: Path and query.
    """

    is_secure: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port in the form of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The response.

    Attributes:
        status: HTTP status.
        retry_after: Value of the Retry-After header, in seconds; 0 without one.
        excerpt: Beginning of the body, for a status of 400 or more.
    """

    status: int
    retry_after: float
    excerpt: str


def endpoint_of(url: str, *, allow_http: bool) -> Endpoint:
    """Parse a URL. It may be secret, so no message shows more than its host.

    Args:
        url: The URL.
        allow_http: Whether ``http`` is allowed.

    Raises:
        ConfigError: The URL is not valid for a webhook.
    """
    if not isinstance(url, str):
        raise ConfigError("The webhook's URL is not a text; use https://host/path.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna" if not (parts.hostname or "").isascii() else "ascii").decode()
    except ValueError:
        raise ConfigError("The webhook's URL cannot be read; use https://host/path.") from None
    if parts.scheme not in {"https", "http"} or not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise ConfigError("The webhook's URL is not https://host/path; put credentials into headers.")
    if parts.scheme == "http" and not allow_http:
        raise ConfigError(f"The webhook at {host} is not https; allow_http=True allows that.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not re.fullmatch(r"[\x21-\x7e]+", target):
        raise ConfigError(f"The URL of the webhook at {host} has blanks or other characters; write them as %20.")
    return Endpoint(parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), target)


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that could inject further headers. No message shows their values.

    Args:
        headers: Values by name.

    Raises:
        ConfigError: A name or a value has characters that a header must not have.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigError(f"The header {name!r} has characters that a header must not have.")


@cache
def _context(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


class Post:
    """Sends POSTs to one endpoint.

    Args:
        endpoint: The target.
        timeout: Longest time for the whole exchange with name resolution, in seconds.
        allow_private: Whether the address may be private.
        ca_file: Certificates to trust in place of the system's.
        resolver: Returns the addresses of a host and port; default the system's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout: float,
        allow_private: bool,
        ca_file: str | None = None,
        resolver: Resolver = system_resolver,
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._allow_private = allow_private
        self._ca_file = ca_file
        self._resolver = resolver

    def send(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a body and read the head of the response.

        Args:
            headers: Headers besides Host, Content-Length and Connection.
            body: The body.

        Raises:
            NotDelivered: There was no response.
            ConfigError: A header is not valid.
        """
        check_headers(headers)
        deadline = monotonic() + self._timeout
        where = self._endpoint
        addresses = permitted(
            where.host, where.port, allow_private=self._allow_private, timeout=self._timeout, resolver=self._resolver
        )
        try:
            with self._connect(addresses, deadline) as connection:
                connection.settimeout(_left(deadline))
                connection.sendall(self._request(headers, body))
                return _answer(connection, deadline)
        except TimeoutError:
            raise NotDelivered(f"{where.host} did not answer within {self._timeout:g} s.") from None
        except OSError as error:  # ssl.SSLError is one
            raise NotDelivered(f"Cannot post to {where.host}: {_reason(error)}.") from error

    def _connect(self, addresses: list[str], deadline: float) -> socket.socket:
        for address in addresses:
            try:
                plain = socket.create_connection((address, self._endpoint.port), _left(deadline))
                break
            except TimeoutError:
                raise
            except OSError:
                if address == addresses[-1]:
                    raise
        if not self._endpoint.is_secure:
            return plain
        try:
            plain.settimeout(_left(deadline))
            return _context(self._ca_file).wrap_socket(plain, server_hostname=self._endpoint.host)
        except BaseException:
            plain.close()
            raise

    def _request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"POST {self._endpoint.target} HTTP/1.1", f"Host: {self._endpoint.authority}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused ({error.verify_message})"
    return error.strerror or str(error) or type(error).__name__


def _answer(connection: socket.socket, deadline: float) -> Answer:
    data = bytearray()
    while True:
        head = _HEAD_END.search(data)
        if head is None:
            if len(data) > HEAD_MOST:
                raise NotDelivered("The answer's head does not end.")
            if not _more(connection, deadline, data):
                raise NotDelivered("The answer broke off within its head.")
            continue
        status = _STATUS.match(data)
        if status is None:
            raise NotDelivered("The answer is not HTTP.")
        code, rest = int(status[1]), bytes(data[head.end() :])
        if code >= 200:
            break
        del data[: head.end()]  # 100 Continue and other interim responses
    retry_after = _RETRY_AFTER.search(bytes(data[: head.end()]))
    excerpt = _excerpt(connection, deadline, bytearray(rest)) if code >= 400 else ""
    return Answer(code, float(retry_after[1]) if retry_after else 0.0, excerpt)


def _more(connection: socket.socket, deadline: float, data: bytearray) -> bool:
    connection.settimeout(_left(deadline))
    chunk = connection.recv(4096)
    data += chunk
    return bool(chunk)


def _excerpt(connection: socket.socket, deadline: float, data: bytearray) -> str:
    """The beginning of a body, as much as arrives. It is only shown, so an error while reading is ignored."""
    try:
        while len(data) < EXCERPT_MOST and _more(connection, deadline, data):
            pass
    except OSError:
        pass
    return data[:EXCERPT_MOST].decode("utf-8", "replace")
