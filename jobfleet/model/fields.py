"""The table of the fields of a job that are kept with it and shown with it: each one is described once, here.

From a row of `FIELDS` follow the key in the header of an envelope and its type, the check of the option, what a record
of an ended job repeats, the names of indexes and of dead letters, the columns of the archive, the options and filters
of the command line, of the API and of the pages, and the reference. `Job` and `JobResult` repeat the names, for type
checkers and editors.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict


class SharedTexts(TypedDict, total=False):
    """The free texts that ``@job(…)`` can set for all jobs of a function; a job's own text comes first."""

    owner_team: str | None


class JobTexts(TypedDict, total=False):
    """The free texts that only a job itself can have."""

    correlation_id: str | None
    session: str | None
    user: str | None


class LetterTexts(TypedDict, total=False):
    """The free texts by which jobs, the archive and dead letters are filtered; `JobResult` describes them."""

    owner_team: str | None
    user: str | None


class FilterTexts(LetterTexts, total=False):
    """The free texts by which jobs and the archive are filtered; `JobResult` describes them."""

    session: str | None


class Field(NamedTuple):
    """A field of a job.

    Attributes:
        name: The attribute of `Job` and `JobResult`, and the key in the header of an envelope.
        meaning: What its value is, for the reference of the wire format.
        column: The column of the archive.
        kind: The type of the value on the wire.
        help: What the option of a job is, if it is a free text; empty for what has an option and a check of its own.
        title: Its name on the command line, if that differs from `name`.
        letter: The first part of the names under which dead letters are filed by it; empty to file none.
        archive_index: The columns of its index in the archive after the namespace; empty for no index.
        is_logged: Whether the log lines of a run have it.
        is_counted: Whether statistics count jobs by it.
    """

    name: str
    meaning: str
    column: str
    kind: type = str
    help: str = ""
    title: str = ""
    letter: str = ""
    archive_index: tuple[str, ...] = ()
    is_logged: bool = False
    is_counted: bool = False

    @property
    def noun(self) -> str:
        """Its name in sentences."""
        return self.name.replace("_", " ")


FIELDS = (
    Field(
        "user", "user that the job is attributed to", "user_name", help="The user of the job.", letter="u",
        archive_index=("user_name", "enqueued_at"), is_logged=True, is_counted=True,
    ),
    Field(
        "session", "session of that user", "session_id", help="The session of the job.", archive_index=("session_id",)
    ),
    Field(
        "owner_team", "team that is responsible for the job", "owner_team",
        help="The team that is responsible for the job.", letter="owner_team",
        archive_index=("owner_team", "enqueued_at"), is_logged=True, is_counted=True,
    ),
    Field(
        "correlation_id", "id that is common to all jobs of one request", "correlation_id", title="correlation",
        help="Correlation id for logs and the job's context.", is_logged=True,
    ),
    Field("group", "group within the queue", "group_name"),
    Field("unique", "unique key of the job", "unique_key"),
    Field("tags", "list of short texts", "tags", list),
    Field("metadata", "map of plain values", "metadata", dict),
    Field("moved_from", "id in the queue that the job was moved from", "moved_from"),
)  # fmt: skip
"""The fields, in the order in which people see them."""

TEXTS = tuple(field for field in FIELDS if field.help)
"""The free texts: printable, of 1 to 200 characters."""
TEXT_NAMES = tuple(field.name for field in TEXTS)
SHARED_TEXTS = tuple(name for name in TEXT_NAMES if name in SharedTexts.__annotations__)
FILTERS = tuple(field for field in TEXTS if field.name in {*FilterTexts.__annotations__})
"""The texts that have an index in Redis, and by which jobs are filtered."""
FILTER_NAMES = tuple(field.name for field in FILTERS)
LETTERS = tuple(field for field in TEXTS if field.letter)
"""The texts by which dead letters are filtered, too."""
LETTER_NAMES = tuple(field.name for field in LETTERS)
PLAIN_TEXTS = tuple(field.name for field in FIELDS if field.kind is str)
"""The fields that a `JobResult` takes from a header or a record as they are."""
LOGGED = tuple(field.name for field in FIELDS if field.is_logged)
COUNTED = tuple(field.name for field in FIELDS if field.is_counted)
INDEXED = frozenset({"tags", *FILTER_NAMES})
"""The filters that have an index."""


def any_index() -> str:
    """The filters that have an index, in a sentence: ``a tag, a user or a session``."""
    nouns = ["a tag", *(f"an {one.noun}" if one.noun[0] in "aeio" else f"a {one.noun}" for one in FILTERS)]
    return f"{', '.join(nouns[:-1])} or {nouns[-1]}"
