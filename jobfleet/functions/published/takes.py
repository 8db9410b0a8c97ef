"""What a function takes, as workers publish it: its parameters, with the types of JSON that fit them. Pure.

A program that is not written in Python knows neither the function nor its types. So its calls are checked against this
record before they are enqueued. A type that JSON does not have, such as a datetime, fits every value.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Collection, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.codec import decode
from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.functions.fit import Fit
from jobfleet.functions.injection import hints_of

if TYPE_CHECKING:  # a supervisor reads what is published, and knows no function
    from jobfleet.functions.registry import JobFunction

TAKES = "takes"
WORDS = {
    "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null",
    "array": "a list", "object": "an object",
}  # fmt: skip
"""The types of JSON, as messages name them."""
_PLAIN: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", None: "null",
    dict: "object", Mapping: "object", MutableMapping: "object",
    **dict.fromkeys((list, tuple, set, frozenset, Sequence, MutableSequence, Collection), "array"),
}  # fmt: skip
_UNIONS = (types.UnionType, typing.Union)
_KINDS = {
    "p": inspect.Parameter.POSITIONAL_ONLY,
    "b": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "a": inspect.Parameter.VAR_POSITIONAL,
    "k": inspect.Parameter.KEYWORD_ONLY,
    "m": inspect.Parameter.VAR_KEYWORD,
}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


class Taken(NamedTuple):
    """A parameter that callers give.

    Attributes:
        parameter: Its name, its kind, and whether it has a default.
        kinds: The types of JSON that fit; empty if every value does.
    """

    parameter: inspect.Parameter
    kinds: tuple[str, ...]


class _Default:
    """Stands for a default, whose value is not published."""

    def __repr__(self) -> str:
        return "…"


def takes_of(function: JobFunction[..., Any, Any]) -> list[list[object]] | None:
    """One row per parameter: its name, its kind, whether it has a default, its types. None if they are not known."""
    if function.parameters is None or hasattr(function.function, "__wrapped__"):
        return None  # a wrapper may take arguments of its own
    hints = {} if function.batch is not None else hints_of(function.function)
    return [
        [one.name, _LETTERS[one.kind], one.default is not one.empty, _kinds_of(hints.get(one.name, Any))]
        for one in function.parameters
    ]


def read_takes(record: bytes) -> tuple[Taken, ...] | None:
    """The parameters of a published function; None if its worker did not publish them."""
    with suppress(EncodingError, TypeError, ValueError, LookupError):
        return tuple(_read(decode(record)[TAKES]))
    return None


def _read(rows: Any) -> Iterator[Taken]:
    for name, letter, has_default, kinds in rows:
        default = _Default() if has_default else inspect.Parameter.empty
        known = tuple(kind for kind in kinds if kind in WORDS)
        yield Taken(inspect.Parameter(name, _KINDS[letter], default=default), known if len(known) == len(kinds) else ())


def check_takes(name: str, taken: Sequence[Taken], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check a call of a published function.

    Raises:
        InvalidJob: It does not accept these arguments.
    """
    parameters = [one.parameter for one in taken]
    Fit(name, parameters).check((), args, kwargs)
    kinds = {one.parameter.name: one.kinds for one in taken}
    bound = inspect.Signature(parameters).bind(*args, **kwargs).arguments
    for parameter in parameters:
        if parameter.name not in bound or not kinds[parameter.name]:
            continue
        value = bound[parameter.name]
        given: Sequence[Any] = [value]
        if parameter.kind is parameter.VAR_POSITIONAL:
            given = value
        elif parameter.kind is parameter.VAR_KEYWORD:
            given = list(value.values())
        for one in given:
            _check(name, parameter.name, kinds[parameter.name], one, kwargs)


def _check(name: str, parameter: str, kinds: Sequence[str], value: Any, kwargs: Mapping[str, Any]) -> None:
    kind = kind_of(value)
    if kind in kinds or (kind == "integer" and "number" in kinds):
        return
    wanted = " or ".join(WORDS[one] for one in kinds)
    raise InvalidJob(
        f"{parameter} of {name} is {WORDS.get(kind, kind)}; give {wanted}.",
        field="kwargs" if parameter in kwargs else "args",
    )


def kind_of(value: object) -> str:
    """The type of JSON of a value."""
    if isinstance(value, bool):  # a bool is also an int
        return "boolean"
    return next((word for kind, word in _PLAIN.items() if isinstance(kind, type) and type(value) is kind), "object")


def _kinds_of(hint: Any) -> list[str]:
    """The types of JSON that fit an annotation; empty if every value does, or if JSON does not have the type."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _kinds_of(typing.get_args(hint)[0])
    if origin in _UNIONS:
        return _together(_kinds_of(one) for one in typing.get_args(hint))
    if origin is typing.Literal:
        return _together([_PLAIN[type(one)]] if type(one) in _PLAIN else [] for one in typing.get_args(hint))
    if isinstance(hint, typing.NewType):
        return _kinds_of(hint.__supertype__)
    if typing.is_typeddict(hint):
        return ["object"]
    with suppress(TypeError):  # an annotation may be an object without a hash
        return [_PLAIN[origin or hint]] if (origin or hint) in _PLAIN else []
    return []


def _together(parts: Any) -> list[str]:
    found = list(parts)
    return list(dict.fromkeys(kind for part in found for kind in part)) if all(found) else []
