"""Checks of a URL before anything connects, and its masked form for display.

A password may be in the wrong place, or contain characters that end it too early. Therefore only parts that are known
to be harmless are displayed, and everything else is masked. An error names the wrong part, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult

from jobfleet.errors import ConfigError

DEFAULT_URL = "redis://localhost:6379/0"
SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels", "cluster", "clusters", "embedded", "memory")
SECURE = {"redis": "rediss", "sentinel": "sentinels", "cluster": "clusters"}
"""Schemes without TLS, with the schemes that use it."""
HIDDEN = "***"
ESCAPE = "write '/', '?', '#' and '@' in a user or a password as %2F, %3F, %23 and %40"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WITHOUT_LOGIN = frozenset({"embedded", "memory", "sqlite"})
_HARMLESS = frozenset(
    {
        "application_name", "client_name", "connect_timeout", "db", "dbname", "decode_responses",
        "health_check_interval", "host", "max_connections", "mode", "protocol", "retry_on_timeout",
        "socket_connect_timeout", "socket_keepalive",
        "socket_timeout", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile",
        "sslmode", "sslrootcert", "target_session_attrs", "timeout",
    }
)  # fmt: skip
_ARCHIVES = re.compile(r"(sqlite(?=://($|[/?]))|postgres(ql)?(\+psycopg)?)://")
_OUTBOXES = re.compile(r"(sqlite(?=://($|[/?]))|postgres(ql)?(\+psycopg)?|(mysql|mariadb)(\+[a-z]+)?)://")
_NUMBERED = frozenset({"redis", "rediss"})
"""Schemes whose path is the number of a database."""
_MANY = frozenset({"sentinel", "sentinels", "cluster", "clusters"})
"""Schemes that name several hosts."""
_SECRET = frozenset(
    {
        "auth", "pass", "password", "secret", "sentinel_password", "sentinel_username", "ssl_password", "token", "user",
        "username",
    }
)  # fmt: skip
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?")


def check_url(url: str) -> str:
    """Return a URL unchanged, or refuse it if its scheme is unknown.

    Raises:
        ConfigError: The scheme is not one of `SCHEMES`.
    """
    found = _SCHEME.match(url)
    scheme = found[1] if found else ""
    if scheme.lower() in SCHEMES:
        return url
    if not scheme:
        raise ConfigError("The URL has no scheme; write it as redis://HOST:6379/0.")
    raise ConfigError(f"Unknown scheme {scheme!r} in URL; use {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}.")


def check_database_url(url: str) -> str:
    """Return the URL of an archive database unchanged, or refuse it.

    Raises:
        ConfigError: The URL is for neither SQLite nor PostgreSQL, that of SQLite names a host, or the user or password
            contains a character that must be escaped.
    """
    return _checked(url, _ARCHIVES, "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def check_outbox_url(url: str) -> str:
    """Return the URL of a database with an outbox unchanged, or refuse it.

    Raises:
        ConfigError: The URL is for none of SQLite, PostgreSQL, MySQL and MariaDB, or the user or password contains a
            character that must be escaped.
    """
    kinds = (
        "use sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE or mysql+pymysql://USER:PASSWORD@HOST/DATABASE"
    )
    return _checked(url, _OUTBOXES, kinds)


def _checked(url: str, kinds: re.Pattern[str], remedy: str) -> str:
    found = kinds.match(url)
    if not found:
        raise ConfigError(remedy)
    rest = url[found.end() :]
    if found[1] != "sqlite" and re.search("[/?#@]", rest.rpartition("@")[0]):
        raise ConfigError(ESCAPE)
    return url


def is_misread(parts: SplitResult) -> bool:
    """Whether a password seems to have ended too early, because an '@' comes after the part it should be in."""
    in_path = "@" in parts.path and (parts.scheme != "unix" or bool(parts.netloc))
    in_query = "@" in parts.query and not _HARMLESS.union(_SECRET).issuperset(_names(parts.query))
    return in_path or in_query or bool(parts.fragment)


def _names(query: str) -> Iterator[str]:
    return (pair.partition("=")[0] for pair in query.split("&"))


def mask_url(url: str) -> str:
    """Replace each part of a URL that may be a password, or contain one, by ``***``, for messages and logs.

    A text that is not a URL is masked completely. If in doubt, more is masked than necessary.
    """
    found = _SCHEME.match(url)
    if not found:
        return HIDDEN if url else ""
    scheme, rest = found[1], url[found.end() :]
    if scheme.lower() in _WITHOUT_LOGIN:
        return url
    end = re.search("[?#]", rest)
    front, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    query, _, fragment = tail.removeprefix("?").partition("#")
    if is_misread(SplitResult("", "", "", query, "")) or "@" in fragment or (fragment and "@" not in front):
        return f"{scheme}://{HIDDEN}"
    is_path = scheme.lower() == "unix" and front.startswith("/")
    login, at, place = ("", "", front) if is_path else front.rpartition("@")
    where = place if scheme.lower() == "unix" else _place(place, scheme.lower())
    shown = f"{scheme}://{_login(login)}{at}{where}"
    if tail.startswith("?"):
        shown += "?" + "&".join(_parameter(pair) for pair in query.split("&"))
    return f"{shown}#{HIDDEN}" if fragment else shown


def mask_store(url: str) -> str:
    """Mask the URL of a payload store like `mask_url`, and also the user, which may be the id of an access key."""
    scheme, separator, rest = mask_url(url).partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{HIDDEN}@{place}" if at else f"{scheme}{separator}{rest}"


def _login(login: str) -> str:
    """Keep the user and mask the password; a single word is masked, because it may be the password."""
    user, colon, _ = login.partition(":")
    if not login:
        return ""
    return f"{user}:{HIDDEN}" if colon and not re.search("[/@]", user) else HIDDEN


def _place(place: str, scheme: str) -> str:
    """Mask whatever is not a host, a numeric port or, where required, a numeric path; there may be several hosts."""
    hosts, slash, path = place.partition("/")
    if hosts.startswith(":"):
        return f":{HIDDEN}"
    every = hosts.split(",") if scheme in _MANY else [hosts]
    shown = ",".join(map(_host, every))
    if path and (shown != hosts or (scheme in _NUMBERED and not path.strip("/").isdigit())):
        path = HIDDEN
    return shown + slash + path


def _host(host: str) -> str:
    if not host or _HOST.fullmatch(host):
        return host
    name, _, _ = host.partition(":")
    return f"{name}:{HIDDEN}" if _HOST.fullmatch(name) else HIDDEN


def _parameter(pair: str) -> str:
    name, sign, _ = pair.partition("=")
    if sign and name in _HARMLESS:
        return pair
    return f"{name}={HIDDEN}" if sign and name in _SECRET else HIDDEN
