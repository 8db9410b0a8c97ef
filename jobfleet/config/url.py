"""What is said about a URL before anything connects: is its scheme known, and how is it shown."""

from __future__ import annotations

import re

from jobfleet.errors import ConfigError

SCHEMES = ("redis", "rediss", "unix", "sentinel", "cluster", "embedded", "memory")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET_PARAMETER = re.compile(r"([?&][^=&#]*(?:password|secret|token)[^=&#]*=)[^&#]*", re.IGNORECASE)
# Greedy up to the last '@': a password with an unescaped '/' or '@' must not show either.
_PASSWORD = re.compile(r"^([^:/?#@]*://[^:/?#@]*|[^:/?#@]*(?=:(?!//))):.*@", re.DOTALL)


def check_url(url: str) -> str:
    """Refuse a URL whose scheme is unknown; answer the others unchanged.

    Raises:
        ConfigError: The scheme is none of `SCHEMES`.
    """
    found = _SCHEME.match(url)
    scheme = found[1] if found else ""
    if scheme.lower() in SCHEMES:
        return url
    if not scheme:
        raise ConfigError("The URL has no scheme; write it as redis://HOST:6379/0.")
    known = f"{', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"
    raise ConfigError(f"Unknown scheme {scheme!r} in URL; use {known}.")


def check_database_url(url: str) -> str:
    """Refuse the URL of a database that no archive can be in; answer the others unchanged.

    Raises:
        ConfigError: It is neither of SQLite nor of PostgreSQL.
    """
    if re.match(r"(sqlite|postgres(ql)?(\+psycopg)?)://", url):
        return url
    raise ConfigError("use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


def mask_url(url: str) -> str:
    """Replace the passwords in a URL by ``***``, for messages and logs.

    A text that is no URL is masked too; when in doubt, more is hidden than need be.
    """
    return _PASSWORD.sub(r"\1:***@", _SECRET_PARAMETER.sub(r"\1***", url))
