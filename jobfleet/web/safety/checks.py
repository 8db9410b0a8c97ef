"""The checks of a request that writes: same origin, same site, a CSRF token, a role. And of its body."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from jobfleet.web.errors import refusal
from jobfleet.web.safety.caller import Caller, Role
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


def check_origin(connection: HTTPConnection) -> None:
    """Refuse a write that a page of another site has sent."""
    site = connection.headers.get("sec-fetch-site")
    origin = connection.headers.get("origin")
    if site is not None and site != "same-origin":
        raise refusal("cross-site", f"The request comes from another site (Sec-Fetch-Site: {site:.20}).")
    if origin is not None and urlsplit(origin).netloc.lower() != connection.headers.get("host", "").lower():
        raise refusal("cross-site", "The request comes from a page of another origin.")
    if origin is None and site is None:
        raise refusal("cross-site", "Programs need a token: run 'jobfleet web token create NAME'.")


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


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are not JSON


async def read_json(request: Request) -> Mapping[str, Any]:
    """Read an object of JSON; an empty body is an empty object."""
    body = await read_body(request)
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise refusal("unsupported-body", "Send application/json.")
    try:
        fields = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise refusal("invalid-request", "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise refusal("invalid-request", "The body is not an object of JSON.")
    return fields
