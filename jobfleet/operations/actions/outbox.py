"""Actions on the rows of the transactional outbox, as the audit records them."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.operations.audit import Action
from jobfleet.operations.outbox.packed import function_of
from jobfleet.outbox.statements import Listed

SHOWN = 50
"""Rows whose values a record has; its count is that of all rows."""


def retry_rows(ids: Sequence[str] | None, found: Sequence[Listed]) -> Action:
    """Another try of rows with an error.

    Args:
        ids: The ids that were named; None for all rows with an error.
        found: The first of the rows, before the action.
    """
    after = {row.id: _words("waiting", row) for row in found}
    return Action(
        "outbox.retry", _target(ids, "all rows with an error"), after, before=_before(found), is_elsewhere=True
    )


def drop_rows(ids: Sequence[str] | None, found: Sequence[Listed]) -> Action:
    """The deletion of rows.

    Args:
        ids: The ids that were named; None for all refused rows.
        found: The first of the rows, before the action.
    """
    after = {row.id: "deleted" for row in found}
    return Action("outbox.drop", _target(ids, "all refused rows"), after, before=_before(found), is_elsewhere=True)


def _target(ids: Sequence[str] | None, every: str) -> str:
    return every if ids is None else ", ".join(ids)


def _before(found: Sequence[Listed]) -> dict[str, str]:
    """The state of each row; its error is left out, because it may have values of arguments."""
    return {
        row.id: _words("refused" if row.is_refused else "postponed" if row.tries else "waiting", row) for row in found
    }


def _words(state: str, row: Listed) -> str:
    return f"{state} {function_of(row.job)}".rstrip()
