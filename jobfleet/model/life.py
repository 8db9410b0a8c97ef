"""The life of a job: its runs, and what operators did to it, as lines that are kept and as `LifeEvent`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from jobfleet.model.audit import NOBODY, from_word, to_word

HANDED_BACK: Final = "handed back: its worker stopped"
"""How a run ended that a stopping worker has ended."""
LEASE_EXPIRED: Final = "lease expired"
PARKED, REPLAYED, EDITED, SIGNALLED = "parked", "replayed", "edited", "signalled"
CANCELLED, MOVED, EXPIRED = "cancelled", "moved", "expired"
WORDS: Final = (PARKED, REPLAYED, EDITED, SIGNALLED, CANCELLED, MOVED, EXPIRED)
"""The first words of lines that are not about a run."""
LIFE_LINES: Final = 10
"""The most lines about runs, and of those about what operators did while the job was open."""
NAMES_MOST, NAMES_LENGTH = 10, 140
"""The most names of changed arguments in a line, and their most characters together; life.lua keeps more bytes."""
CHARACTERS = 300
"""The most characters of a line."""
TIME_DIGITS = 16
"""Digits of a time in µs since 1970, until the year 2286."""

_ENDED: Final = {"completed": "completed", CANCELLED: CANCELLED, HANDED_BACK: "released", LEASE_EXPIRED: "lease-lost"}
_TIMED_OUT: Final = ("timed out after ", "used more than ")
_DIED: Final = ("its process ", "its worker ", "resident memory ", "memory limit ", "killed by the kernel")
_ERROR: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)(?:: .*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to a job.

    Attributes:
        kind: ``run``; ``parked``, because no worker could run it; what was asked for: ``replayed``, ``edited``,
            ``signalled``, ``cancelled`` or ``moved``; ``expired``; or ``other`` for a line that jobfleet did not write.
        at: Its time; of a run, its end. None if it is not known.
        run: The number of the run, from 1; None for other kinds.
        started_at: When the run began, or was claimed if its process died; None if it is not known.
        worker: The worker process of the run; None likewise.
        outcome: How the run ended: ``completed``, ``failed``, ``crashed``, ``timed-out``, ``lease-lost``,
            ``released`` by a worker that stopped, or ``cancelled``. None for other kinds.
        error_class: The class of the exception with which the run failed; None otherwise.
        by: Who asked for it; None if nobody in particular did.
        changed: The names of the arguments that were changed, at most ten; ``+3`` at the end stands for three more. The
            values are not kept.
        text: How the run ended, why the job was parked, the name of the signal, or the id of the job in its new queue;
            of a replay ``edited``, if it changed the arguments.
    """

    kind: str
    at: datetime | None = None
    run: int | None = None
    started_at: datetime | None = None
    worker: str | None = None
    outcome: str | None = None
    error_class: str | None = None
    by: str | None = None
    changed: tuple[str, ...] = ()
    text: str = ""

    @property
    def duration(self) -> timedelta | None:
        """How long the run took; None if that is not known."""
        return None if self.at is None or self.started_at is None else self.at - self.started_at


def event_of(line: str) -> LifeEvent:
    """Parse a line of a job's life. A line that jobfleet did not write becomes the text of an event ``other``."""
    word, stamp, text = (*line.split(" ", 2), "", "")[:3]
    at = _moment(stamp)
    if at is None:
        return LifeEvent("other", text=line)
    if word == PARKED:
        return LifeEvent(word, at, text=text)
    if word in WORDS:
        who, _, rest = text.partition(" ")
        by = None if who in ("", NOBODY) else from_word(who)
        if word == REPLAYED:  # names come after "edited", which older revisions wrote alone
            edited, _, names = rest.partition(" ")
            return LifeEvent(word, at, by=by, changed=_names(names), text=edited)
        if word == EDITED:
            return LifeEvent(word, at, by=by, changed=_names(rest))
        return LifeEvent(word, at, by=by, text=rest)
    number, began, worker = (*word.split("/", 2), "", "")[:3]
    outcome, error_class = _outcome(text)
    run = int(number) if number.isdecimal() and len(number) < TIME_DIGITS else None
    return LifeEvent("run", at, run, _moment(began), worker or None, outcome, error_class, text=text)


def _us(text: str) -> int | None:
    """A time in µs; None for a text that is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= TIME_DIGITS else None


def _moment(text: str) -> datetime | None:
    us = _us(text)
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)


def _outcome(text: str) -> tuple[str, str | None]:
    if text in _ENDED:
        return _ENDED[text], None
    if text.startswith(_TIMED_OUT):
        return "timed-out", None
    if text.startswith(_DIED):
        return "crashed", None
    error = _ERROR.fullmatch(text)
    return "failed", error[1] if error else None


def line_of(word: str, at_us: int, text: str) -> str:
    """A line of a life: its first word, the time in µs, and what happened."""
    return f"{word} {at_us} {' '.join(text.split())}"[:CHARACTERS]


def merged(*parts: Iterable[str]) -> tuple[str, ...]:
    """Return lines from several places by their time, each once. Lines without a time come first.

    Of lines with the same time and first word, the first one stays: a later one may have been cut.
    """
    lines: dict[object, str] = {}
    for line in (line for part in parts for line in part):
        lines.setdefault((*line.split(" ", 2)[:2],) if _time(line) else line, line)
    return tuple(sorted(lines.values(), key=_time))


def _time(line: str) -> int:
    return _us((line.split(" ", 2)[1:2] or [""])[0]) or 0


def events_in(meta: str) -> list[str]:
    """The lines about what was done to a job while it was open, from its clear record (lib/job/life.lua)."""
    return [line[2:] for line in meta.split("\n") if line.startswith("l ")]


def names_word(names: Sequence[str]) -> str:
    """Write the names of changed arguments as one word, of bounded length; how many are left out comes last."""
    words: list[str] = []
    for name in names:
        word = to_word(name).replace(",", "%2C")
        if len(words) == NAMES_MOST or len(",".join([*words, word])) > NAMES_LENGTH:
            return ",".join([*words, f"+{len(names) - len(words)}"])
        words.append(word)
    return ",".join(words)


def _names(word: str) -> tuple[str, ...]:
    return tuple(from_word(name) for name in word.split(",") if name)
