"""Errors of the API and of pages: a stable code, a status of HTTP, and the message that the command line prints."""

from __future__ import annotations

import re
from typing import NamedTuple

from jobfleet import errors

_STATUS: tuple[tuple[type[errors.JobfleetError], int], ...] = (
    (errors.JobNotFound, 404),
    (errors.UnknownQueue, 404),
    (errors.UnknownGroup, 404),
    (errors.UnknownRescue, 404),
    (errors.WaitTimeout, 504),
    (errors.StoreUnavailable, 503),
    (errors.PayloadUnavailable, 503),
    (errors.UnreadableData, 409),
    (errors.FleetFull, 507),
    (errors.DuplicateJob, 409),
    (errors.IdConflict, 409),
    (errors.ConfigError, 400),
    (errors.InvalidJob, 400),
)
"""The first class that an error belongs to decides."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Problem(Exception):
    """A request is refused or has failed.

    Args:
        status: The status of HTTP.
        code: The code, which never changes.
        message: One line with a remedy.
        headers: Headers of the answer.
        field: The parameter that is wrong; empty if it is none.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None, *, field: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = headers or {}
        self.field = field

    @property
    def data(self) -> dict[str, object]:
        """The body of the answer of the API."""
        field = {"field": self.field} if self.field else {}
        return {"error": {"code": self.code, "message": self.message, **field}}


def code_of(kind: type[errors.JobfleetError]) -> str:
    """The code of an error of jobfleet: ``job-not-found`` for `JobNotFound`."""
    return _HUMP.sub("-", kind.__name__).lower()


def problem_of(error: errors.JobfleetError) -> Problem:
    """The problem that an error of jobfleet is for the sender of a request."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": "2"} if status == 503 else None
    field = getattr(error, "field", "")
    field = field if isinstance(field, str) else ""
    code = "invalid-request" if field and type(error) is errors.ConfigError else code_of(type(error))
    return Problem(status, code, str(error), headers, field=field)


class Row(NamedTuple):
    """A problem that the web itself has."""

    status: int
    meaning: str


OWN = {
    "not-found": Row(404, "There is no such page."),
    "method-not-allowed": Row(405, "The address does not take this method."),
    "unauthenticated": Row(401, "Log in, or send a token."),
    "forbidden": Row(403, "The role does not permit it."),
    "cross-site": Row(403, "The request does not come from a page of the dashboard."),
    "wrong-host": Row(421, "The name of the host is neither that of web_url nor, without a user, of this machine."),
    "behind-proxy": Row(
        403, "A proxy has forwarded the request, and web_open_access is set: run 'jobfleet web user add NAME'."
    ),
    "too-large": Row(413, "The body of the request is too large."),
    "unsupported-body": Row(415, "The body of the request is not of the expected type."),
    "invalid-request": Row(400, "A parameter is missing or wrong."),
    "too-many-requests": Row(429, "Too many requests; wait as Retry-After says."),
    "locked-out": Row(429, "Too many logins wait, or those of this name after failures; wait as Retry-After says."),
    "access-unavailable": Row(503, "The dashboard cannot read its users and tokens; its log says why."),
    "too-many-streams": Row(503, "Too many pages are updated live, or too many of one user; reload later."),
    "internal": Row(500, "A fault of jobfleet; its log has the traceback."),
}
"""The codes of the web itself."""


def refusal(code: str, message: str = "", headers: dict[str, str] | None = None, *, field: str = "") -> Problem:
    """A problem of the web itself."""
    row = OWN[code]
    return Problem(row.status, code, message or row.meaning, headers, field=field)
