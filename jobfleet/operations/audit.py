"""The audit: record actions of operators, and read the records.

A client writes a record when an action begins, and replaces it when the action has ended. If its process dies in
between, the record of the beginning stays, with the outcome ``unknown``. The audit never makes an action fail.
"""

from __future__ import annotations

import getpass
import json
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from secrets import token_hex
from typing import Any, NamedTuple

from jobfleet.clock import monotonic
from jobfleet.codec import decode, encode
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError
from jobfleet.logs import contain_handler_errors
from jobfleet.model.audit import UNKNOWN, AuditEntry, AuditFilter, AuditOutcome, AuditPage, Position, cursor_of
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.store.call import Call
from jobfleet.store.calls.control import REASON_MOST, who
from jobfleet.store.calls.journal import AuditRecord, read_audit, write_audit
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import NOT_READ, report, shown, sound

log: logging.Logger = logging.getLogger("jobfleet.audit")
AGAIN_AFTER = 60.0
"""Seconds for which a client does not write the audit after Redis has refused it."""
TEXT_MOST, ITEMS_MOST = 500, 50
"""Longest text in characters, and most items of a list, in a record."""
MS: timedelta = timedelta(milliseconds=1)
LAST_NUMBER: int = 2**64 - 1
"""The last number of a record within its millisecond."""
EPOCH: datetime = datetime(1970, 1, 1, tzinfo=UTC)


class Change(NamedTuple):
    """What an action changes.

    Attributes:
        before: The values before it.
        after: The values that it is to set.
        target: The target, if only the look tells all of it.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    target: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an action.

    Attributes:
        word: How it ended.
        count: How many things it concerned; None if it does not count.
        error: The class of its error; None without one.
        after: Further values that it has set.
    """

    word: AuditOutcome
    count: int | None = None
    error: str | None = None
    after: Mapping[str, Any] = field(default_factory=dict)


def outcome_of(result: Any) -> Outcome:
    """The outcome of most actions: whether something changed, or how many things did."""
    if isinstance(result, bool):
        return Outcome("done" if result else "unchanged")
    if isinstance(result, int):
        return Outcome("done" if result else "unchanged", result)
    return Outcome("done")


@dataclass(frozen=True, slots=True)
class Action:
    """What an operator does.

    Attributes:
        name: The kind of thing, a dot, and the verb.
        target: What is changed.
        after: The values that it sets, as far as they are known without a look at Redis.
        before: The values before it, as far as they are known without a look at Redis.
        look: Reads the values before it, and completes those after it; None if there is nothing to read.
        end: Makes the outcome from the result.
        is_of_one_job: Whether it concerns a single job. From Python, such actions are recorded only with `by`, because
            programs may do many.
        is_elsewhere: Whether it changes another database than Redis, so that it can be done while Redis is away.
    """

    name: str
    target: str
    after: Mapping[str, Any] = field(default_factory=dict)
    look: Callable[[], Operation[Change]] | None = None
    end: Callable[[Any], Outcome] = outcome_of
    is_of_one_job: bool = False
    is_elsewhere: bool = False
    before: Mapping[str, Any] = field(default_factory=dict)


class Begun(NamedTuple):
    """An action whose beginning is recorded.

    Attributes:
        action: The action.
        id: The id of the entry.
        position: The place of the record.
        head: The head of the record.
        change: The values before and after.
    """

    action: Action
    id: str
    position: str
    head: Mapping[str, Any]
    change: Change


class Newer(NamedTuple):
    """The next records of the audit.

    Attributes:
        records: The records, oldest first.
        after: The last position that was read.
        is_last: Whether there are no more at present.
    """

    records: Sequence[AuditRecord]
    after: str
    is_last: bool


def is_audited(context: FleetContext, action: Action, by: str | None) -> bool:
    """Whether an action is to be recorded.

    Raises:
        InvalidJob: `by` is not a text.
    """
    who(by)
    if action.is_of_one_job and by is None and context.source == "python":
        return False
    return context.config.audit_max > 0 and monotonic() >= context.audit_again


def begin(context: FleetContext, action: Action, by: str | None) -> Operation[Begun | None]:
    """Record the beginning of an action; None if Redis refuses the record."""
    change = Change(action.before, action.after)
    if action.look is not None:
        try:
            change = yield from action.look()
        except (JobfleetError, *NOT_READ):  # the action itself meets the wrong argument, and raises
            pass
    entry_id = token_hex(8)
    head = {
        "by": _clipped(by) if by else whoami(),
        "source": context.source,
        "action": action.name,
        "target": _clipped(change.target or action.target),
    }
    (answer,) = yield (_call(context, entry_id, head, change),)
    if isinstance(answer, JobfleetError):
        report_refused(context, action, answer)
        return None
    return Begun(action, entry_id, str(answer), head, change)


def end(context: FleetContext, begun: Begun, outcome: Outcome) -> Operation[None]:
    """Record the end of an action."""
    head = {
        **begun.head,
        "began": Position.parse(begun.position).ms,
        "outcome": outcome.word,
        **({} if outcome.count is None else {"count": outcome.count}),
        **({} if outcome.error is None else {"error": outcome.error}),
    }
    change = Change(begun.change.before, {**begun.change.after, **outcome.after})
    (answer,) = yield (_call(context, begun.id, head, change, began=begun.position),)
    if isinstance(answer, JobfleetError):
        report_unended(begun, answer)


def refuse(context: FleetContext, action: Action, by: str, why: str, count: int) -> Operation[None]:
    """Record that an action was refused before it began.

    Args:
        context: The context of the fleet.
        action: The action.
        by: Who has asked for it.
        why: The code of the refusal.
        count: How many refusals the entry stands for.
    """
    if is_audited(context, action, by) and (begun := (yield from begin(context, action, by))) is not None:
        yield from end(context, begun, Outcome("refused", count=count, error=why))


def report_refused(context: FleetContext, action: Action, error: JobfleetError) -> None:
    """Log that an action is not in the audit, and let those that follow soon not be tried."""
    context.audit_again = monotonic() + AGAIN_AFTER
    contain_handler_errors()  # a handler that raises must not make the action fail
    log.warning(
        "audit.refused %s %s is not in the audit, nor is what follows for %g s: %s",
        action.name, _clipped(action.target), AGAIN_AFTER, error,
    )  # fmt: skip


def report_unended(begun: Begun, error: JobfleetError) -> None:
    """Log that the end of an action is not in the audit."""
    contain_handler_errors()
    log.warning(
        "audit.unended %s %s has ended, but not in the audit: %s", begun.action.name, begun.head["target"], error
    )


def _call(context: FleetContext, entry_id: str, head: Mapping[str, Any], change: Change, began: str = "") -> Call[str]:
    body = encode({"before": _plain(change.before), "after": _plain(change.after)})
    text = json.dumps(head, separators=(",", ":"))
    return write_audit(context.keys, entry_id, text, body, most=context.config.audit_max, began=began)


def _plain(values: Any) -> Any:
    """Values that a record can have: plain ones, of a bounded size."""
    if values is None or isinstance(values, bool | int | float):
        return values
    if isinstance(values, Mapping):
        return {_clipped(str(name)): _plain(one) for name, one in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return [_plain(one) for one in values[:ITEMS_MOST]]
    if isinstance(values, datetime):
        return values.astimezone(UTC).isoformat()
    return _clipped(str(values))


def _clipped(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= TEXT_MOST else f"{text[: TEXT_MOST - 1]}…"


@cache
def whoami() -> str:
    """The login name and the host of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user id
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


# ------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Found:
    """Entries that were found so far.

    Attributes:
        entries: The entries, newest first.
        low: The position down to which was read; None if there is nothing.
        is_full: Whether the page is full, so that more may follow.
    """

    entries: Sequence[AuditEntry]
    low: Position | None
    is_full: bool = False

    @property
    def page(self) -> AuditPage:
        """The page."""
        return AuditPage(self.entries, str(self.low) if self.is_full else "")


def page(context: FleetContext, chosen: AuditFilter, *, limit: int, cursor: str) -> Operation[Found]:
    """Read a page of the entries in Redis, newest first.

    Args:
        context: The context of the fleet.
        chosen: Which entries.
        limit: The most entries.
        cursor: The cursor of the page before; empty for the first page.

    Raises:
        InvalidJob: `limit` is not a whole number from 1, or the cursor is not one of a page.
    """
    check_number(limit)
    low = cursor_of(cursor)
    first = f"({low}" if low is not None else "+"
    if low is None and chosen.until is not None:
        first = f"({_ms(chosen.until)}-0"
    last = "-" if chosen.since is None else str(_ms(chosen.since))
    entries: list[AuditEntry] = []
    while True:
        records, following = value((yield (read_audit(context.keys, first=first, last=last),)))
        for record, entry in opened(records):
            low = record.position
            if chosen.fits(entry):
                entries.append(entry)
                if len(entries) == limit:
                    return Found(entries, low, is_full=True)
        if not following:
            return Found(entries, low)
        first = f"({following}"


def continued(found: Found, records: Sequence[AuditRecord], chosen: AuditFilter, *, limit: int) -> Found:
    """Add older records of the archive to what was found in Redis."""
    entries, low = list(found.entries), found.low
    known = {entry.id for entry in entries}  # the archive may have only the beginning of an action yet
    for record, entry in opened(records):
        low = record.position
        if entry.id not in known and chosen.fits(entry):
            entries.append(entry)
            if len(entries) == limit:
                return Found(entries, low, is_full=True)
    return Found(entries, low)


def start(keys: Keyspace, since: datetime | None) -> Operation[str]:
    """Return the position after which a reader begins that follows the audit: a time, or the newest record."""
    if since is not None:
        return f"{_ms(since) - 1}-{LAST_NUMBER}"
    records, position = value((yield (read_audit(keys, limit=1),)))
    return position or (str(records[0].position) if records else "")


def entries_after(keys: Keyspace, after: str) -> Operation[Newer]:
    """Read the next records, oldest first.

    Args:
        keys: The fleet's keys.
        after: The last position that was read; empty for the beginning.
    """
    first = f"({after}" if after else "-"
    call = read_audit(keys, first=first, last="+", is_newest_first=False)
    records, following = value((yield (call,)))
    return Newer(records, following or (str(records[-1].position) if records else after), is_last=not following)


def _ms(moment: datetime) -> int:
    """A time in ms since 1970, rounded up; at least 1, since Redis knows no place of a record before that."""
    return max(1, -((EPOCH - moment.astimezone(UTC)) // MS))


def opened(records: Sequence[AuditRecord]) -> list[tuple[AuditRecord, AuditEntry]]:
    """Decode records; those that jobfleet has not written are left out, and logged."""
    pairs, bad = sound(records, lambda record: (record, entry_of(record)))
    report(f"audit has {shown(record.head.encode())}" for record in bad)
    return pairs


def entry_of(record: AuditRecord) -> AuditEntry:
    """Decode a record."""
    head = json.loads(record.head)
    before, after, unread = {}, {}, ""
    try:
        values = decode(record.body)
        before, after = dict(values["before"]), dict(values["after"])
    except (EncodingError, LookupError, TypeError, ValueError) as error:
        unread = str(error)
    has_ended = "outcome" in head
    recorded = EPOCH + record.position.ms * MS
    return AuditEntry(
        id=record.id,
        at=EPOCH + int(head["began"]) * MS if has_ended else recorded,
        by=str(head["by"]),
        source=str(head["source"]),
        action=str(head["action"]),
        target=str(head["target"]),
        before=before,
        after=after,
        outcome=str(head.get("outcome", UNKNOWN)),
        count=head.get("count"),
        error=head.get("error"),
        ended_at=recorded if has_ended else None,
        unread=unread,
    )


def check_reason(reason: str | None) -> None:
    """Check a reason that somebody gives: one line of at most 200 characters.

    Raises:
        InvalidJob: It is longer.
    """
    if isinstance(reason, str) and (len(reason) > REASON_MOST or len(reason.splitlines()) > 1):
        raise InvalidJob(
            f"reason is {reason!r:.300}; give one line of at most {REASON_MOST} characters.", field="reason"
        )
