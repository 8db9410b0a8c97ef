"""The name of a person or program as one word of a record. Pure.

Records part their words with spaces, ``@``, ``|`` and line ends. A name keeps its letters; such characters, and ``%``,
are written as ``%`` and two hex digits for each byte of UTF-8. Half a surrogate pair, which has no bytes, becomes
``?``. A version that does not read this shows the name as it is written. Earlier versions wrote ``_`` instead of them
and never wrote ``%``, so their records read the same.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

NOBODY = "-"
LENGTH_MAX = 64
_PARTING = frozenset("%@|")


def to_word(name: str | None) -> str:
    """Write a name as a word, cut to 64 characters; `NOBODY` for None and for an empty name."""
    if not name or name == NOBODY:
        return "%2D" if name else NOBODY
    return "".join(
        quote(one, safe="", errors="replace") if one in _PARTING or not _is_plain(one) else one
        for one in name[:LENGTH_MAX]
    )


def _is_plain(letter: str) -> bool:
    return letter.isprintable() and not letter.isspace()


def from_word(word: str) -> str:
    """Read a name from its word; `NOBODY` stays as it is."""
    return unquote(word) if "%" in word else word
