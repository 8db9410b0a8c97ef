"""Which rows of a lane can be read: ids, tries, clear records and runs, as anybody may have written them. Pure.

Readers decode a whole reply at once, since nearly every reply is sound. Only a reply that cannot be decoded so is read
again row by row, with what stands here; a row that is refused becomes `Spoiled`, with its raw bytes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from jobfleet.model import ID_BYTES

log = logging.getLogger("jobfleet.store")
T = TypeVar("T")
U = TypeVar("U")
NOT_READ = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
TOLD_MOST = 1000
_told: set[str] = set()
SHOWN = 80
"""Bytes of a value that are shown of it."""
_SUFFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TRIES = re.compile(r"\d{1,18}(?::\d{1,18}){4,}(?:\n.*)?", re.DOTALL)
_LINE = r"g .+|u .+|x \d{1,16}|r \d{1,15}|[a-fh-qtvwyz] .*"
_META_LINE = re.compile(rf"(?:{_LINE}|s (?:q|\d{{1,16}}))")
_UNSCOPED = re.compile(rf"(?:{_LINE})(?:\n(?:{_LINE}))*")


class Spoiled(NamedTuple):
    """A row that cannot be read.

    Attributes:
        id: The job's id, as it stands there.
        seen: What its run is known by: the token, or the whole record where that cannot be read; empty without a run.
        why: What is wrong with it.
        is_run: Whether only the record of its run is: the job itself may go on.
    """

    id: bytes
    seen: bytes
    why: str
    is_run: bool = False


class Unreadable(ValueError):
    """A value has not the form that only values of ours have."""


def shown(value: bytes) -> str:
    """A value for people, bounded, in one line of ASCII."""
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}… ({len(value):,} bytes)"


def text_of(value: bytes) -> str:
    """A value as text for people: what is no UTF-8 in it is escaped."""
    return value.decode("utf-8", "backslashreplace")


def id_of(raw: bytes, prefix: str) -> str:
    """A job's id.

    Args:
        raw: As it stands there.
        prefix: What the ids of its lane begin with.

    Raises:
        Unreadable: No job of the lane can have it.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise Unreadable(f"its id is {shown(raw)}, which is no text") from None
    if len(raw) > ID_BYTES:
        raise Unreadable(f"its id has {len(raw):,} bytes; {ID_BYTES} are allowed: {shown(raw)}")
    if not text.startswith(prefix) or not _SUFFIX.fullmatch(text, len(prefix)):
        raise Unreadable(
            f"its id is {shown(raw)}; ids of this lane are {prefix}… and letters, digits, '_', '.', ':' or '-'"
        )
    return text


def tries_of(raw: bytes | None) -> str:
    """What a job has spent, as `Tries.parse` reads it.

    Raises:
        Unreadable: It cannot.
    """
    if not raw:
        return ""
    text = _text(raw, "tries")
    if not _TRIES.fullmatch(text):
        raise Unreadable(f"its tries are {shown(raw)}; five counts with ':' between were expected")
    return text


def meta_of(raw: bytes | None) -> str:
    """A job's clear record (lib/base/meta.lua).

    Raises:
        Unreadable: A line of it has not the form, or a scope has no key.
    """
    if not raw:
        return ""
    text = _text(raw, "clear record")
    if _UNSCOPED.fullmatch(
        text
    ):  # one look at the whole, which is what nearly all have; which line is wrong comes later
        return text
    lines = text.split("\n")
    for line in lines:
        if not _META_LINE.fullmatch(line):
            raise Unreadable(f"its clear record has the line {shown(line.encode())}")
    if any(line.startswith("s ") for line in lines) and not any(line.startswith("u ") for line in lines):
        raise Unreadable(f"its clear record has a scope without a unique key: {shown(raw)}")
    return text


def metas_of(rows: Sequence[bytes | None]) -> list[str]:
    """The clear records of the jobs of one claim, as `meta_of` reads each.

    Raises:
        ValueError: One of them cannot be read.
    """
    texts = [raw.decode() if raw else "" for raw in rows]
    whole = "\n".join(["", *texts, ""])
    # Where jobs have groups, most have nothing else: three looks at all of them cost less than one at each.
    if whole.count("\ng ") == len(texts) == whole.count("\n") - 1 and "\ng \n" not in whole:
        return texts
    return [meta_of(raw) for raw in rows]


def number_of(raw: object, default: int = 0) -> int:
    """A number that a script answered, also one that is written as a fraction; the default for what is none."""
    try:
        return int(float(raw))  # type: ignore[arg-type]  # whatever it is, float says whether it is one
    except (ValueError, TypeError, OverflowError):
        return default


def shown_tries(raw: bytes) -> str:
    """What a job has spent, for listings: nothing where that cannot be read."""
    try:
        return tries_of(raw)
    except ValueError:
        return ""


def wrong_with(raw: bytes, tries: bytes, meta: bytes, prefix: str) -> str:
    """What keeps a row from being read; empty where nothing does."""
    try:
        id_of(raw, prefix), tries_of(tries), meta_of(meta)
    except ValueError as error:
        return str(error)
    return ""


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Unreadable(f"its {what} is {shown(raw)}, which is no UTF-8") from None


def sound(rows: Iterable[T], read: Callable[[T], U]) -> tuple[list[U], list[T]]:
    """Read rows; what was read, and the rows that cannot be."""
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


def fields(flat: Sequence[bytes], read: Callable[[bytes], U], where: str) -> tuple[dict[str, U], tuple[str, ...]]:
    """A hash of the fleet by its names, and what cannot be read of it: that is left out, and logged once."""
    pairs, bad = sound(zip(flat[::2], flat[1::2], strict=True), lambda pair: (pair[0].decode(), read(pair[1])))
    told = tuple(f"{where} has {shown(name)}: {shown(value)}" for name, value in bad)
    tell(told)
    return dict(pairs), told


def tell(told: Iterable[str]) -> None:
    """Say in the log what was left out since it cannot be read; each once, as far as `TOLD_MOST` are remembered."""
    for one in told:
        if one not in _told:
            if len(_told) >= TOLD_MOST:
                _told.clear()
            _told.add(one)
            log.error("redis.unreadable %s; it is left out. 'jobfleet doctor' says more.", one)
