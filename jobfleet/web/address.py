"""Names in the paths of pages, and the page that a path belongs to. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from jobfleet.web.route import Page

_PLACE = re.compile(r"\{(\w+)\}")
_SLASH = re.compile(b"%2f", re.IGNORECASE)
_ESCAPES = {"~": "~7E", "/": "~2F", "\\": "~5C", "%": "~25"}


def segment(name: str) -> str:
    """A name as one segment of a path.

    ``~2F`` stands for a slash, because servers and proxies take ``%2F`` for the end of a segment. ``.`` and ``..`` are
    escaped too, because browsers leave such segments out.
    """
    text = "".join(_ESCAPES.get(char, char) for char in name)
    if text in {".", ".."}:
        text = text.replace(".", "~2E")
    return quote(text, safe="", errors="replace")


def with_slashes(path: str, raw: bytes) -> str:
    """A path in which each ``%2F`` of its raw form is ``~2F``, so that a name with it is one segment.

    Args:
        path: The decoded path.
        raw: The path as it was sent; it does not count if it is the raw form of another path.
    """
    if not _SLASH.search(raw) or unquote(raw.decode("latin-1")) != path:
        return path
    return unquote(_SLASH.sub(b"~2F", raw).decode("latin-1"))


def page_at(pages: Sequence[Page], path: str) -> tuple[Page, dict[str, str]] | None:
    """The page with a decoded path, and the segments that its path has names for; None if there is no such page."""
    for page in pages:
        found = re.fullmatch(_PLACE.sub(r"(?P<\1>[^/]+)", page.path), path) if page.template else None
        if found:
            return page, found.groupdict()
    return None
