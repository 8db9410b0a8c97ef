"""The fingerprint of an error: a hash of event, function, class, and message without its variable parts. Pure."""

from __future__ import annotations

import re
from hashlib import blake2b

from jobfleet.errors import InvalidJob

MESSAGE_MOST = 200
FAILED = "failed"
FINGERPRINT: re.Pattern[str] = re.compile(r"[0-9a-f]{16}")

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


def fingerprint_of(function: str, error_class: str, error: str, *, event: str = FAILED) -> str:
    """Return 16 hexadecimal digits that are equal for errors of the same kind.

    Args:
        function: The name of the function.
        error_class: The class of the error, or the reason of the failure.
        error: The text of the error.
        event: What happened; dead letters have ``failed``.
    """
    parts = (event, function, error_class, normalise(error))
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def check_fingerprint(given: object) -> str:
    """Check that a value is a fingerprint.

    Raises:
        InvalidJob: It is not.
    """
    if not isinstance(given, str) or FINGERPRINT.fullmatch(given) is None:
        raise InvalidJob(
            f"fingerprint is {given!r:.100}; give the 16 digits that 'jobfleet dead groups' shows.", field="fingerprint"
        )
    return given
