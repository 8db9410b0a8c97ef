"""Checks of a lane's rows: ids, tries, clear records and runs, in whatever form a foreign client wrote them. Pure.

Readers decode a whole reply at once, because nearly every reply is valid. Only a reply that fails is read again row by
row with these functions. A row that is refused becomes `Spoiled`, with its raw bytes.
"""

from __future__ import annotations

import logging
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

from jobfleet.clock import LATEST_US
from jobfleet.model import ID_BYTES
from jobfleet.model.names import LANE_RULE, QUEUE_RULE, SUFFIX_RULE

log: logging.Logger = logging.getLogger("jobfleet.store")
T = TypeVar("T")
U = TypeVar("U")
NOT_READ = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
LOGGED_MOST = 1000
_logged: set[str] = set()
NOTED_MOST = 100
_noted: ContextVar[dict[str, None] | None] = ContextVar("noted", default=None)
SHOWN = 80
"""Number of bytes of a value that are displayed."""
COUNTER_MOST = 2**63
COUNTER_BYTES = 20
"""Number of bytes of the longest counter, with its sign."""
TEXT_MOST = 128 * 1024
"""Number of bytes of a text that are shown; nothing that jobfleet writes for people is as long."""
_SUFFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
ID_LETTERS = (string.ascii_letters + string.digits + "_.:-").encode()
SUFFIX_MOST = 64
"""Maximum length of the suffix of an id; a record of the lease board holds it."""
_ID = rf"{QUEUE_RULE.pattern}\.{LANE_RULE.pattern}\.{SUFFIX_RULE.pattern}"
_PREFIX = re.compile(rf"{QUEUE_RULE.pattern}\.{LANE_RULE.pattern}\.")
_IDS = re.compile(rf"{_ID}(?:\n{_ID})*".encode())
"""Ids of jobs, a line each."""
_TRIES = re.compile(r"\d{1,18}(?::\d{1,18}){4,}(?:\n.*)?", re.DOTALL)
_LINE = r"g .+|u .+|x \d{1,16}|r \d{1,15}|[a-fh-qtvwyz] .*"
_LINE_OR_SCOPE = rf"{_LINE}|s (?:q|\d{{1,16}})"
_META_LINE = re.compile(rf"(?:{_LINE_OR_SCOPE})")
_UNSCOPED = re.compile(rf"(?:{_LINE})(?:\n(?:{_LINE}))*")
_SCOPED = re.compile(rf"(?:{_LINE_OR_SCOPE})(?:\n(?:{_LINE_OR_SCOPE}))*")


class Spoiled(NamedTuple):
    """A row that cannot be read.

    Attributes:
        id: The job's id as stored.
        seen: The identity of its run: the token, or the whole record if that cannot be read; empty without a run.
        why: The defect.
        is_run: Whether only the record of its run is defective, so that the job can continue.
    """

    id: bytes
    seen: bytes
    why: str
    is_run: bool = False


class Unreadable(ValueError):
    """A value does not have the form that jobfleet writes."""


def shown(value: bytes) -> str:
    """Format a value for people in one line of ASCII, cut to `SHOWN` bytes."""
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}… ({len(value):,} bytes)"


def text_of(value: bytes) -> str:
    """Decode a value as text for people; bytes that are not UTF-8 are escaped; it ends at `TEXT_MOST`."""
    if len(value) > TEXT_MOST:
        report([f"a text of {len(value):,} bytes begins with {shown(value)}"])
        value = value[:TEXT_MOST]
    return value.decode("utf-8", "backslashreplace")


def id_of(raw: bytes, prefix: str) -> str:
    """Decode a job's id.

    Args:
        raw: The id as stored.
        prefix: The prefix of the ids of its lane.

    Raises:
        Unreadable: No job of the lane can have this id.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise Unreadable(f"its id is {shown(raw)}, which is not text") from None
    if len(raw) > ID_BYTES:
        raise Unreadable(f"its id has {len(raw):,} bytes; {ID_BYTES} are allowed: {shown(raw)}")
    if not text.startswith(prefix) or not _SUFFIX.fullmatch(text, len(prefix)):
        raise Unreadable(
            f"its id is {shown(raw)}; ids of this lane are {prefix}… and letters, digits, '_', '.', ':' or '-'"
        )
    return text


def ids_of(raws: Sequence[bytes], prefix: str = "") -> list[str]:
    """Decode many ids with one check, as `id_of` decodes each.

    Args:
        raws: The ids as stored.
        prefix: The prefix of the ids of their lane; empty for ids of any lane.

    Raises:
        Unreadable: One of them is not an id, or not of this lane.
    """
    if not raws:
        return []
    lines = b"\n".join(raws)
    text = lines.decode("ascii", "replace")
    ids = text.split("\n")
    if prefix:
        is_sound = _is_of_lane(text, lines, ids, prefix)
    else:
        first = _PREFIX.match(text)  # usually all are of one lane
        is_sound = bool(first and (_is_of_lane(text, lines, ids, first[0]) or _IDS.fullmatch(lines)))
    if not is_sound or len(ids) != len(raws):
        raise Unreadable("an id cannot be read")
    return ids


def _is_of_lane(text: str, lines: bytes, ids: Sequence[str], prefix: str) -> bool:
    """Whether all lines are ids of a lane. A regular expression takes three times as long."""
    lengths = set(map(len, ids))
    return (
        lines.translate(None, ID_LETTERS) == b"\n" * (len(ids) - 1)
        and text.startswith(prefix)
        and text.count(f"\n{prefix}") == len(ids) - 1
        and len(prefix) < min(lengths)
        and max(lengths) <= len(prefix) + SUFFIX_MOST
    )


def tries_of(raw: bytes | None) -> str:
    """Decode the tries of a job for `Tries.parse`.

    Raises:
        Unreadable: They do not have the form of tries.
    """
    if not raw:
        return ""
    text = _text(raw, "tries")
    if not _TRIES.fullmatch(text):
        raise Unreadable(f"its tries are {shown(raw)}; five counts with ':' between were expected")
    return text


def meta_of(raw: bytes | None) -> str:
    """Decode a job's clear record (lib/base/meta.lua).

    Raises:
        Unreadable: A line is not valid, or a scope has no unique key.
    """
    if not raw:
        return ""
    text = _text(raw, "clear record")
    # One look at the whole suffices for nearly all; which line is wrong comes later.
    if _UNSCOPED.fullmatch(text) or (_SCOPED.fullmatch(text) and "\nu " in f"\n{text}"):
        return text
    lines = text.split("\n")
    for line in lines:
        if not _META_LINE.fullmatch(line):
            raise Unreadable(f"its clear record has the line {shown(line.encode())}")
    if any(line.startswith("s ") for line in lines) and not any(line.startswith("u ") for line in lines):
        raise Unreadable(f"its clear record has a scope without a unique key: {shown(raw)}")
    return text


def metas_of(rows: Sequence[bytes | None]) -> list[str]:
    """Decode the clear records of the jobs of one claim, each like `meta_of`.

    Raises:
        ValueError: One of them cannot be read.
    """
    texts = [raw.decode() if raw else "" for raw in rows]
    whole = "\n".join(["", *texts, ""])
    # Jobs with a group usually have no other line. Then three scans of all records cost less than one per record.
    if whole.count("\ng ") == len(texts) == whole.count("\n") - 1 and "\ng \n" not in whole:
        return texts
    return [meta_of(raw) for raw in rows]


def number_of(raw: object, default: int = 0) -> int:
    """Convert a number in a script's reply, which may be written as a fraction; return the default if it is invalid."""
    try:
        return int(float(raw))  # type: ignore[arg-type]  # float decides whether it is a number
    except (ValueError, TypeError, OverflowError):
        return default


def time_of(raw: bytes | str) -> int:
    """Convert a stored time, µs since 1970, which a sorted set may have written as a fraction.

    Raises:
        ValueError: It is not a number, or it has no date.
    """
    at = float(raw)
    if not 0 < at < LATEST_US:
        raise Unreadable(f"{raw!r} is not a time")
    return int(at)


def counter_of(raw: bytes) -> int:
    """Convert a counter as Redis stores it.

    Raises:
        ValueError: It is not a whole number, or Redis could not have counted so far: it has more than 64 bits.
    """
    number = int(raw) if len(raw) <= COUNTER_BYTES else COUNTER_MOST
    if abs(number) >= COUNTER_MOST:
        raise Unreadable(f"{shown(raw)} is not a counter")
    return number


def shown_tries(raw: bytes) -> str:
    """Decode the tries of a job for listings; return an empty text if they cannot be read."""
    try:
        return tries_of(raw)
    except ValueError:
        return ""


def wrong_with(raw: bytes, tries: bytes, meta: bytes, prefix: str) -> str:
    """Return the defect of a row, or an empty text."""
    try:
        id_of(raw, prefix), tries_of(tries), meta_of(meta)
    except ValueError as error:
        return str(error)
    return ""


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Unreadable(f"its {what} is {shown(raw)}, which is not UTF-8") from None


def sound(rows: Iterable[T], read: Callable[[T], U]) -> tuple[list[U], list[T]]:
    """Read rows; return the values, and the rows that cannot be read."""
    rows = list(rows)
    try:
        return [read(row) for row in rows], []
    except NOT_READ:
        good: list[U] = []
        bad: list[T] = []
        for row in rows:
            try:
                good.append(read(row))
            except NOT_READ:
                bad.append(row)
        return good, bad


def kept(rows: Iterable[T], read: Callable[[T], U], where: str) -> list[U]:
    """Read rows; those that cannot be read are left out, and reported: see `report`.

    Args:
        rows: The rows.
        read: Reads one.
        where: The key that has them.
    """
    good, bad = sound(rows, read)
    if bad:
        report(f"{where} has {_shown_row(row)}" for row in bad)
    return good


def _shown_row(row: object) -> str:
    if isinstance(row, bytes):
        return shown(row)
    if isinstance(row, tuple | list):
        return ": ".join(map(_shown_row, row))
    return shown(repr(row).encode())


def fields(flat: Sequence[bytes], read: Callable[[bytes], U], where: str) -> tuple[dict[str, U], tuple[str, ...]]:
    """Decode a hash of the fleet; fields that cannot be read are left out, and logged once."""
    if not flat:
        return {}, ()
    pairs, bad = sound(zip(flat[::2], flat[1::2], strict=True), lambda pair: (pair[0].decode(), read(pair[1])))
    problems = tuple(f"{where} has {shown(name)}: {shown(value)}" for name, value in bad)
    report(problems)
    return dict(pairs), problems


@contextmanager
def noting() -> Iterator[dict[str, None]]:
    """Collect what readers within the block report, each thing once, up to `NOTED_MOST`."""
    found: dict[str, None] = {}
    before = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(before)
        if (outer := _noted.get()) is not None:
            outer.update(found)


def note(problem: str) -> None:
    """Report something to `noting` alone, because it is logged elsewhere."""
    noted = _noted.get()
    if noted is not None and len(noted) < NOTED_MOST:
        noted[problem] = None


def report(problems: Iterable[str]) -> None:
    """Report data that cannot be read and was left out: to `noting`, and once to the log.

    Every reader of stored data calls this in place of an error, so that a damaged row costs itself alone. Pages, the
    commands and `doctor` show what `noting` has collected.

    Args:
        problems: A line each, with the key and the value. The last `LOGGED_MOST` are remembered, and not logged again.
    """
    for one in problems:
        note(one)
        if one not in _logged:
            if len(_logged) >= LOGGED_MOST:
                _logged.clear()
            _logged.add(one)
            log.error("redis.unreadable %s; it is left out. 'jobfleet doctor' shows more.", one)
