"""The findings of the doctor as links: to the things that a finding names, and to the page where it is put right.

Pure. A remedy that is a command stays as text, for who has a terminal; the link leads to the same on a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from jobfleet.web.display import shown
from jobfleet.web.route import segment

SEEN_MOST = 1000
"""Characters of an observation or of a remedy."""
PLACES: dict[str, str] = {
    "queue": "/queues/", "worker": "/workers/", "child": "/workers/", "function": "/functions/", "job": "/jobs/",
    "cron": "/cron/",
}  # fmt: skip
"""The pages of the things that a finding is about."""
JOBS, REPAIR = ("/jobs?status=running", "Running jobs"), ("/doctor", "Repair")
PAGES: dict[str, tuple[str, str]] = {
    "workers": ("/workers", "Workers"),
    "versions": ("/workers", "Workers"),
    "service": ("/workers", "Workers"),
    "payloads": ("/workers", "Workers"),
    "functions": ("/functions", "Functions"),
    "queues": ("/queues", "Queues"),
    "hot": ("/queues", "Queues"),
    "paused": ("/queues", "Queues"),
    "journal": ("/queues", "Queues"),
    "leases": JOBS,
    "long": JOBS,
    "cron": ("/cron", "Recurring jobs"),
    "fires": ("/cron", "Recurring jobs"),
    "samples": ("/history", "History"),
    "limits": ("/limits", "Limits"),
    "gates": ("/limits", "Limits and breakers"),
    "dead": ("/dead", "Dead letters"),
    "runs": REPAIR,
    "locks": REPAIR,
    "lifetimes": REPAIR,
}
"""The page and its name, by the check, where its finding is seen in full or put right; others are for the server."""


def place_of(thing: Mapping[str, str]) -> str:
    """The path of the page of a thing."""
    name = thing["name"].rpartition(".")[0] if thing["kind"] == "child" else thing["name"]
    return f"{PLACES[thing['kind']]}{segment(name)}"


def linked(text: str, about: Sequence[Mapping[str, str]], url: Callable[[str], str]) -> Markup:
    """A text in which each thing that it names is a link.

    Args:
        text: What was seen, or the remedy.
        about: The things, in their JSON form.
        url: Makes an address of a path.
    """
    places = {thing["name"]: place_of(thing) for thing in about}
    if not places:
        return Markup("{}").format(shown(text, SEEN_MOST))
    names = "|".join(re.escape(name) for name in sorted(places, key=len, reverse=True))
    parts = re.split(rf"(?<![\w.:-])({names})(?![\w-]|[.:]\w)", text[:SEEN_MOST])
    link = Markup('<a href="{}">{}</a>')
    return Markup("").join(
        link.format(url(places[part]), shown(part)) if number % 2 else Markup("{}").format(shown(part, SEEN_MOST))
        for number, part in enumerate(parts)
    )


def page_of(check: Any) -> tuple[str, str] | None:
    """The page of a check, and its name; None if no page shows what it looks at."""
    return PAGES.get(str(check))
