"""What a function takes, as workers publish it: its parameters, with the types of JSON that fit them. Pure.

A program that is not written in Python knows neither the function nor its types. So its calls are checked against this
record before they are enqueued. A typed parameter, which a worker rebuilds, is published with a JSON Schema.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.codec import decode, encode
from jobfleet.errors import EncodingError, InvalidJob, TypeMismatch
from jobfleet.functions.fit import Fit
from jobfleet.functions.injection import hints_of
from jobfleet.functions.published.json_schema import WORDS, check
from jobfleet.typed.converter import Refused, Schema

if TYPE_CHECKING:  # a supervisor reads what is published, and knows no function
    from jobfleet.functions.registry import JobFunction

TAKES = "takes"
SCHEMAS = "schemas"
SCHEMA_MOST = 32 * 1024
"""The largest schema that is published, in bytes; a worker checks what no schema describes."""
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
        schema: The JSON Schema of each value; empty if the parameter is not typed.
    """

    parameter: inspect.Parameter
    kinds: tuple[str, ...]
    schema: Mapping[str, Any] = {}


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


def schemas_of(function: JobFunction[..., Any, Any], taken: Iterable[Sequence[Any]]) -> dict[str, Schema]:
    """The JSON Schema of each parameter of a function.

    Args:
        function: The function.
        taken: The result of `takes_of`.
    """
    typed = function.typed.schemas() if function.typed is not None else {}
    schemas = {name: typed.get(name) or _schema_of(kinds) for name, _, _, kinds in taken}
    return {name: schema for name, schema in schemas.items() if _is_published(schema)}


def _schema_of(kinds: Any) -> Schema:
    """The schema of a parameter that is not typed: no more than the types of JSON, as before there were schemas."""
    return {} if not kinds else {"type": kinds[0] if len(kinds) == 1 else list(kinds)}


def _is_published(schema: Schema) -> bool:
    try:
        return bool(schema) and len(encode(schema)) <= SCHEMA_MOST
    except EncodingError:  # a default or an example of the user's that JSON does not have
        return False


def read_takes(record: bytes) -> tuple[Taken, ...] | None:
    """The parameters of a published function; None if its worker did not publish them."""
    with suppress(EncodingError, TypeError, ValueError, LookupError):
        fields = decode(record)
        schemas = fields.get(SCHEMAS)
        return tuple(_read(fields[TAKES], schemas if isinstance(schemas, dict) else {}))
    return None


def _read(rows: Any, schemas: Mapping[str, Any]) -> Iterator[Taken]:
    for name, letter, has_default, kinds in rows:
        default = _Default() if has_default else inspect.Parameter.empty
        known = tuple(kind for kind in kinds if kind in WORDS)
        known = known if len(known) == len(kinds) else ()
        schema = schemas.get(name)
        yield Taken(
            inspect.Parameter(name, _KINDS[letter], default=default), known, schema if isinstance(schema, dict) else {}
        )


def check_takes(name: str, taken: Sequence[Taken], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check a call of a published function.

    Raises:
        InvalidJob: It does not accept these arguments.
    """
    parameters = [one.parameter for one in taken]
    Fit(name, parameters).check((), args, kwargs)
    rules = {one.parameter.name: one for one in taken}
    bound = inspect.Signature(parameters).bind(*args, **kwargs).arguments
    for parameter in parameters:
        rule = rules[parameter.name]
        if parameter.name not in bound or not (rule.kinds or rule.schema):
            continue
        for step, one in _given(parameter, bound[parameter.name]):
            if rule.kinds:
                _check(name, parameter.name, rule.kinds, one, kwargs)
            if rule.schema:
                _check_schema(name, step, rule.schema, one, kwargs)


def _given(parameter: inspect.Parameter, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a parameter, each with its name."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        yield from ((f"{parameter.name}[{place}]", one) for place, one in enumerate(value))
    elif parameter.kind is parameter.VAR_KEYWORD:
        yield from value.items()
    else:
        yield parameter.name, value


def _check_schema(name: str, step: str, schema: Mapping[str, Any], value: Any, kwargs: Mapping[str, Any]) -> None:
    try:
        check(schema, value)
    except Refused as error:
        path = step + error.path
        raise TypeMismatch(
            f"{path} of {name} {error.text}.", field="kwargs" if step in kwargs else "args", path=path
        ) from None


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
