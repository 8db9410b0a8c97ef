"""The fingerprint of an error: a hash of event, function, class, and message without its variable parts. Pure."""

from __future__ import annotations

import re
from hashlib import blake2b

from jobfleet.notify.notice import Notice

MESSAGE_MOST = 200

_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<address>"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"[^\s@'\"<>]+@[^\s@'\"<>]+\.[^\s@'\"<>]+"), "<mail>"),
    (re.compile(r"\d+(?:[.,:_-]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def normalise(message: str) -> str:
    """Return a message's first line with placeholders for numbers, ids and addresses."""
    text = message.strip().partition("\n")[0][: 4 * MESSAGE_MOST]
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text.strip()[:MESSAGE_MOST]


def fingerprint(notice: Notice) -> str:
    """Return 16 hexadecimal digits that are equal for notices of the same kind."""
    parts = (notice.event, notice.function, notice.error_class, normalise(notice.error))
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()
