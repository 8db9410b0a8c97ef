"""The page that a form was sent from, once more: with the error, and with what was typed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from jobfleet.errors import JobfleetError
from jobfleet.web.address import page_at
from jobfleet.web.endpoints import reading
from jobfleet.web.endpoints.entered import Sent
from jobfleet.web.endpoints.request import Context, address_of, logged_path, root_of
from jobfleet.web.errors import Problem
from jobfleet.web.route import Action, Page
from jobfleet.web.safety.caller import Caller
from jobfleet.web.table import PAGES

_log = logging.getLogger("jobfleet.web")


async def page_again(
    context: Context, request: Request, caller: Caller, action: Action, fields: Mapping[str, str], problem: Problem
) -> Response:
    """The page that a form was sent from, with what was typed and the status of the problem.

    Raises:
        Problem: The given one, if it is a fault, or if that page cannot be shown.
    """
    if problem.status >= 500:
        raise problem
    sent = Sent(str(request.scope["path"]).removeprefix(root_of(request)), fields, problem)
    for path, query in _candidates(request, action, fields):
        found = page_at(PAGES, path)
        if found is None or not caller.role.permits(found[0].role):
            continue
        page, names = found
        try:
            values = page.values(names, dict(parse_qsl(query)))
            data = await reading.read(context, page, values)
        except (Problem, JobfleetError):
            continue
        _log.warning("Refused: POST %s from %s: %s", logged_path(request), address_of(request), problem)
        return reading.shown_page(
            context, request, caller, page, values, data, path=quote(path), query=query, status=problem.status,
            sent=sent,
        )  # fmt: skip
    raise problem


def _candidates(request: Request, action: Action, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """The paths, decoded, and queries of pages that the form may have been sent from, the likeliest first."""
    found: list[tuple[str, str]] = []
    try:
        came_from = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # it is not an address
        came_from = urlsplit("")
    root = root_of(request)
    if came_from.netloc == request.headers.get("host") and came_from.path.startswith(f"{root}/"):
        found.append((unquote(came_from.path.removeprefix(root)), came_from.query))
    try:
        path = action.back.format_map(request.path_params)  # as the request has them: escaped
    except KeyError:  # it leads to what would have been made
        path = action.back.partition("/{")[0]
    if (at := page_at(PAGES, path)) is not None:
        found.append((path, urlencode(_of_query(at[0], fields))))
        found.append((path, ""))
    return found


def _of_query(page: Page, fields: Mapping[str, str]) -> dict[str, str]:
    return {one.name: fields[one.name] for one in page.parameters if one.place == "query" and fields.get(one.name)}
