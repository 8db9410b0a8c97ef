"""The types of the rows of the one table of routes. Pages, live updates, the API and its document are made of them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_type_hints
from urllib.parse import quote, unquote

from jobfleet.operations.lanes import no_queue
from jobfleet.operations.unreadable import noting
from jobfleet.operations.verb import Kind, Verb
from jobfleet.operations.verb import Parameter as Declared
from jobfleet.web.errors import refusal
from jobfleet.web.safety.access import Caller, Role
from jobfleet.web.safety.checks import read_text

if TYPE_CHECKING:
    from jobfleet.web.dashboard import Dashboard


Data = dict[str, Any]
Values = Mapping[str, Any]
Read = Callable[["Dashboard", Values], Awaitable[Data]]
Act = Callable[["Dashboard", Values, Caller], Awaitable[Data]]
BODY = ""
"""The name of the value that has all fields of a body; no parameter has it."""
QUEUE = "queue"
DAMAGED = "damaged"
"""The name in the data of a page under which it has what could not be read, a line each; absent if that is nothing."""
TEXT_MOST = 1000
"""Characters of a parameter."""
_ESCAPED = re.compile(r"~([0-7][0-9A-Fa-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a route.

    Attributes:
        name: The name.
        help: What it is.
        place: Where it is: in the path, in the query, or in the body.
        words: All values, if there are only a few.
        least: The smallest number, if it is a number.
        most: The largest number.
        default: The value if it is not given.
        longest: The most characters of a text.
        schema: Its schema in the document, if it is neither a text nor a number. The action reads such a value itself.
        is_required: Whether the body must have it.
        kind: What it takes, if a verb has declared it; it reads the value and has the schema.
    """

    name: str
    help: str
    place: Literal["path", "query", "body"] = "query"
    words: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    default: Any = None
    longest: int = TEXT_MOST
    schema: Mapping[str, Any] = field(default_factory=dict)
    is_required: bool = False
    kind: Kind | None = None

    def within(self, place: Literal["path", "query", "body"]) -> Parameter:
        """The same parameter in another place."""
        return replace(self, place=place)

    @classmethod
    def of(cls, one: Declared, place: Literal["path", "query", "body"] = "body") -> Parameter:
        """The parameter of a verb. In a path and a query all are texts, which a page reads."""
        if place != "body":
            words = tuple(one.kind.schema.get("enum", ()))
            return cls(name=one.field, help=one.help, place=place, words=words)
        return cls(
            name=one.field, help=one.help, place=place, is_required=one.is_required, default=one.default,
            kind=one.kind,
        )  # fmt: skip

    def read(self, given: object) -> Any:
        """Check a given value; an empty one counts as not given.

        Raises:
            Problem: It is not valid.
        """
        if self.schema:
            return given
        if given is None or given == "":
            if self.is_required and self.kind:
                raise refusal("invalid-request", f"{self.name} is missing: {self.help}", field=self.name)
            return self.default
        if self.kind:
            given = read_text(given, field=self.name) if self.kind.is_json and isinstance(given, str) else given
            try:
                found = self.kind.read(given)
            except ValueError as error:
                text = f"{self.name} is {given!r:.100}; {error}."
                raise refusal("invalid-request", text, field=self.name) from None
            is_naive = isinstance(found, datetime) and found.tzinfo is None and not self.kind.is_local
            return found.replace(tzinfo=UTC) if is_naive else found
        if self.least is not None and self.most is not None:
            return self._number(given, self.least, self.most)
        if not isinstance(given, str) or len(given) > self.longest:
            raise refusal(
                "invalid-request", f"{self.name}: give a text of at most {self.longest:,} characters.", field=self.name
            )
        if self.words and given not in self.words:
            raise refusal("invalid-request", f"{self.name}: use {', '.join(self.words)}.", field=self.name)
        return given

    def _number(self, given: object, least: int, most: int) -> int:
        if isinstance(given, int) and not isinstance(given, bool):
            number = given
        elif isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= 10:
            number = int(given)
        else:
            number = least - 1
        if not least <= number <= most:
            raise refusal(
                "invalid-request", f"{self.name}: use a whole number from {least:,} to {most:,}.", field=self.name
            )
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, with its live part, and the path of the API that has the same data.

    Attributes:
        path: The path of the page; of the API, it follows ``/api/v1``.
        title: The title.
        summary: What it shows.
        read: Reads the data.
        answer: The types of the data, by name.
        template: The name of the templates ``NAME.html`` and ``live/NAME.html``; empty if only the API has it.
        every: Seconds between two reads for live updates.
        parameters: The parameters.
        role: Who may see it.
        api: The path in the API, if it is another one.
        ends: For a page that the API sends as server-sent events: whether data are the last ones.
        compared: Returns the part of the data whose change makes an update; None for all of it.
        is_output: Whether the API sends the output stream of a job, as server-sent events. `read` reads a part of it.
    """

    path: str
    title: str
    summary: str
    read: Read
    answer: Mapping[str, Any]
    template: str = ""
    every: float = 1.0
    parameters: tuple[Parameter, ...] = ()
    role: Role = Role.VIEWER
    api: str = ""
    ends: Callable[[Data], bool] | None = None
    compared: Callable[[Data], Data] | None = None
    is_output: bool = False

    @property
    def has_events(self) -> bool:
        """Whether the API sends server-sent events."""
        return self.is_output or self.ends is not None

    @property
    def api_path(self) -> str:
        """The path in the API, after ``/api/v1``."""
        return self.api or self.path

    async def data(self, dashboard: Dashboard, values: Values) -> Data:
        """Read the data. What cannot be read in Redis is left out; then `DAMAGED` says what that is."""
        with noting() as damage:
            data = await self.read(dashboard, values)
        return data if not damage else {**data, DAMAGED: list(damage)}

    def values(self, path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
        """Read the values of its parameters."""
        sources = {"path": _names(path), "query": query}
        return {one.name: one.read(sources[one.place].get(one.name)) for one in self.parameters}


class Answered(dict[str, Any]):
    """The data of a verb, and what a page says then.

    Args:
        data: The data.
        note: The sentence.
    """

    def __init__(self, data: Data, note: str) -> None:
        super().__init__(data)
        self.note = note


async def check_known(dashboard: Dashboard, queue: str) -> None:
    """Check that a queue exists: a misspelled name in an address must not create one."""
    every = [one.name for one in await dashboard.fleet.queues()]
    if queue not in every:
        raise no_queue(queue, every)


def route_of(verb: Verb[..., Any], names: Mapping[str, str]) -> str:
    """The path of a verb with names in it."""
    return verb.route.format_map({name: segment(one) for name, one in names.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that a form of a page does, and a POST to the API.

    Attributes:
        path: The path, of the page and after ``/api/v1``.
        summary: What it does.
        act: Does it.
        answer: The types of the data that it returns, by name.
        note: What the page says then; its names are those of the data.
        back: The path of the page that is shown then; empty if only the API has the action, which then also gets
            the whole body, to refuse fields that it does not know.
        parameters: The parameters.
        role: Who may do it.
        shows: The name of the template of a page that shows the data, in place of a note on the page before.
        keeps: The parameters that the page that is shown then has in its address.
        is_open: Whether no login is needed, because the path has a secret.
        is_open_body: Whether the names of fields are not known before; then it gets the whole body, also with a page.
        instead: For a route that the next release has no more: the paths to use instead.
        verb: The verb that it is made of.
    """

    path: str
    summary: str
    act: Act
    answer: Mapping[str, Any]
    note: Callable[[Data], str] = str
    back: str = ""
    parameters: tuple[Parameter, ...] = field(default=())
    role: Role = Role.OPERATOR
    shows: str = ""
    keeps: tuple[str, ...] = ()
    is_open: bool = False
    is_open_body: bool = False
    instead: str = ""
    verb: Verb[..., Any] | None = None

    @classmethod
    def of(cls, verb: Verb[..., Any], back: str, **more: Any) -> Action:
        """The action of a verb.

        Args:
            verb: The verb.
            back: The path of the page that is shown then.
            more: Attributes that are not those of the verb.
        """

        async def act(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
            if verb.creates and QUEUE in places:
                await check_known(dashboard, values[QUEUE])
            given = given_of(verb, values)
            result = await verb.on(dashboard.fleet, given, caller.name)
            return Answered(verb.answer(given, result, dashboard.form), verb.sentence(given, result))

        places = _PLACE.findall(verb.route)
        parameters = tuple(Parameter.of(one, "path" if one.field in places else "body") for one in verb.parameters)
        answer: dict[str, Any] = {one.field: str if one.is_required else str | None for one in verb.place}
        answer |= {name: type(one) for name, one in verb.facts.items()}
        if verb.result:
            answer[verb.result] = verb.returned
        made: dict[str, Any] = {
            "path": verb.route, "summary": verb.summary, "act": act, "answer": {**answer, "changed": bool},
            "back": back, "note": lambda data: getattr(data, "note", ""), "parameters": parameters,
            "role": Role(verb.role), "verb": verb,
        }  # fmt: skip
        return cls(**made | more)

    def check_fields(self, body: Mapping[str, Any]) -> None:
        """Refuse a field that a program has misspelt, unless the action reads such fields itself.

        Raises:
            Problem: There is no such field.
        """
        known = {one.name for one in self.parameters if one.place == "body"}
        if self.back and not self.is_open_body and (unknown := sorted(body.keys() - known)):
            there_are = f"there are {', '.join(sorted(known))}" if known else "this action has none"
            raise refusal("invalid-request", f"There is no field {unknown[0]!r:.100}; {there_are}.", field=unknown[0])

    def values(self, path: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
        """Read the values of its parameters; `BODY` has all fields of the body where only the API has the action."""
        sources: dict[str, Mapping[str, Any]] = {"path": _names(path), "body": body}
        read = {one.name: one.read(sources[one.place].get(one.name)) for one in self.parameters}
        return read if self.back and not self.is_open_body else {**read, BODY: body}


def given_of(verb: Verb[..., Any], values: Values) -> dict[str, Any]:
    """The arguments of a verb among the values of an action."""
    given = [(one, values.get(one.field)) for one in verb.parameters]
    return {one.name: value for one, value in given if value is not None or not one.is_filter}


def _names(path: Mapping[str, str]) -> dict[str, str]:
    """The names in the segments of a path; `address.segment` has escaped them."""
    return {name: _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) for name, text in path.items()}


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of an object of JSON that is not a class of its own.

    Attributes:
        name: Its name in the document of the API.
        fields: The types of its fields, by name.
    """

    name: str
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, *sources: type, without: tuple[str, ...] = (), **more: Any) -> Shape:
        """The fields of classes together, without some, and with others."""
        found: dict[str, Any] = {}
        for source in sources:
            found |= get_type_hints(source)
        return cls(name, {key: kind for key, kind in found.items() if key not in without} | more)


@dataclass(frozen=True, slots=True)
class Many:
    """The type of a list of shapes.

    Attributes:
        of: The shape.
    """

    of: Shape


_PLACE = re.compile(r"\{(\w+)\}")
_SLASH = re.compile(b"%2f", re.IGNORECASE)
_ESCAPES = {"~": "~7E", "/": "~2F", "\\": "~5C", "%": "~25"}


def segment(name: str) -> str:
    """A name as one segment of a path.

    ``~2F`` stands for a slash, because servers and proxies take ``%2F`` for the end of a segment. ``.`` and ``..`` are
    escaped too, because browsers leave such segments out.
    """
    text = "".join(_ESCAPES.get(char, char) for char in name)
    if text in {".", ".."}:
        text = text.replace(".", "~2E")
    return quote(text, safe="", errors="replace")


def with_slashes(path: str, raw: bytes) -> str:
    """A path in which each ``%2F`` of its raw form is ``~2F``, so that a name with it is one segment.

    Args:
        path: The decoded path.
        raw: The path as it was sent; it does not count if it is the raw form of another path.
    """
    if not _SLASH.search(raw) or unquote(raw.decode("latin-1")) != path:
        return path
    return unquote(_SLASH.sub(b"~2F", raw).decode("latin-1"))


def page_at(pages: Sequence[Page], path: str) -> tuple[Page, dict[str, str]] | None:
    """The page with a decoded path, and the segments that its path has names for; None if there is no such page."""
    for page in pages:
        found = re.fullmatch(_PLACE.sub(r"(?P<\1>[^/]+)", page.path), path) if page.template else None
        if found:
            return page, found.groupdict()
    return None
