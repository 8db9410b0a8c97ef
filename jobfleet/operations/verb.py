"""An operator's verb, described once: the command, the form, the route of the API, the audit and the reference follow.

`@verb` decorates the operation. Its parameters are the signature, with `Kind`s that know how to read a text or a value
of JSON; their help is the docstring. Nothing is worked out before a surface asks, so that a client does not pay for it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from operator import attrgetter
from types import ModuleType
from typing import Annotated, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_args, get_type_hints

from jobfleet.clock import LONGEST, PAST_REMEDY, past
from jobfleet.config.setting import DURATION
from jobfleet.model import STORED, JobStatus, Priority
from jobfleet.model import fields as job_fields
from jobfleet.model.limits import BURST_MAX, NO_LIMIT
from jobfleet.model.option_types import LEVELS, Durability, Seconds
from jobfleet.model.status import PriorityName, ShownState
from jobfleet.operations.audit import Action, Change, Outcome, outcome_of
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation

P = ParamSpec("P")
T = TypeVar("T")
BY = "by"
"""The parameter for the person or program that acts: a flag of the command, the caller of the web."""
DRY_RUN = "dry_run"
"""The parameter that lets a verb only look: then it is not recorded."""
TEXT_MOST = 1000
"""Characters of a text."""
FILTERS = "filters"
"""The name of the named arguments that are filters."""
TEXTS = "texts"
"""The entry in the docstring of filters that is the help of each free text of a job among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a parameter takes.

    Attributes:
        read: Reads a text or a value of JSON. It raises `ValueError` with what to give in place of a wrong one; the
            operation checks what was read, as for a call from Python.
        schema: The schema of its JSON.
        metavar: What the help of the command shows for it.
        flag: The flag of the command, if it is not called after the parameter; a parameter that is required has one
            only if it is given here, and is an argument otherwise.
        name: The name in JSON, in forms and in paths, if it is not that of the parameter.
        is_many: Whether the flag may be repeated.
        is_json: Whether a text is JSON, which is to be decoded first.
        is_local: Whether a time without an offset is in a time zone that the operation knows; else it is in that of the
            command, or for the web in UTC.
        label: The label of its field in a form, if it is not that of the parameter.
        example: What an empty field shows.
    """

    read: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "maxLength": TEXT_MOST})
    metavar: str = "TEXT"
    flag: str = ""
    name: str = ""
    is_many: bool = False
    is_json: bool = False
    is_local: bool = False
    label: str = ""
    example: str = ""


def _text(given: Any) -> str:
    if not isinstance(given, str) or len(given) > TEXT_MOST:
        raise ValueError(f"give a text of at most {TEXT_MOST:,} characters")
    return given


def _flag(given: Any) -> bool:
    words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
    found = given if isinstance(given, bool) else words.get(given.lower()) if isinstance(given, str) else None
    if found is None:
        raise ValueError("give true or false")
    return found


def _number(given: Any) -> float:
    try:
        number = math.nan if isinstance(given, bool | None) else float(given)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("give a number")
    return int(number) if number.is_integer() else number


def _whole(given: Any) -> int:
    try:
        number = _number(given)
    except ValueError:
        number = math.nan
    if not isinstance(number, int):
        raise ValueError("give a whole number")
    return number


def _or_none(read: Callable[[Any], Any], rule: str) -> Callable[[Any], Any]:
    def read_or_none(given: Any) -> Any:
        if given in (NO_LIMIT, "inf"):  # the JSON of an answer has inf
            return math.inf
        try:
            return read(given)
        except ValueError:
            raise ValueError(rule) from None

    return read_or_none


def _rate(given: Any) -> Any:
    return _text(given) if isinstance(given, str) else _number(given)


def _duration(given: Any) -> float:
    try:
        seconds = _number(given) if not isinstance(given, str) else float(str(DURATION.parse(given)))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        raise ValueError("use seconds, or a text such as '30s', '5m', '1h30m' or '30d'; at most 100 years")
    return seconds


def one_of(*words: str, none: str = "", flag: str = "") -> Kind:
    """One of a few words.

    Args:
        words: The words.
        none: A word for None.
        flag: The flag of the command.
    """

    def read(given: Any) -> str | None:
        if given not in every:
            raise ValueError(f"use {', '.join(every)}")
        return None if given == none else str(given)

    every = [*words, none] if none else [*words]
    return Kind(read, {"type": "string", "enum": every}, "|".join(every), flag)


def _bounds(given: Any) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d{1,9})-(\d{1,9})", given) if isinstance(given, str) else None
    pair = [int(one) for one in numbers.groups()] if numbers else given
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(one) is int for one in pair):
        raise ValueError("give two whole numbers, such as 2-50")
    return pair[0], pair[1]


def _at(given: Any) -> datetime:
    try:
        return given if isinstance(given, datetime) else datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise ValueError("give a time such as 2026-11-25T14:00, or with +01:00") from None


def _past(given: Any) -> datetime:
    try:
        return past(_text(given))
    except (ValueError, OverflowError):  # not a time, or one outside the calendar
        raise ValueError(PAST_REMEDY) from None


def _texts(given: Any) -> list[str]:
    return [_text(one) for one in ([given] if isinstance(given, str) else given if isinstance(given, list) else [None])]


def _plain(kind: type, rule: str) -> Callable[[Any], Any]:
    def read(given: Any) -> Any:
        if not isinstance(given, kind):
            raise ValueError(rule)
        return given

    return read


def _canary(given: Any) -> tuple[int, ...]:
    parts = given if isinstance(given, list) else str(given).replace(NO_LIMIT, "").split(",")
    try:
        return tuple(_whole(one) for one in parts if one != "")
    except ValueError:
        raise ValueError(f"give whole numbers such as 1,10, or {NO_LIMIT}") from None


def word_of(known: Mapping[str, Any]) -> Kind:
    """The kind of a few words, each with its value."""

    def read(given: Any) -> Any:
        if not isinstance(given, str) or given.lower() not in known:
            raise ValueError(f"use {', '.join(known)}")
        return known[given.lower()]

    return Kind(read, {"type": "string", "enum": list(known)}, "|".join(known))


_NUMBER_OR_TEXT = {"type": ["number", "string"]}
TEXT, FLAG = Kind(_text), Kind(_flag, {"type": "boolean"})
QueueName = Annotated[str, Kind(_text, metavar="QUEUE")]
GroupName = Annotated[str, Kind(_text, metavar="GROUP")]
NAME = Kind(_text, metavar="NAME")
Name = Annotated[str, NAME]
Concurrency = Annotated[float, Kind(_or_none(_whole, f"give a whole number, or {NO_LIMIT}"), _NUMBER_OR_TEXT, "N|none")]
Whole = Annotated[int, Kind(_whole, {"type": "integer", "minimum": 1, "maximum": BURST_MAX}, "N")]
Number = Annotated[float, Kind(_number, {"type": "number"}, "N")]
Rate = Annotated[
    str | float, Kind(_or_none(_rate, f"give a rate such as 100/s, or {NO_LIMIT}"), _NUMBER_OR_TEXT, "N/TIME|none")
]
NamedRate = Annotated[str | int, Kind(_rate, _NUMBER_OR_TEXT, "N/TIME")]
Duration = Annotated[Seconds, Kind(_duration, _NUMBER_OR_TEXT, "TIME", example="90m")]
For = Annotated[Seconds, Kind(_duration, _NUMBER_OR_TEXT, "TIME", "--for", label="For", example="90m")]
Age = Annotated[Seconds, Kind(_duration, _NUMBER_OR_TEXT, "TIME", "--older-than")]
Level = Annotated[Durability | None, one_of(*LEVELS, none=NO_LIMIT, flag="--durability")]
Bounds = Annotated[
    tuple[int, int],
    Kind(_bounds, {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}, "LOW-HIGH"),
]


Id = Annotated[str, Kind(_text, metavar="ID", name="id")]
Fingerprint = Annotated[str, Kind(_text, metavar="GROUP")]
OfQueue = Annotated[str, Kind(_text, metavar="QUEUE", flag="--queue")]
To = Annotated[str, Kind(_text, metavar="QUEUE", flag="--to", name="to", label="To the queue")]
Tags = Annotated[
    Sequence[str], Kind(_texts, {"type": ["string", "array"], "items": {"type": "string"}}, "TAG", "--tag", "tag", True)
]
At = Annotated[datetime, Kind(_at, metavar="ISO", label="Due at", example="2026-11-28T14:00")]
LOCAL = Kind(_at, metavar="TIME", is_local=True)
NominalTime = Annotated[datetime, replace(LOCAL, flag="--for", label="For the time", example="2026-11-28T02:00")]
From = Annotated[datetime, replace(LOCAL, flag="--from", label="From", example="2026-11-01")]
Until = Annotated[datetime, replace(LOCAL, flag="--to", label="To", example="2026-11-08")]
PAST = Kind(_past, metavar="TIME")
Past = Annotated[datetime, PAST]
Status = Annotated[JobStatus | ShownState, word_of({str(one): one for one in (*STORED, *ShownState)})]
Urgency = Annotated[Priority | PriorityName, word_of({one.name.lower(): one for one in Priority})]
JsonList = Annotated[
    Sequence[object], Kind(_plain(list, "give a JSON list"), {"type": ["array", "string"]}, "JSON", is_json=True)
]
JsonObject = Annotated[
    Mapping[str, object],
    Kind(_plain(dict, "give a JSON object"), {"type": ["object", "string"]}, "JSON", is_json=True),
]
Token = Annotated[str, Kind(_text, metavar="TOKEN", name="signal_token")]
ANY = {"type": ["object", "array", "string", "number", "boolean", "null"]}
Value = Annotated[object, Kind(lambda given: given, ANY, "JSON")]
Pace = Annotated[float | str, Kind(_rate, _NUMBER_OR_TEXT, "RATE")]
Canary = Annotated[Sequence[int], Kind(_canary, {"type": ["array", "string"], "items": {"type": "integer"}}, "N,N")]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a verb.

    Attributes:
        name: The name, in Python, in JSON and in a form.
        kind: What it takes.
        help: What it is, from the docstring.
        is_required: Whether it must be given.
        default: Its value if it is not given.
        is_argument: Whether the command has it without a flag.
        is_filter: Whether it says which things of many are meant.
    """

    name: str
    kind: Kind
    help: str
    is_required: bool = False
    default: Any = None
    is_argument: bool = False
    is_filter: bool = False

    @property
    def flag(self) -> str:
        """The flag of the command."""
        return self.kind.flag or f"--{self.name.replace('_', '-')}"

    @property
    def begin(self) -> str:
        """What the field of a form begins with: the default, as text."""
        if isinstance(self.default, list | tuple):
            return ",".join(map(str, self.default))
        return "" if self.default is None or isinstance(self.default, bool) else str(self.default)

    @property
    def field(self) -> str:
        """The name in JSON, in forms and in paths."""
        return self.kind.name or self.name


@dataclass(frozen=True, eq=False, kw_only=True)
class Verb(Generic[P, T]):
    """An operation that an operator may ask for. It is called as its operation is.

    Attributes:
        operation: The operation.
        name: The family and the act. All that follows from it is the default of what can also be given: for
            ``limits.set`` the method of a fleet is the same, the command ``limits set``, the route of the API
            ``/limits/set``, the record of the audit ``limit.set``.
        target: The parameters that say what is changed.
        titled: Names the target for the audit and for people; by default the values of `target` with colons.
        before: Reads the values before it, for the audit, from the arguments; a `Change` also has those after it.
        change: Makes the values after it from those before and the arguments; by default the arguments are these.
        end: Makes the outcome for the audit from the result.
        state: The state of the target then, for the sentence of the result; empty if `done` is the sentence.
        done: The sentence of the result, with the places ``{target}``, ``{result}`` and those of the parameters; or
            what makes it.
        unchanged: The sentence if nothing has changed.
        facts: What the answer and the record have besides the target and the result.
        result: The name of the result in the answer, besides ``changed``; empty if it only says that.
        form: The method of `JsonForm` for a result that JSON does not have.
        role: Who may do it in the web.
        creates: Whether it creates the queue that it names. The command says so; a route with the queue in it refuses
            an unknown one, since a misspelt address must not create a queue.
        fails_unchanged: Whether the command fails if nothing has changed.
        question: What the command asks first, or the operation that makes the question, empty for none; it raises if
            the verb cannot be done.
        method: The method of a fleet.
        command: The command.
        route: The path of the form, and of the API after ``/api/v1``; a parameter in braces is a part of it.
        recorded: The action of its records in the audit; it may have the places of parameters.
        noun_of: The noun in its records, if it depends on the arguments.
        is_of_one_job: Whether it concerns a single job; from Python, it is then recorded only with `BY`.
        inner: The parameters that no surface has, besides `BY`.
        is_written: Whether the method of the client is written by hand, because its types need that.
        holes: The surfaces without the verb, each with the reason; they are called as in docs/reference/verbs.md.
    """

    operation: Callable[Concatenate[FleetContext, P], Operation[T]]
    name: str
    target: tuple[str, ...] = ()
    titled: Callable[[Mapping[str, Any]], str] | None = None
    before: Callable[[FleetContext, Mapping[str, Any]], Operation[Mapping[str, Any] | Change]] | None = None
    change: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] | None = None
    end: Callable[[Any], Outcome] = outcome_of
    state: str = ""
    done: str | Callable[[Mapping[str, Any], Any], str] = ""
    unchanged: str = "Nothing has changed."
    facts: Mapping[str, Any] = field(default_factory=dict)
    result: str = ""
    form: str = ""
    role: Literal["producer", "approver", "operator", "admin"] = "operator"
    creates: bool = False
    fails_unchanged: bool = False
    question: str | Callable[[FleetContext, Mapping[str, Any]], Operation[str]] = ""
    method: str = ""
    command: str = ""
    route: str = ""
    recorded: str = ""
    noun_of: Callable[[Mapping[str, Any]], str] | None = None
    is_of_one_job: bool = False
    inner: tuple[str, ...] = ()
    is_written: bool = False
    holes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in what follows from the name."""
        family, _, act = self.name.partition(".")
        derived = {
            "method": self.name,
            "command": self.name.replace(".", " "),
            "route": f"/{family}/{act}",
            "recorded": f"{family.removesuffix('s')}.{act}",
        }
        for name, text in derived.items():
            if not getattr(self, name):
                object.__setattr__(self, name, text)

    def __call__(self, context: FleetContext, *args: P.args, **named: P.kwargs) -> Operation[T]:
        """The operation."""
        return self.operation(context, *args, **named)

    @property
    def noun(self) -> str:
        """One of the family."""
        return self.name.partition(".")[0].removesuffix("s")

    @cached_property
    def text(self) -> str:
        """What it does: the docstring before its arguments."""
        return re.split(r"\n\n(?:Args|Returns|Raises):", inspect.cleandoc(self.operation.__doc__ or self.name))[0]

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return self.text.partition("\n\n")[0]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, without the context, `BY` and inner ones; each filter is one."""
        hints = get_type_hints(self.operation, include_extras=True)
        helps = _helps(self.operation, "Args")
        found: list[Parameter] = []
        for one in list(inspect.signature(self.operation).parameters.values())[1:]:
            if one.kind is one.VAR_KEYWORD:
                found += fields_of(get_args(hints[one.name])[0])
            elif one.name not in (BY, *self.inner):
                kind, is_required = kind_of(hints[one.name]), one.default is one.empty
                default = None if is_required else one.default
                is_argument = one.kind is not one.KEYWORD_ONLY and not kind.flag
                found.append(Parameter(one.name, kind, helps.get(one.name, ""), is_required, default, is_argument))
        return tuple(found)

    @property
    def place(self) -> list[Parameter]:
        """The parameters of the target, if it is one thing and not what filters select."""
        is_one = not any(one.is_filter for one in self.parameters)
        return [one for one in self.parameters if is_one and one.name in self.target]

    @property
    def returned(self) -> Any:
        """The type of the result."""
        return get_args(get_type_hints(self.operation)["return"])[2]

    def target_of(self, values: Mapping[str, Any]) -> str:
        """What is changed, as the audit names it."""
        if self.titled is not None:
            return self.titled(values)
        if filters := [one.name for one in self.parameters if one.is_filter]:
            given = [(name, values.get(name)) for name in (*self.target, *filters)]
            return " ".join(f"{name}={_word(one)}" for name, one in given if one not in (None, (), [])) or "all queues"
        return ":".join(str(values[name]) for name in self.target if values.get(name) is not None)

    def on(self, fleet: Any, values: Mapping[str, Any], by: str | None) -> Any:
        """Call the method of a fleet."""
        return attrgetter(self.method)(fleet)(**values, by=by)

    def has_changed(self, result: Any) -> bool:
        """Whether the result is that something changed."""
        return self.end(result).word == "done"

    def answer(self, values: Mapping[str, Any], result: Any, form: Any) -> dict[str, Any]:
        """What a command prints, and the API answers.

        Args:
            values: The arguments.
            result: The result.
            form: The `JsonForm` of the surface.
        """
        shown = getattr(form, self.form) if self.form else lambda one: one
        plain = [shown(one) for one in result] if isinstance(result, list) else shown(result)
        found = {**{one.field: values.get(one.name) for one in self.place}, **self.facts}
        if self.result:
            found[self.result] = plain
        return {**found, "changed": self.has_changed(result) and not values.get(DRY_RUN)}

    def sentence(self, values: Mapping[str, Any], result: Any) -> str:
        """The result in a sentence."""
        target, has_changed = self.target_of(values), self.has_changed(result)
        if self.state:
            text = f"{self.noun.capitalize()} {target!r} is {self.state}"
            return f"{text}." if has_changed else f"{text}, as before."
        if callable(self.done):
            return self.done(values, result)
        return (self.done if has_changed else self.unchanged).format(**{**values, "target": target, "result": result})

    def action(self, context: FleetContext, *args: P.args, **named: P.kwargs) -> Action:
        """The action as the audit records it."""
        bound = inspect.signature(self.operation).bind(context, *args, **named)
        bound.apply_defaults()
        values: dict[str, Any] = {}
        for name, one in list(bound.arguments.items())[1:]:
            values |= one if name == FILTERS else {name: one}
        look = None
        if (read := self.before) is not None:

            def look() -> Operation[Change]:
                before = yield from read(context, values)
                return before if isinstance(before, Change) else Change(before, self._after(before, values))

        name = self.recorded.format_map(values)
        if self.noun_of is not None:
            name = f"{self.noun_of(values)}.{name.partition('.')[2]}"
        after = self._after({}, values)
        return Action(name, self.target_of(values), after, look, self.end, is_of_one_job=self.is_of_one_job)

    def _after(self, before: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.change is not None:
            return self.change(before, values)
        left_out = {BY, DRY_RUN, *self.target, *self.inner, *(one.name for one in self.parameters if one.is_filter)}
        return {
            **self.facts,
            **{
                name: list(one) if isinstance(one, tuple) else one
                for name, one in values.items()
                if one not in (None, False) and name not in left_out
            },
        }


@cache
def fields_of(filters: type) -> tuple[Parameter, ...]:
    """The filters of a ``TypedDict``, in the order of its docstring, which is their help; `TEXTS` is one for many."""
    hints = get_type_hints(filters, include_extras=True)
    found: list[Parameter] = []
    for name, text in _helps(filters, "Attributes").items():
        if name == TEXTS:
            texts = [one for one in job_fields.FILTERS if one.name in hints]
            found += [Parameter(one.name, NAME, text.format(one.noun), is_filter=True) for one in texts]
        else:
            found.append(Parameter(name, kind_of(hints[name]), text, is_filter=True))
    if {one.name for one in found} != hints.keys():
        raise TypeError(f"The docstring of {filters.__name__} has other filters than its annotations.")
    return tuple(found)


def _helps(described: Any, section: str) -> dict[str, str]:
    doc = inspect.cleandoc(described.__doc__ or "").partition(f"{section}:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", doc, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _word(given: Any) -> str:
    if isinstance(given, datetime):
        with suppress(OverflowError, ValueError):  # it is at an end of the calendar, and refused
            return given.astimezone(UTC).isoformat()
    return ",".join(map(str, given)) if isinstance(given, list | tuple) else str(given)


def counted(number: int, thing: str) -> str:
    """A number with its noun in the singular or plural."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def jobs_sentence(text: str) -> Callable[[Mapping[str, Any], int], str]:
    """What makes the sentence of a number of jobs, such as ``Cancelled: 3 jobs``."""
    return lambda _, number: f"{text}: {counted(number, 'job')}."


def kind_of(hint: Any) -> Kind:
    """The kind in an annotation, or in one of its members."""
    for one in (*getattr(hint, "__metadata__", ()), *(kind_of(part) for part in get_args(hint))):
        if isinstance(one, Kind) and one is not TEXT:
            return one
    return FLAG if hint is bool else TEXT


def verb(name: str, **more: Any) -> Callable[[Callable[Concatenate[FleetContext, P], Operation[T]]], Verb[P, T]]:
    """Describe an operation as a verb; the arguments are the attributes of `Verb`."""

    def decorate(operation: Callable[Concatenate[FleetContext, P], Operation[T]]) -> Verb[P, T]:
        return Verb(operation=operation, name=name, **more)

    return decorate


def verbs_of(*modules: ModuleType) -> tuple[Verb[..., Any], ...]:
    """The verbs that modules declare, in their order."""
    return tuple(
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, Verb) and one.operation.__module__ == module.__name__
    )
