"""Converters of what has fields: dataclasses, named tuples and typed dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobfleet.typed.choices import LiteralConverter
from jobfleet.typed.containers import LISTS
from jobfleet.typed.converter import (
    CODED,
    EXACT_RECORD,
    RECORD,
    UNFIT,
    Converter,
    Definitions,
    Refused,
    Schema,
    UnknownField,
    expected,
    field_step,
)


@dataclass(slots=True)
class Field:
    """A field of a record.

    Attributes:
        converter: Its type.
        is_required: Whether it has no default.
    """

    converter: Converter
    is_required: bool


class RecordConverter(Converter):
    """What has named fields; it travels as a map. The builder sets the fields, which may refer to the record itself.

    Args:
        kind: The class.
    """

    is_typed: bool = True
    takes_others = False
    """Whether unknown keys are kept."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.label: str = kind.__name__
        self.fields: dict[str, Field] = {}

    def loaded(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Convert the values of a map.

        Raises:
            Refused: One does not fit, is missing, or has no field.
        """
        return self._converted(data, lambda converter: converter.load)

    def _converted(self, data: Mapping[str, Any], way: Callable[[Converter], Callable[[Any], Any]]) -> dict[str, Any]:
        """The values of a map, each converted in the same way."""
        made: dict[str, Any] = {}
        for name, field in self.fields.items():
            if name in data:
                made[name] = _below(name, way(field.converter), data[name])
            elif field.is_required:
                raise Refused("missing", f".{name}")
        if len(made) < len(data):
            self._take_others(made, data)
        return made

    def _take_others(self, made: dict[str, Any], data: Mapping[str, Any]) -> None:
        for name, value in data.items():
            if name in self.fields:
                continue
            if not self.takes_others:
                raise UnknownField(f"not a field of {self.label}", field_step(name))
            made[name] = value

    def dumped(self, value: Any, get: Callable[[Any, str], Any]) -> dict[str, Any]:
        """Convert the values of all fields."""
        return {name: _below(name, field.converter.dump, get(value, name)) for name, field in self.fields.items()}

    def made(self, build: Callable[..., Any], values: dict[str, Any]) -> Any:
        """Make an object; its own checks may raise ValueError or TypeError."""
        try:
            return build(**values)
        except Refused:
            raise
        except (ValueError, TypeError, AssertionError) as error:
            raise Refused(f"{self.label} refuses it: {error}") from error

    @property
    def tags(self) -> Mapping[str, tuple[Any, ...]]:
        """Its fields with a ``Literal``."""
        converters = ((name, field.converter) for name, field in self.fields.items())
        return {name: one.values for name, one in converters if isinstance(one, LiteralConverter)}

    def holds(self, value: Any) -> bool:
        """Whether it is an object of this class."""
        return type(value) is self.kind

    def rank(self, data: Any) -> int:
        """Whether it is a map with these keys."""
        if type(data) is not dict:
            return UNFIT
        required = {name for name, field in self.fields.items() if field.is_required}
        keys = data.keys()
        return EXACT_RECORD if required <= keys and (self.takes_others or keys <= self.fields.keys()) else RECORD

    def schema(self, definitions: Definitions) -> Schema:
        """An object, or a reference to it."""
        reference, is_new = definitions.reference(self.kind, self.label)
        if is_new:
            schema: Schema = {
                "type": "object",
                "properties": {name: field.converter.schema(definitions) for name, field in self.fields.items()},
            }
            if required := [name for name, field in self.fields.items() if field.is_required]:
                schema["required"] = required
            if not self.takes_others:
                schema["additionalProperties"] = False
            definitions.fill(reference, schema)
        return reference


class DataclassConverter(RecordConverter):
    """A dataclass."""

    def dump(self, value: Any) -> dict[str, Any]:
        """Convert an object, or the map of one."""
        if type(value) is self.kind:
            return self.dumped(value, getattr)
        return self.dumped(self.load(_map(value, self.label)), getattr)

    def load(self, data: Any) -> Any:
        """Make an object."""
        return self.made(self.kind, self.loaded(_map(data, self.label)))


class NamedTupleConverter(RecordConverter):
    """A named tuple; it travels as a list. A map is read, too."""

    def dump(self, value: Any) -> list[Any]:
        """Convert an object, or the data of one."""
        made = value if type(value) is self.kind else self.load(value)
        return list(self.dumped(made, getattr).values())

    def load(self, data: Any) -> Any:
        """Make an object."""
        if isinstance(data, LISTS):
            if len(data) > len(self.fields):
                raise Refused(f"{len(data)} values, and {self.label} has {len(self.fields)} fields")
            data = dict(zip(self.fields, data, strict=False))
        return self.made(self.kind, self.loaded(_map(data, self.label)))

    def rank(self, data: Any) -> int:
        """Whether it is a list, or a map with these keys."""
        return CODED if type(data) is list and len(data) == len(self.fields) else super().rank(data)

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        reference, is_new = definitions.reference(self.kind, self.label)
        if is_new:
            items = [field.converter.schema(definitions) for field in self.fields.values()]
            least = sum(field.is_required for field in self.fields.values())
            whole: Schema = {"type": "array", "prefixItems": items, "minItems": least, "maxItems": len(items)}
            definitions.fill(reference, whole)
        return reference


class TypedDictConverter(RecordConverter):
    """A typed dict: a dict before and after. Unknown keys are kept, because a subtype may have them."""

    takes_others = True

    def dump(self, value: Any) -> dict[str, Any]:
        """Convert the values."""
        return self._converted(_map(value, self.label), lambda converter: converter.dump)

    def load(self, data: Any) -> dict[str, Any]:
        """Convert the values."""
        return self.loaded(_map(data, self.label))

    def holds(self, value: Any) -> bool:
        """Whether it is a dict with these keys."""
        return isinstance(value, dict) and self.rank(value) == EXACT_RECORD


def _below(name: str, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except Refused as error:
        raise error.below(f".{name}") from None


def _map(value: Any, label: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise expected(label, value)
    return value
