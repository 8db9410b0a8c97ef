"""An operator's verb, described once: the command, the form, the route of the API, the audit and the reference follow.

`@verb` decorates the operation. Its parameters are the signature, with `Kind`s that know how to read a text or a value
of JSON; their help is the docstring. Nothing is worked out before a surface asks, so that a client does not pay for it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_args, get_type_hints

from jobfleet.clock import LONGEST
from jobfleet.config.setting import DURATION
from jobfleet.model.limits import BURST_MAX, NO_LIMIT
from jobfleet.model.option_types import Seconds
from jobfleet.operations.audit import Action, Change
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation

P = ParamSpec("P")
T = TypeVar("T")
BY = "by"
"""The parameter for the person or program that acts: a flag of the command, the caller of the web."""
TEXT_MOST = 1000
"""Characters of a text."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a parameter takes.

    Attributes:
        read: Reads a text or a value of JSON. It raises `ValueError` with what to give in place of a wrong one; the
            operation checks what was read, as for a call from Python.
        schema: The schema of its JSON.
        metavar: What the help of the command shows for it.
        flag: The flag of the command, if it is not called after the parameter.
    """

    read: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "maxLength": TEXT_MOST})
    metavar: str = "TEXT"
    flag: str = ""


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


def _bounds(given: Any) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d{1,9})-(\d{1,9})", given) if isinstance(given, str) else None
    pair = [int(one) for one in numbers.groups()] if numbers else given
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(type(one) is int for one in pair):
        raise ValueError("give two whole numbers, such as 2-50")
    return pair[0], pair[1]


_NUMBER_OR_TEXT = {"type": ["number", "string"]}
TEXT, FLAG = Kind(_text), Kind(_flag, {"type": "boolean"})
QueueName = Annotated[str, Kind(_text, metavar="QUEUE")]
Name = Annotated[str, Kind(_text, metavar="NAME")]
Concurrency = Annotated[float, Kind(_or_none(_whole, f"give a whole number, or {NO_LIMIT}"), _NUMBER_OR_TEXT, "N|none")]
Whole = Annotated[int, Kind(_whole, {"type": "integer", "minimum": 1, "maximum": BURST_MAX}, "N")]
Number = Annotated[float, Kind(_number, {"type": "number"}, "N")]
Rate = Annotated[
    str | float, Kind(_or_none(_rate, f"give a rate such as 100/s, or {NO_LIMIT}"), _NUMBER_OR_TEXT, "N/TIME|none")
]
NamedRate = Annotated[str | int, Kind(_rate, _NUMBER_OR_TEXT, "N/TIME")]
Duration = Annotated[Seconds, Kind(_duration, _NUMBER_OR_TEXT, "TIME")]
For = Annotated[Seconds, Kind(_duration, _NUMBER_OR_TEXT, "TIME", "--for")]
Bounds = Annotated[
    tuple[int, int],
    Kind(_bounds, {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}, "LOW-HIGH"),
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a verb.

    Attributes:
        name: The name, in Python, in JSON and in a form.
        kind: What it takes.
        help: What it is, from the docstring.
        is_required: Whether it must be given.
        default: Its value if it is not given.
    """

    name: str
    kind: Kind
    help: str
    is_required: bool
    default: Any = None

    @property
    def flag(self) -> str:
        """The flag of the command."""
        return self.kind.flag or f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, eq=False)
class Verb(Generic[P, T]):
    """An operation that an operator may ask for. It is called as its operation is.

    Attributes:
        operation: The operation.
        name: The family and the act: the method of a fleet. The route of the API is ``/limits/set`` for ``limits.set``,
            the command ``limits set``, the record of the audit ``limit.set``.
        target: The parameters that say what is changed.
        state: The state of the target then, for the sentence of the result; empty if `done` is the sentence.
        done: The sentence of the result, with the place ``{target}``.
        role: Who may do it in the web.
        before: Reads the values before it, for the audit, from the arguments.
        change: Makes the values after it from those before and the arguments; by default the arguments are these.
        holes: The surfaces without the verb, each with the reason; they are called as in docs/reference/verbs.md.
    """

    operation: Callable[Concatenate[FleetContext, P], Operation[T]]
    name: str
    target: tuple[str, ...]
    before: Callable[[FleetContext, Mapping[str, Any]], Operation[Mapping[str, Any]]]
    state: str = ""
    done: str = ""
    role: Literal["operator", "admin"] = "operator"
    change: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] | None = None
    holes: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, context: FleetContext, *args: P.args, **named: P.kwargs) -> Operation[T]:
        """The operation."""
        return self.operation(context, *args, **named)

    @property
    def family(self) -> str:
        """The part of a fleet that has the method."""
        return self.name.partition(".")[0]

    @property
    def act(self) -> str:
        """The word for the act, in every layer."""
        return self.name.partition(".")[2]

    @property
    def noun(self) -> str:
        """One of the family."""
        return self.family.removesuffix("s")

    @property
    def recorded(self) -> str:
        """The action of its records in the audit."""
        return f"{self.noun}.{self.act}"

    @property
    def path(self) -> str:
        """The path of the form, and of the API after ``/api/v1``."""
        return f"/{self.family}/{self.act}"

    @cached_property
    def text(self) -> str:
        """What it does: the docstring before its arguments."""
        return inspect.cleandoc(self.operation.__doc__ or self.name).partition("\n\nArgs:")[0]

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return self.text.partition("\n\n")[0]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters, without the context and `BY`."""
        hints = get_type_hints(self.operation, include_extras=True)
        doc = inspect.cleandoc(self.operation.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
        helps = {
            name: " ".join(text.split())
            for name, text in re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", doc, re.MULTILINE)
        }
        every = list(inspect.signature(self.operation).parameters.values())[1:]
        return tuple(
            Parameter(
                one.name,
                _kind_of(hints[one.name]),
                helps.get(one.name, ""),
                one.default is one.empty,
                None if one.default is one.empty else one.default,
            )
            for one in every
            if one.name != BY
        )

    def target_of(self, values: Mapping[str, Any]) -> str:
        """What is changed, as the audit names it."""
        return ":".join(str(values[name]) for name in self.target if values.get(name) is not None)

    def sentence(self, values: Mapping[str, Any], *, has_changed: bool) -> str:
        """The result in a sentence."""
        if self.state:
            text = f"{self.noun.capitalize()} {self.target_of(values)!r} is {self.state}"
            return f"{text}." if has_changed else f"{text}, as before."
        return self.done.format(target=self.target_of(values)) if has_changed else "Nothing has changed."

    def action(self, context: FleetContext, *args: P.args, **named: P.kwargs) -> Action:
        """The action as the audit records it."""
        bound = inspect.signature(self.operation).bind(context, *args, **named)
        bound.apply_defaults()
        values = dict(list(bound.arguments.items())[1:])

        def look() -> Operation[Change]:
            before = yield from self.before(context, values)
            return Change(before, self._after(before, values))

        return Action(self.recorded, self.target_of(values), self._after({}, values), look)

    def _after(self, before: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.change is not None:
            return self.change(before, values)
        return {
            name: list(one) if isinstance(one, tuple) else one
            for name, one in values.items()
            if one not in (None, False) and name not in (*self.target, BY)
        }


def _kind_of(hint: Any) -> Kind:
    """The kind in an annotation, or in one of its members."""
    for one in (*getattr(hint, "__metadata__", ()), *(_kind_of(part) for part in get_args(hint))):
        if isinstance(one, Kind) and one is not TEXT:
            return one
    return FLAG if hint is bool else TEXT


def verb(name: str, **more: Any) -> Callable[[Callable[Concatenate[FleetContext, P], Operation[T]]], Verb[P, T]]:
    """Describe an operation as a verb; the arguments are the attributes of `Verb`."""

    def decorate(operation: Callable[Concatenate[FleetContext, P], Operation[T]]) -> Verb[P, T]:
        return Verb(operation, name, **more)

    return decorate
