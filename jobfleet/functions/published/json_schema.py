"""Checks JSON against the published schemas of typed parameters. Pure.

It knows the words that pydantic, msgspec and jobfleet write. A word that it does not know, such as ``pattern``, permits
everything: the worker checks the value again when it rebuilds it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from jobfleet.typed.converter import Refused, Schema, step_of

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
