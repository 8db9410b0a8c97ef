"""The checks of a request that writes: a CSRF token, a role. And of its body."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from jobfleet.web.errors import refusal
from jobfleet.web.safety.access import Caller, Role
from jobfleet.web.safety.identity import csrf_token

BODY_MOST = 64 * 1024
"""Bytes of a body."""
BODY_WITHIN = 10.0
"""Seconds that a body may take to arrive."""
FIELDS_MOST = 250
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"


def check_role(caller: Caller, needed: Role) -> None:
    """Refuse a caller whose role does not permit a request."""
    if not caller.role.permits(needed):
        raise refusal("forbidden", f"{caller.name} is {caller.role}; this needs the role {needed}.")


def check_csrf(key: str, given: str) -> None:
    """Refuse a write without the CSRF token of the browser."""
    if not key or not hmac.compare_digest(csrf_token(key).encode(), given.encode("utf-8", "surrogatepass")):
        raise refusal("cross-site", "The CSRF token is missing or wrong; reload the page, and try again.")


async def read_body(request: Request) -> bytes:
    """Read a body of a bounded size."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_MOST:
        raise refusal("too-large", f"A body may have {BODY_MOST:,} bytes.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for part in request.stream():
                size += len(part)
                if size > BODY_MOST:
                    raise refusal("too-large", f"A body may have {BODY_MOST:,} bytes.")
                parts.append(part)
    except (ClientDisconnect, TimeoutError):
        raise refusal("invalid-request", "The body is incomplete.") from None
    return b"".join(parts)


async def read_form(request: Request) -> dict[str, str]:
    """Read the fields of a form. The values of a field that is there several times are joined with commas."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise refusal("unsupported-body", "Send a form (application/x-www-form-urlencoded).")
    try:
        text = (await read_body(request)).decode("ascii")
        rows = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MOST, errors="strict")
    except ValueError:
        raise refusal("invalid-request", "The form cannot be read.") from None
    fields: dict[str, str] = {}
    for name, value in rows:
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    return fields


_Place = tuple[Any, str | int]
"""Where a value is: the place around it, or None, and its name or number in there. A text of it would repeat each name
as often as there are values below it."""


class _Twice:
    """In place of an object of JSON that has a name twice."""

    def __init__(self, name: str) -> None:
        self.name = name


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            return _Twice(name)
        found[name] = value
    return found


def read_text(text: str | bytes, *, field: str = "") -> Any:
    """Read JSON. What readers of JSON read in several ways, or cannot write again, is refused.

    Args:
        text: The JSON.
        field: The field that has it; empty for the body.

    Raises:
        Problem: It is not JSON, has a number that is not finite, half of a surrogate pair, or a name twice.
    """
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise refusal("invalid-request", f"{field or 'The body'} is not JSON: {error}.", field=field) from None
    todo: list[tuple[_Place, Any]] = [((None, field), found)]
    while todo:
        place, value = todo.pop()
        if isinstance(value, _Twice):
            place = (place, value.name)
        if isinstance(value, dict):
            for name, one in value.items():
                within = (place, name)
                todo += [(within, one), (within, name)]
        elif isinstance(value, list):
            todo += [((place, number), one) for number, one in enumerate(value)]
        elif fault := _fault_of(value):
            path = _path_of(place)
            shown = (path or "The body").encode("ascii", "backslashreplace").decode()
            raise refusal("invalid-request", f"{shown:.200}: {fault}", field=shown[:200] if path else "")
    return found


def _path_of(place: _Place) -> str:
    """A place as text, such as ``kwargs.rows[2]``."""
    parts: list[str | int] = []
    within: _Place | None = place
    while within is not None:
        within, part = within
        parts.append(part)
    text = ""
    for part in reversed(parts):
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _fault_of(value: Any) -> str:
    """What is wrong with a value that is neither an object nor a list; empty if nothing is."""
    if isinstance(value, _Twice):
        return "this name is there twice; leave one out."
    if isinstance(value, float) and not math.isfinite(value):
        return "use a finite number."
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        return "half of a surrogate pair is not a character; send both halves."
    return ""


async def read_json(request: Request) -> Mapping[str, Any]:
    """Read an object of JSON; an empty body is an empty object."""
    body = await read_body(request)
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise refusal("unsupported-body", "Send application/json.")
    fields = read_text(body)
    if not isinstance(fields, dict):
        raise refusal("invalid-request", "The body is not an object of JSON.")
    return fields
