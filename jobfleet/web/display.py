"""Text for people. Every value that a page shows passes through `shown`. Pure.

Names, arguments, errors, results and logs may have any content: HTML, escape sequences of terminals, characters that
reverse the direction of a line, halves of characters, or megabytes. The templates escape HTML; this module does the
rest.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from jobfleet.clock import span
from jobfleet.model.cron_expression import zone_of
from jobfleet.model.fields import LETTERS, Field
from jobfleet.model.limits import LimitChange
from jobfleet.model.result import Parent
from jobfleet.operations.doctor.findings import size as spelled
from jobfleet.operations.functions import DURATIONS

LINE_MOST = 300
"""Characters of a text that is shown in a line."""
BLOCK_MOST = 60_000
"""Characters of a text that is shown in a block of its own."""
MARKS_MOST = 4
"""Combining marks on one character; more would cover the lines above and below."""
TERMS: dict[str, str] = {
    "blocked": "the state of a job that waits for others",
    "fence": "a number that grows with each claim of a job; writes with an older one are refused",
    "gone": "its heartbeat has stopped",
    "known": "a group of dead letters that is older than a day, and that nobody has decided about",
    "lane": "a part of a queue that has its own place in a cluster; a queue has one by default",
    "later": "due later: scheduled for a time, or waiting for a retry",
    "parked": "retried later without a charge, because no worker can run the job yet",
    "published": "what workers tell the fleet about their functions: names, parameters and options",
    "quiet": "claims no more jobs; running jobs continue",
    "strict sequence": "the jobs of a group that run one at a time, in the order of their enqueue",
}
"""The words of pages that are explained where they stand; docs/reference/glossary.md has them, too."""
_KEPT = frozenset("\n\t")
_JOINT = re.compile(r"([._:])(?=[^._:])")


def shown(value: object, most: int = LINE_MOST) -> str:
    """Return a value as text of one line without any character that has an effect: such characters become escapes.

    Markup of the templates themselves stays as it is.
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**18 else _harmless(str(value)[: most + 1], most, frozenset())
    if isinstance(value, float):
        return f"{value:g}"
    return _harmless(value if isinstance(value, str) else str(value), most, frozenset())


def block(value: object, most: int = BLOCK_MOST) -> Markup:
    """Return a text of several lines, made harmless as `shown` does; line ends and tabs stay."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return escape(_harmless(text.replace("\r\n", "\n"), most, _KEPT))


def _harmless(text: str, most: int, kept: frozenset[str]) -> str:
    cut = text[:most]
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(_characters(cut, kept))
    return cut if len(text) <= most else f"{cut}… ({len(text):,} characters)"


def _characters(text: str, kept: frozenset[str]) -> list[str]:
    found, marks = [], 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        is_fine = (char.isprintable() and marks <= MARKS_MOST) or char in kept
        found.append(char if is_fine else char.encode("unicode_escape", "backslashreplace").decode("ascii"))
    return found


def duration(seconds: float | None) -> str:
    """A duration in at most two units; a dash for None."""
    return "–" if seconds is None else span(max(0.0, seconds))


def brief(seconds: float | None) -> str:
    """A duration that may be far below a second."""
    return duration(seconds) if seconds is None or not 0 < seconds < 0.01 else f"{seconds * 1000:.2g} ms"


def attribute(value: object) -> Markup:
    """A text that the dashboard or its user has given, in full, as the value of an attribute."""
    text = "" if value is None else str(value)
    return escape(_harmless(text, len(text), frozenset()))


def breaks(name: str) -> Markup:
    """A name of a function, which may break into lines after each dot, colon and underscore."""
    return Markup(_JOINT.sub(r"\1<wbr>", str(escape(shown(name)))))  # noqa: S704 - it is escaped before


def exactly(moment: datetime) -> str:
    """A time in UTC, which all times of the dashboard are in."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def in_zone(text: str, tz: str) -> str:
    """A time of the API in a time zone that is known to be valid, to the second."""
    return f"{datetime.fromisoformat(text).astimezone(zone_of(tz)):%a %Y-%m-%d %H:%M:%S %Z}"


def ago(text: str | None) -> Markup:
    """A time as an element: its exact form in a tooltip, and its age, which the page's script keeps up to date."""
    if not text:
        return Markup("–")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return escape(shown(text))
    exact = exactly(moment)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), exact, exact)


def age(text: str | None) -> Markup:
    """The same for something that has lasted since then: the page's script shows the age as a duration."""
    return Markup(str(ago(text)).replace("<time ", "<time data-lasts ", 1))  # noqa: S704 - `ago` has escaped it


def clock(text: str) -> str:
    """The time of day of a line of a log, in UTC."""
    return exactly(datetime.fromisoformat(text))[11:19]


def percent(part: float | None) -> str:
    """A share of one as a percentage; only all of it is 100%."""
    if part is None:
        return "–"
    part = min(max(part, 0.0), 1.0)
    return f"{math.floor(part * 1000) / 1000:.1%}" if 0.995 <= part < 1 else f"{part:.0%}"


def cpu(share: float | None) -> str:
    """The processor time per second as a percentage of one processor; several may take more than 100%."""
    return "–" if share is None else f"{share:.0%}"


def size(number: int | None) -> str:
    """A number of bytes; a dash for None."""
    return "–" if number is None else spelled(number)


def option(value: object, name: str) -> str:
    """An option of a function as text; durations are seconds in JSON."""
    if isinstance(value, list):
        return ", ".join(option(one, name) for one in value)
    is_time = name in DURATIONS and isinstance(value, int | float) and not isinstance(value, bool)
    return duration(value) if is_time else shown(value)  # type: ignore[arg-type]


def text_columns(rows: Sequence[Mapping[str, object]]) -> list[Field]:
    """The free texts with a column in a table of jobs: the user, and each other that some row has."""
    return [field for field in LETTERS if field.name == "user" or any(row[field.name] for row in rows)]


def query(view: Mapping[str, Any], **changes: Any) -> Markup:
    """The query of the same page with some parameters changed; lists have commas, and what is empty is left out."""
    given = {name: one for name, one in (dict(view) | changes).items() if one}
    texts = {name: ",".join(map(str, one)) if isinstance(one, list) else one for name, one in given.items()}
    return escape("?" + urlencode(texts))


def toggled(numbers: Sequence[int], number: int) -> list[int]:
    """Numbers with one more, or without it."""
    return sorted(set(numbers) ^ {number})


def worst_first(parents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parents of a job in their JSON form, in the order in which they are shown."""
    return sorted(parents, key=lambda one: Parent(one["id"], one["status"]).place)


def is_limited(row: Mapping[str, object]) -> bool:
    """Whether a row of limits has one that can be cleared."""
    return any(row[name] is not None for name in LimitChange._fields)


def json_text(value: object) -> Markup:
    """A value as indented JSON."""
    return block(json.dumps(value, indent=2, ensure_ascii=False))


def call_text(args: object, kwargs: object) -> Markup:
    """The arguments of a call, one per line."""
    lines = [json.dumps(one, ensure_ascii=False) for one in args] if isinstance(args, list) else []
    if isinstance(kwargs, dict):
        lines += [f"{name} = {json.dumps(one, ensure_ascii=False)}" for name, one in kwargs.items()]
    return block("\n".join(lines) or "no arguments")
