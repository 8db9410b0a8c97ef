"""Converters of single values: numbers, texts, bytes, times, ids, paths, secrets."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from jobfleet.codec.extensions import decimal_fits
from jobfleet.secret import Secret
from jobfleet.typed.converter import CODED, OWN, UNFIT, Converter, Definitions, Schema, expected


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
    """A type that the codec has and JSON has not: it travels as it is, and has a spelling in JSON.

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
    """A class of `pathlib`; it travels as a text."""

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
