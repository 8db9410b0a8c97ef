"""What protects a connection and is not in its URL, and the error of a URL that is not valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Security:
    """What protects connections, and is not in the URL.

    Attributes:
        tls: Options of redis-py for connections with TLS.
        sentinel_username: The user of the Sentinels; None for none.
        sentinel_password: Their password; None for none.
    """

    tls: Mapping[str, Any] = field(default_factory=dict)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


class Misread(ValueError):
    """A URL is not valid; the message is the remedy, and contains no text of the URL."""
