"""How requests arrive: under which address, through which proxies, and with which cookies."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from jobfleet.errors import ConfigError, warn
from jobfleet.web.errors import refusal

if TYPE_CHECKING:
    from jobfleet.config import JobConfig

SESSION_COOKIE, SEAT_COOKIE = "jobfleet_session", "jobfleet_seat"
"""The secret of a login; and a random value of a browser without one, which its CSRF token is made of."""
_PORTS = {"http": ":80", "https": ":443"}


class Entrance:
    """How requests arrive.

    Args:
        config: The settings.

    Attributes:
        url: The address in browsers, without a slash at its end; None if it is the one that the server listens on.
        root: The path of that address, without a slash at its end.
        login_header: The header in which a trusted proxy names the user; None if no proxy may.

    Raises:
        ConfigError: Two settings contradict each other.
    """

    def __init__(self, config: JobConfig) -> None:
        words = config.web_trusted_proxies or config.web_proxies
        self._networks = tuple(ip_network(word.strip("[]"), strict=False) for word in words)
        header = config.web_login_header or config.web_proxy_header
        self.login_header: str | None = header if self._networks else None
        if config.web_login_header and not self._networks:
            raise ConfigError(
                f"web_login_header = {config.web_login_header!r} without web_trusted_proxies: name the proxies that "
                "set this header."
            )
        self.url: str | None = config.web_url
        parts = urlsplit(self.url or "")
        given = (config.web_root_path or "").rstrip("/")
        if parts.path and given and given != parts.path:
            raise ConfigError(f"web_root_path = {given!r}, but web_url = {self.url!r}: use the same path in both.")
        self.root: str = given or parts.path
        self._origin = origin_of(self.url) if self.url else ""
        _tell_former(config)

    @property
    def has_proxies(self) -> bool:
        """Whether there are trusted proxies."""
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        found = bare(address)
        return any(ip_address(found) in network for network in self._networks) if found else False

    def client_of(self, scope: Mapping[str, Any]) -> tuple[str, int] | None:
        """Where a request comes from: the last address of X-Forwarded-For that is not of a trusted proxy.

        Addresses before that one were written by somebody who is not trusted.
        """
        peer: tuple[str, int] | None = scope.get("client")
        if peer is None or not self.trusts(peer[0]):
            return peer
        lines = [text.decode("latin-1") for name, text in scope["headers"] if name == b"x-forwarded-for"]
        client = peer
        for hop in reversed(",".join(lines).split(",")):
            if not (address := bare(hop.strip())):
                break
            client = (address, 0)
            if not self.trusts(address):
                break
        return client

    def check_host(self, connection: HTTPConnection) -> None:
        """Refuse a request of a browser for another host than that of `web_url`.

        Raises:
            Problem: The Host header has another name.
        """
        scheme = urlsplit(self._origin).scheme
        if not self._origin or connection.headers.get("authorization", "")[:7].lower() == "bearer ":
            return  # a program inside of the network may use another name
        if origin_of(f"{scheme}://{connection.headers.get('host', '')}") != self._origin:
            raise refusal("wrong-host", f"The dashboard is at {self.url}; the proxy must pass the Host header on.")

    def check_origin(self, connection: HTTPConnection) -> None:
        """Refuse a write that a page of another site has sent.

        Raises:
            Problem: It is from another site, or no header says from which.
        """
        site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
        if site is not None and site != "same-origin":
            raise refusal("cross-site", f"The request comes from another site (Sec-Fetch-Site: {site:.20}).")
        if origin is None and site is None:
            raise refusal("cross-site", "Programs need a token: run 'jobfleet web token create NAME'.")
        host = connection.headers.get("host", "")
        own = self._origin or origin_of(f"{connection.url.scheme}://{host}")
        if origin is None or origin_of(origin) == own:
            return
        if not self.url and origin_of(origin) == origin_of(f"https://{host}"):
            raise refusal("cross-site", f"A proxy ends TLS here: set web_url = {origin[:100]!r}.")
        raise refusal("cross-site", "The request comes from a page of another origin.")

    def check_stream(self, connection: HTTPConnection) -> None:
        """Refuse a stream that a page of another site opens: it could not read it, but would take a place.

        Raises:
            Problem: The browser says that the request is from another site.
        """
        site = connection.headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none"):
            raise refusal("cross-site", f"The request comes from another site (Sec-Fetch-Site: {site:.20}).")

    # ------------------------------------------------------------------------------------------ cookies

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the dashboard by TLS alone."""
        return self._origin.startswith("https:")

    def cookie_name(self, name: str, connection: HTTPConnection) -> str:
        """The name of a cookie. Browsers share cookies between the ports of a host, so the name has the port."""
        if self.is_secure:
            return f"__Host-{name}{self.root.replace('/', '-')}"
        port = connection.headers.get("host", "").rpartition(":")[2]
        return f"{name}_{port}" if port.isdecimal() else name

    def cookie(self, name: str, connection: HTTPConnection) -> str:
        """The value of a cookie; empty if the browser has none."""
        return connection.cookies.get(self.cookie_name(name, connection), "")

    def set_cookie(
        self, connection: HTTPConnection, response: Response, name: str, value: str, lasts: float | None
    ) -> None:
        """Set a cookie that scripts cannot read and other sites do not send; an empty value removes it."""
        root = str(connection.scope.get("root_path", "")).rstrip("/")
        response.set_cookie(
            self.cookie_name(name, connection),
            value,
            max_age=None if lasts is None else int(lasts),
            path="/" if self.is_secure else root or "/",  # as __Host- demands
            secure=self.is_secure or connection.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def origin_of(url: str) -> str:
    """The scheme and the host of an address in one spelling."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    return f"{scheme}://{rest.partition('/')[0].lower().removesuffix(_PORTS.get(scheme, ' '))}"


def bare(text: str) -> str:
    """One spelling of an address, without a port; empty if it is not one."""
    text = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    text = text.partition(":")[0] if text.count(":") == 1 else text
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine."""
    return host == "localhost" or bool((found := bare(host)) and ip_address(found).is_loopback)


def _tell_former(config: JobConfig) -> None:
    """Warn of settings that have another name now."""
    if config.web_proxies and not config.web_proxy_header:
        warn(
            "web_proxies is the former name of web_trusted_proxies, and no longer logs anybody in. Rename it. If the "
            "proxy names users, and removes that header from requests, set web_login_header = 'X-Forwarded-User'."
        )
    elif config.web_proxies or config.web_proxy_header:
        warn(
            "web_proxies and web_proxy_header are the former names of web_trusted_proxies and web_login_header; rename "
            "them, because the next release does not read them."
        )
