"""`Converter`: how the values of one type travel; the converters of single values; objects as plain data."""

from __future__ import annotations

import base64
import dataclasses
import math
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from jobfleet.codec.extensions import decimal_fits
from jobfleet.secret import Secret

# `Converter`: how the values of one type travel. `Refused` is a value that does not fit; it knows where.
#
# Three forms of a value are met: the object that user code has, the plain data that is stored (the types of the
# codec), and the JSON that programs without Python send, in which a datetime is a text. `load` reads both forms of
# data.


Schema = dict[str, Any]
UNFIT: Final = 0
"""A value that the type reads in another form only, such as the text of a datetime."""
CODED: Final = 1
"""Data in the form that `dump` writes, which other types may write too: a text for a path."""
OWN: Final = 2
"""Data of the type itself: a text for `str`."""
RECORD: Final = 3
"""A map in which keys are missing, or unknown."""
EXACT_RECORD: Final = 4
"""A map with the keys of the record."""


class Refused(ValueError):
    """A value does not fit its annotation.

    Args:
        text: What is wrong, without the value: it may be a secret.

    Attributes:
        path: The place below the value that was given first, such as ``.lines[2].price``.
    """

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.text: str = text
        self.path: str = path

    def below(self, step: str) -> Refused:
        """Return the same refusal, seen from one level above."""
        self.path = step + self.path
        return self


class UnknownField(Refused):
    """A map has a key that is not a field of the record, for example because its producer is newer."""


class Definitions:
    """The schemas of named types, each once; other schemas refer to them."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[object, str] = {}

    def reference(self, key: object, name: str) -> tuple[Schema, bool]:
        """Return a reference to the schema of a type, and whether it is new, so that `schemas` needs it."""
        known = self._names.get(key)
        if known is None:
            known = name
            while known in self.schemas:
                known += "_"
            self._names[key] = known
            self.schemas[known] = {}
            return {"$ref": f"#/$defs/{known}"}, True
        return {"$ref": f"#/$defs/{known}"}, False

    def fill(self, reference: Schema, schema: Schema) -> None:
        """Set the schema that a reference names."""
        self.schemas[reference["$ref"].removeprefix("#/$defs/")] = schema

    def merge(self, schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
        """Take the definitions of a library; return the schema, or one that takes everything if a name is taken."""
        if any(self.schemas.get(name, one) != one for name, one in definitions.items()):
            return {}
        self.schemas.update(definitions)
        return schema


class Converter:
    """The values of one type. This one takes every value as it is: `Any`, and types that have no other converter.

    Attributes:
        label: The type, for messages.
        is_typed: Whether values change on their way, or JSON has no such values. A parameter without it is left alone.
    """

    label: str = "any value"
    is_typed: bool = False

    def dump(self, value: Any) -> Any:
        """Convert a value to plain data.

        Raises:
            Refused: It does not fit.
        """
        return value

    def load(self, data: Any) -> Any:
        """Convert plain data, or JSON, to a value.

        Raises:
            Refused: It does not fit.
        """
        return data

    @property
    def tags(self) -> Mapping[str, tuple[Any, ...]]:
        """The fields that tell a record from others, with the values that they may have: those with a ``Literal``."""
        return {}

    def holds(self, value: Any) -> bool:  # noqa: ARG002 - the others look at it
        """Whether a value is of the type, for the choice between the members of a union."""
        return True

    def rank(self, data: Any) -> int:  # noqa: ARG002 - the others look at it
        """How well plain data fits, for the choice between the members of a union."""
        return CODED

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - the others fill it
        """The JSON Schema of the JSON form."""
        return {}


def expected(label: str, value: object) -> Refused:
    """The refusal of a value of another type."""
    return Refused(f"expected {label}, not {type(value).__name__}")


def step_of(key: object) -> str:
    """The step to a value of a mapping, as a path spells it; it quotes no more than a short key."""
    return f"[{key!r:.40}]"


def field_step(name: object) -> str:
    """The step to a field of a record; to a value of a mapping if no field can have this name."""
    return f".{name:.40}" if isinstance(name, str) and name.isidentifier() else step_of(name)


class NoneConverter(Converter):
    """``None``."""

    label: str = "None"

    def dump(self, value: Any) -> Any:
        """Take None only."""
        if value is not None:
            raise expected(self.label, value)

    def load(self, data: Any) -> Any:
        """Take None only."""
        return self.dump(data)

    def holds(self, value: Any) -> bool:
        """Whether it is None."""
        return value is None

    def rank(self, data: Any) -> int:
        """Whether it is None."""
        return OWN if data is None else UNFIT

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - see Converter
        """``null``."""
        return {"type": "null"}


class JsonScalar(Converter):
    """``bool``, ``int``, ``float`` or ``str``: the types that JSON has. Subclasses, such as of `str`, become the type.

    Args:
        kind: The type.
        word: Its name in JSON Schema.
    """

    def __init__(self, kind: type, word: str) -> None:
        self.kind = kind
        self.label: str = kind.__name__
        self._word = word

    def dump(self, value: Any) -> Any:
        """Take a value of the type; an int is a float too, and a bool is not an int."""
        kind = self.kind
        if type(value) is kind:
            return value
        if isinstance(value, bool):
            raise expected(self.label, value)
        if kind is str and isinstance(value, str):
            return str.__str__(value)
        if kind is int and isinstance(value, int):
            return int(value)
        if kind is float and isinstance(value, int | float):
            try:
                return float(value)
            except OverflowError:
                raise expected(self.label, value) from None
        raise expected(self.label, value)

    def load(self, data: Any) -> Any:
        """Take data as `dump` takes a value; a class that narrows `dump` still reads all forms."""
        return JsonScalar.dump(self, data)

    def holds(self, value: Any) -> bool:
        """Whether it is of exactly this type."""
        return type(value) is self.kind

    def rank(self, data: Any) -> int:
        """Whether it is of exactly this type."""
        return OWN if type(data) is self.kind else UNFIT

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - see Converter
        """The type of JSON."""
        return {"type": self._word}


class CodecScalar(Converter):
    """A type that the codec supports and JSON does not: encoded unchanged, with a text form in JSON.

    Args:
        kind: The type.
        read: Makes a value of its spelling; may raise ValueError, TypeError, OverflowError or InvalidOperation.
        schema: The JSON Schema of the spelling.
    """

    is_typed: bool = True

    def __init__(self, kind: type, read: Callable[[Any], Any], schema: Schema) -> None:
        self.kind = kind
        self.label: str = kind.__name__
        self._read = read
        self._schema = schema

    def dump(self, value: Any) -> Any:
        """Take a value of the type, or its spelling."""
        return value if type(value) is self.kind else self._from_spelling(value)

    def load(self, data: Any) -> Any:
        """Take data as `dump` takes a value; a class that narrows `dump` still reads all forms."""
        return CodecScalar.dump(self, data)

    def _from_spelling(self, value: Any) -> Any:
        try:
            return self._read(value)
        except (ValueError, TypeError, OverflowError, InvalidOperation):
            raise expected(self.label, value) from None

    def holds(self, value: Any) -> bool:
        """Whether it is of exactly this type."""
        return type(value) is self.kind

    def rank(self, data: Any) -> int:
        """Whether it is of exactly this type."""
        return OWN if type(data) is self.kind else UNFIT

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - see Converter
        """The spelling in JSON."""
        return dict(self._schema)


class BytesConverter(CodecScalar):
    """``bytes``; base64 in JSON. Python code gives bytes: a text would be taken for base64."""

    def __init__(self) -> None:
        super().__init__(bytes, _bytes, {"type": "string", "contentEncoding": "base64"})

    def dump(self, value: Any) -> bytes:
        """Take bytes, or what has the same interface."""
        if not isinstance(value, bytes | bytearray | memoryview):
            raise expected(self.label, value)
        return bytes(value)


class PathConverter(Converter):
    """A class of `pathlib`, encoded as a text."""

    is_typed: bool = True

    def __init__(self, kind: type[PurePath]) -> None:
        self._kind = kind
        self.label: str = kind.__name__

    def dump(self, value: Any) -> str:
        """Take a path, or its text."""
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, str):
            return str.__str__(value)
        raise expected(self.label, value)

    def load(self, data: Any) -> PurePath:
        """Make the path of a text."""
        if not isinstance(data, str):
            raise expected(self.label, data)
        return self._kind(data)

    def holds(self, value: Any) -> bool:
        """Whether it is a path."""
        return isinstance(value, PurePath)

    def rank(self, data: Any) -> int:
        """Whether it is a text."""
        return CODED if type(data) is str else UNFIT

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - see Converter
        """A text."""
        return {"type": "string", "format": "path"}


class SecretConverter(Converter):
    """`Secret` around another type; a value that is not wrapped is wrapped."""

    is_typed: bool = True

    def __init__(self, inner: Converter) -> None:
        self._inner = inner
        self.label: str = f"Secret[{inner.label}]"

    def dump(self, value: Any) -> Secret[Any]:
        """Convert the value inside."""
        return Secret(self._inner.dump(value.reveal() if isinstance(value, Secret) else value))

    def load(self, data: Any) -> Secret[Any]:
        """Convert the value inside."""
        return Secret(self._inner.load(data.reveal() if isinstance(data, Secret) else data))

    def holds(self, value: Any) -> bool:
        """Whether it is a secret of such a value."""
        return isinstance(value, Secret) and self._inner.holds(value.reveal())

    def rank(self, data: Any) -> int:
        """Whether it is a secret of such data."""
        return min(OWN, self._inner.rank(data.reveal())) if type(data) is Secret else UNFIT

    def schema(self, definitions: Definitions) -> Schema:
        """The value inside."""
        return self._inner.schema(definitions)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return base64.b64decode(_text(value), validate=True)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str):
        made = Decimal(value)
    else:
        number = _number(value)
        if not math.isfinite(number):
            raise ValueError
        made = Decimal(repr(number) if isinstance(number, float) else int(number))
    if made.is_finite() and not decimal_fits(made):  # to compute with it could take all memory
        raise ValueError
    return made


def _date(value: Any) -> date:
    return date.fromisoformat(_text(value))


JSON_SCALARS: Final[dict[type, Converter]] = {
    bool: JsonScalar(bool, "boolean"), int: JsonScalar(int, "integer"), float: JsonScalar(float, "number"),
    str: JsonScalar(str, "string"),
}  # fmt: skip
SCALARS: Final[dict[type, Converter]] = {
    **JSON_SCALARS,
    type(None): NoneConverter(),
    bytes: BytesConverter(),
    datetime: CodecScalar(
        datetime, lambda value: datetime.fromisoformat(_text(value)), {"type": "string", "format": "date-time"}
    ),
    date: CodecScalar(date, _date, {"type": "string", "format": "date"}),
    time: CodecScalar(time, lambda value: time.fromisoformat(_text(value)), {"type": "string", "format": "time"}),
    timedelta: CodecScalar(
        timedelta,
        lambda value: timedelta(seconds=_number(value)),
        {"type": "number", "description": "seconds"},
    ),
    Decimal: CodecScalar(Decimal, _decimal, {"type": ["string", "number"], "format": "decimal"}),
    UUID: CodecScalar(UUID, lambda value: UUID(_text(value)), {"type": "string", "format": "uuid"}),
}
"""The converters of types without parameters."""


# Plain data of objects by their own class, for what libraries hand over, and for people who look at a result.


_LEAVES = frozenset(SCALARS)


def plain(value: Any, other: Callable[[Any], Any] = lambda value: value) -> Any:
    """Convert an object, and what is in it, to the types of the codec.

    Args:
        value: The object.
        other: Converts what has no rule here; default as it is.
    """
    kind = type(value)
    if kind in _LEAVES:
        return value
    if isinstance(value, Enum):
        return plain(value.value, other)
    if kind is Secret:
        return Secret(plain(value.reveal(), other))
    if isinstance(value, Mapping):
        return {plain(key, other): plain(item, other) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return _sequence(kind, [plain(item, other) for item in value])
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)
    kinds: tuple[type[Any], ...] = (int, float, bytes)
    for base in kinds:
        if isinstance(value, base):
            return base(value)
    found = _of_library(value)
    return plain(found, other) if found is not None else other(value)


def _sequence(kind: type, items: list[Any]) -> Any:
    if kind not in (tuple, set, frozenset):
        return items
    try:
        return kind(items)
    except TypeError:  # a set of objects, which are maps now
        return items


def _of_library(value: Any) -> Any:
    """The fields of a model; None for other objects."""
    kind = type(value)
    if callable(reveal := getattr(value, "get_secret_value", None)):
        return Secret(reveal())
    if hasattr(kind, "__pydantic_fields__") and hasattr(value, "model_dump"):
        return value.model_dump(round_trip=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(kind, "__struct_fields__") and "msgspec" in sys.modules:
        return {name: getattr(value, name) for name in kind.__struct_fields__}
    return None


def bare(data: Any) -> Any:
    """Return plain data without the `Secret` objects around values, as libraries take it."""
    kind = type(data)
    if kind is dict:
        return {key: bare(item) for key, item in data.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(bare(item) for item in data)
    return bare(data.reveal()) if kind is Secret else data
