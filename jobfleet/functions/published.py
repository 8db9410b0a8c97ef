"""What a function takes, as workers publish it, and the check of JSON against the published schemas. Pure."""

from __future__ import annotations

import base64
import binascii
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from jobfleet.codec import decode, encode
from jobfleet.errors import EncodingError, InvalidJob, TypeMismatch
from jobfleet.functions.callables import Fit
from jobfleet.functions.injection import hints_of
from jobfleet.typed.converter import Refused, Schema, step_of

if TYPE_CHECKING:
    from jobfleet.functions.registry import JobFunction


# What a function takes, as workers publish it: its parameters, with the types of JSON that fit them. Pure.
#
# A program that is not written in Python knows neither the function nor its types. So its calls are checked against
# this record before they are enqueued. A typed parameter, which a worker rebuilds, is published with a JSON Schema.


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


def signature_of(function: JobFunction[..., Any, Any]) -> str:
    """The parameters that a caller gives, as text."""
    if function.parameters is None:
        return "(…)"
    signature = inspect.signature(function.function)
    parameters = [one.replace(annotation=_bare(one.annotation)) for one in function.parameters]
    return str(signature.replace(parameters=parameters, return_annotation=_bare(signature.return_annotation)))


class _Bare(str):
    """An annotation that is text, because of ``from __future__ import annotations``; it is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _bare(annotation: object) -> object:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


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


# Checks JSON against the published schemas of typed parameters. Pure.
#
# It knows the words that pydantic, msgspec and jobfleet write. A word that it does not know, such as ``pattern``,
# permits everything: the worker checks the value again when it rebuilds it.


DEPTH_MOST: Final = 64
"""Most levels of a value and of references; a schema may refer to itself."""
REFERENCE: Final = "#/$defs/"
FOREIGN, NEUTRAL, NAMED = range(3)
"""What the fields of a value that have listed values say about a choice: another one, nothing, this one."""
WORDS: Final = {
    "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null",
    "array": "a list", "object": "an object",
}  # fmt: skip
"""The types of JSON, as messages name them."""


def word_of(value: object) -> str:
    """The type of JSON of a value; empty for a value that JSON does not have."""
    match value:
        case None:
            return "null"
        case bool():  # a bool is also an int
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list() | tuple() | set() | frozenset():
            return "array"
        case dict():
            return "object"
        case _:
            return ""


def check(schema: Mapping[str, Any], value: Any) -> None:
    """Check a value.

    Raises:
        Refused: It does not fit; the refusal has the path below the value.
    """
    _Check(schema.get("$defs", {}))(schema, value, 0)


class _Check:
    """A check against a schema with definitions.

    Each choice looks at each value once: choices that have the same fields would else double the work at each level.
    """

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._known: dict[tuple[int, int], tuple[str, str] | None] = {}

    def __call__(self, schema: Any, value: Any, depth: int) -> None:
        if not isinstance(schema, Mapping) or depth > DEPTH_MOST:
            return
        if isinstance(reference := schema.get("$ref"), str):
            self(self._definitions.get(reference.removeprefix(REFERENCE)), value, depth + 1)
        word = word_of(value)
        if not word:
            return  # not JSON: a Python program has its own check
        _check_type(schema, word)
        _check_listed(schema, value)
        self._check_choices(schema, value, depth)
        if word in ("integer", "number"):
            _check_number(schema, value)
        elif word == "string":
            _check_text(schema, value)
        elif word == "array":
            self._check_array(schema, list(value), depth)
        elif word == "object":
            self._check_object(schema, value, depth)

    def _check_choices(self, schema: Mapping[str, Any], value: Any, depth: int) -> None:
        for one in schema.get("allOf", ()):
            self(one, value, depth + 1)
        for choices in (schema.get("anyOf"), schema.get("oneOf")):
            if not isinstance(choices, list) or not choices:
                continue
            refusals = []
            for one in sorted(choices, key=lambda one: self._verdict(one, value) == FOREIGN):
                refusal = self._refusal(one, value, depth + 1)
                if refusal is None:
                    break
                refusals.append((one, refusal))
            else:
                raise self._best(refusals, value)

    def _refusal(self, schema: Any, value: Any, depth: int) -> Refused | None:
        """Why a value does not fit a choice; None if it does."""
        place = id(schema), id(value)
        if place not in self._known:
            self._known[place] = None  # a choice that refers to itself says nothing more
            try:
                self(schema, value, depth)
            except Refused as error:
                self._known[place] = error.text, error.path
        found = self._known[place]
        return None if found is None else Refused(*found)  # a new one, because its path grows on its way up

    def _verdict(self, schema: Any, value: Any) -> int:
        """What the fields with listed values, such as a ``kind``, say about a choice."""
        schema = self._resolved(schema)
        properties = schema.get("properties", {}) if isinstance(value, dict) and isinstance(schema, Mapping) else {}
        tags = {
            name: listed for name, one in properties.items() if (listed := _listed(self._resolved(one))) is not None
        }
        if any(name in value and not _is_among(value[name], listed) for name, listed in tags.items()):
            return FOREIGN
        return NAMED if tags and all(name in value for name in tags) else NEUTRAL

    def _best(self, refusals: list[tuple[Any, Refused]], value: Any) -> Refused:
        """The refusal of the only choice that has the type or the listed fields of the value, else one of all types."""
        word = word_of(value)
        near = [(one, error) for one, error in refusals if word in self._types(one)]
        if len(near) > 1:
            near = [pair for pair in near if self._verdict(pair[0], value) == NAMED] or near
        if len(near) == 1:
            return near[0][1]
        if near:
            return Refused("fits none of the types that are permitted here")
        words = dict.fromkeys(WORDS[one] for each, _ in refusals for one in self._types(each) if one in WORDS)
        return Refused(f"is {WORDS[word]}; give {' or '.join(words) or 'another value'}")

    def _types(self, schema: Any) -> list[str]:
        schema = self._resolved(schema)
        return _listed_types(schema) if isinstance(schema, Mapping) else []

    def _resolved(self, schema: Any) -> Any:
        """What a schema refers to."""
        for _ in range(DEPTH_MOST):
            if not isinstance(schema, Mapping) or "$ref" not in schema:
                break
            schema = self._definitions.get(str(schema["$ref"]).removeprefix(REFERENCE))
        return schema

    def _check_array(self, schema: Mapping[str, Any], value: list[Any], depth: int) -> None:
        least, most = schema.get("minItems"), schema.get("maxItems")
        if isinstance(least, int) and len(value) < least:
            raise Refused(f"has {len(value)} items; give at least {least}")
        if isinstance(most, int) and len(value) > most:
            raise Refused(f"has {len(value)} items; give at most {most}")
        first = schema.get("prefixItems", ())
        for place, item in enumerate(value):
            own = first[place] if place < len(first) else schema.get("items", {})
            self._below(f"[{place}]", own, item, depth)

    def _check_object(self, schema: Mapping[str, Any], value: dict[Any, Any], depth: int) -> None:
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                raise Refused("is missing", _step(name))
        others = schema.get("additionalProperties", True)
        for name, item in value.items():
            if name in properties:
                self._below(_step(name), properties[name], item, depth)
            elif others is False and "patternProperties" not in schema:
                raise Refused("is not a known field", _step(name))
            else:
                self._below(_step(name), others, item, depth)

    def _below(self, step: str, schema: Any, value: Any, depth: int) -> None:
        try:
            self(schema, value, depth + 1)
        except Refused as error:
            raise error.below(step) from None


def _listed_types(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", ())
    found = [kinds] if isinstance(kinds, str) else list(kinds)
    return found or [word_of(value) for value in schema.get("enum", ())]


def _check_type(schema: Mapping[str, Any], word: str) -> None:
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not kinds or word in kinds or (word == "integer" and "number" in kinds):
        return
    raise Refused(f"is {WORDS[word]}; give {' or '.join(WORDS.get(one, str(one)) for one in kinds)}")


def _listed(schema: Any) -> list[Any] | None:
    """The values that a schema lists; None if it lists none."""
    if not isinstance(schema, Mapping):
        return None
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    return listed if isinstance(listed, list) else None


def _is_among(value: Any, listed: list[Any]) -> bool:
    return any(type(value) is type(one) and value == one for one in listed)


def _check_listed(schema: Mapping[str, Any], value: Any) -> None:
    listed = _listed(schema)
    if listed is None or _is_among(value, listed):
        return
    shown = ", ".join(repr(one) for one in listed[:12])
    raise Refused(f"is not one of {shown}{', …' if len(listed) > 12 else ''}")


_BOUNDS: Final[tuple[tuple[str, Callable[[Any, Any], bool], str], ...]] = (
    ("minimum", lambda value, bound: value >= bound, "less than"),
    ("maximum", lambda value, bound: value <= bound, "greater than"),
    ("exclusiveMinimum", lambda value, bound: value > bound, "not greater than"),
    ("exclusiveMaximum", lambda value, bound: value < bound, "not less than"),
)


def _check_number(schema: Mapping[str, Any], value: Any) -> None:
    for word, fits, text in _BOUNDS:
        bound = schema.get(word)
        if isinstance(bound, int | float) and not isinstance(bound, bool) and not fits(value, bound):
            raise Refused(f"is {text} {bound}")
    step = schema.get("multipleOf")
    if isinstance(step, int) and step > 0 and value % step:
        raise Refused(f"is not a multiple of {step}")


def _decimal(text: str) -> None:
    try:
        Decimal(text)
    except InvalidOperation:
        raise ValueError from None


def _base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None


_FORMATS: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    "date-time": (datetime.fromisoformat, "an ISO time, such as 2026-11-25T14:00:00Z"),
    "date": (date.fromisoformat, "an ISO date, such as 2026-11-25"),
    "time": (time.fromisoformat, "an ISO time of day, such as 14:00:00"),
    "uuid": (UUID, "a UUID"),
    "decimal": (_decimal, "a number"),
}


def _check_text(schema: Mapping[str, Any], value: str) -> None:
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int) and len(value) < least:
        raise Refused(f"has {len(value)} characters; give at least {least}")
    if isinstance(most, int) and len(value) > most:
        raise Refused(f"has {len(value)} characters; give at most {most}")
    known = _FORMATS.get(schema.get("format", ""))
    if schema.get("contentEncoding") == "base64":
        known = (_base64, "base64")
    if known is not None:
        read, wanted = known
        try:
            read(value)
        except (ValueError, OverflowError):
            raise Refused(f"is not {wanted}") from None


def _step(name: object) -> str:
    return f".{name:.40}" if isinstance(name, str) and name.isidentifier() else step_of(name)
