"""One HTTP POST with limits. It connects to the address that was checked.

It follows no redirect and uses no proxy of the environment. It reads only the head of the response and the
beginning of an error's body, and ignores the length that the server states.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from jobfleet.clock import monotonic
from jobfleet.errors import ConfigError
from jobfleet.notify.address import Resolver, permitted, system_resolver
from jobfleet.notify.channel import NotDelivered

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
