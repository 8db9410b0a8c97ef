"""Converters of containers: lists, tuples, sets, mappings, and of what has fields, such as dataclasses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import repeat
from typing import Any, Final
from uuid import UUID

from jobfleet.typed.choices import LiteralConverter
from jobfleet.typed.converter import (
    CODED,
    EXACT_RECORD,
    OWN,
    RECORD,
    UNFIT,
    CodecScalar,
    Converter,
    Definitions,
    JsonScalar,
    Refused,
    Schema,
    UnknownField,
    expected,
    field_step,
    step_of,
)

# Converters of lists, tuples, sets and mappings.


LISTS: Final = (list, tuple)
SETS: Final = (set, frozenset)
SAME_HASH_MOST: Final = 64
"""Most members of a set, or keys of a mapping, with one hash: hashes of numbers can be chosen by a sender."""


def each(items: Iterable[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """Convert all items; a refusal has the number of the item."""
    made: list[Any] = []
    try:
        made.extend(map(convert, items))
    except Refused as error:
        raise error.below(f"[{len(made)}]") from None
    return made


def guarded(members: Iterable[Any]) -> None:
    """Refuse members of which many have the same hash.

    Raises:
        Refused: There are such members, or one has no hash.
    """
    try:
        hashes = [hash(member) for member in members]
    except TypeError:
        raise Refused("a member has no hash, so it cannot be in a set; annotate a list") from None
    if len(hashes) > SAME_HASH_MOST and max(Counter(hashes).values()) > SAME_HASH_MOST:
        raise Refused("too many members have the same hash; give a list")


def fit(items: Iterable[Converter], data: Iterable[Any], best: int = OWN) -> int:
    """The rank of a container: that of its worst item. Every item fits where any value is taken.

    Args:
        items: The types of the items.
        data: The items.
        best: The rank of the container if its items fit.
    """
    for item, one in zip(items, data, strict=False):
        if type(item) is not Converter:
            best = min(best, item.rank(one))
            if best == UNFIT:
                break
    return best


class ListConverter(Converter):
    """A list of values of one type. Sequences other than texts are taken."""

    def __init__(self, item: Converter) -> None:
        self.item = item
        self.label: str = "list"
        self.is_typed: bool = item.is_typed

    def dump(self, value: Any) -> list[Any]:
        """Convert each item."""
        if not isinstance(value, LISTS):
            raise expected(self.label, value)
        return each(value, self.item.dump)

    def load(self, data: Any) -> list[Any]:
        """Convert each item."""
        if not isinstance(data, LISTS):
            raise expected(self.label, data)
        return each(data, self.item.load)

    def holds(self, value: Any) -> bool:
        """Whether it is a list of such values."""
        return type(value) is list and all(map(self.item.holds, value))

    def rank(self, data: Any) -> int:
        """Whether it is a list of such data."""
        return fit(repeat(self.item), data) if type(data) is list else UNFIT

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        return {"type": "array", "items": self.item.schema(definitions)}


class SetConverter(Converter):
    """A set or frozenset, encoded as a set if its members are scalars, else as a list."""

    is_typed: bool = True

    def __init__(self, kind: type[Any], item: Converter) -> None:
        self._kind = kind
        self.item = item
        self._is_native = isinstance(item, JsonScalar | CodecScalar)
        self.label: str = kind.__name__

    def dump(self, value: Any) -> Any:
        """Convert each member."""
        made = each(value if isinstance(value, SETS) else self.load(value), self.item.dump)
        return self._kind(made) if self._is_native else made

    def load(self, data: Any) -> Any:
        """Convert each member."""
        if not isinstance(data, (*SETS, *LISTS)):
            raise expected(self.label, data)
        made = each(data, self.item.load)
        guarded(made)
        return self._kind(made)

    def holds(self, value: Any) -> bool:
        """Whether it is of exactly this type."""
        return type(value) is self._kind and all(map(self.item.holds, value))

    def rank(self, data: Any) -> int:
        """Whether it is of this type, or a list, of such data."""
        if type(data) is self._kind:
            return fit(repeat(self.item), data)
        return fit(repeat(self.item), data, CODED) if type(data) is list and not self._is_native else UNFIT

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        return {"type": "array", "items": self.item.schema(definitions), "uniqueItems": True}


class TupleConverter(Converter):
    """A tuple: of one type per place, or of any number of values of one type.

    Args:
        items: The types.
        is_open: Whether there is one type, for any number of values.
    """

    is_typed: bool = True
    label: str = "tuple"

    def __init__(self, items: Sequence[Converter], *, is_open: bool) -> None:
        self._items = items
        self._is_open = is_open

    def dump(self, value: Any) -> tuple[Any, ...]:
        """Convert each value."""
        if not isinstance(value, LISTS):
            raise expected(self.label, value)
        return tuple(self._converted(value, "dump"))

    def load(self, data: Any) -> tuple[Any, ...]:
        """Convert each value."""
        if not isinstance(data, LISTS):
            raise expected(self.label, data)
        return tuple(self._converted(data, "load"))

    def _converted(self, values: Sequence[Any], way: str) -> list[Any]:
        if self._is_open:
            return each(values, getattr(self._items[0], way))
        if len(values) != len(self._items):
            raise Refused(f"expected a tuple of {len(self._items)}, not of {len(values)}")
        return places(values, self._items, way)

    def holds(self, value: Any) -> bool:
        """Whether it is a tuple of such values."""
        if type(value) is not tuple:
            return False
        items: Sequence[Converter] = [self._items[0]] * len(value) if self._is_open else self._items
        return len(items) == len(value) and all(map(_holds, items, value))

    def rank(self, data: Any) -> int:
        """Whether it is a tuple of such data."""
        if type(data) is not tuple or not (self._is_open or len(data) == len(self._items)):
            return UNFIT
        return fit(repeat(self._items[0]) if self._is_open else self._items, data)

    def schema(self, definitions: Definitions) -> Schema:
        """An array."""
        if self._is_open:
            return {"type": "array", "items": self._items[0].schema(definitions)}
        return array_of([item.schema(definitions) for item in self._items], least=len(self._items))


def _holds(converter: Converter, value: Any) -> bool:
    return converter.holds(value)


def places(values: Sequence[Any], items: Sequence[Converter], way: str) -> list[Any]:
    """Convert values by the converters of their places; a refusal has the number of the place."""
    made: list[Any] = []
    try:
        for item, value in zip(items, values, strict=False):
            made.append(getattr(item, way)(value))
    except Refused as error:
        raise error.below(f"[{len(made)}]") from None
    return made


def array_of(items: list[Schema], *, least: int) -> Schema:
    """The schema of an array with one schema per place."""
    if not items:
        return {"type": "array", "maxItems": 0}
    return {"type": "array", "prefixItems": items, "minItems": least, "maxItems": len(items)}


class MapConverter(Converter):
    """A dict. A key of a type that msgpack lacks is encoded as its text."""

    label: str = "dict"

    def __init__(self, key: Converter, item: Converter) -> None:
        self._key = key
        self.item = item
        self.is_typed: bool = key.is_typed or item.is_typed
        self._number = key.kind if isinstance(key, JsonScalar) and key.kind in (int, float) else None
        self._is_guarded = key.is_typed or self._number is not None

    def dump(self, value: Any) -> dict[Any, Any]:
        """Convert each key and value."""
        if not isinstance(value, Mapping):
            raise expected(self.label, value)
        return {self._key_dump(key): self._at(key, self.item.dump, item) for key, item in value.items()}

    def load(self, data: Any) -> dict[Any, Any]:
        """Convert each key and value."""
        if not isinstance(data, dict):
            raise expected(self.label, data)
        keys = [self._at(key, self._key_load, key) for key in data]
        if self._is_guarded:
            guarded(keys)
        return {key: self._at(name, self.item.load, data[name]) for key, name in zip(keys, data, strict=True)}

    def _key_dump(self, key: Any) -> Any:
        made = self._at(key, self._key.dump, key)
        if isinstance(made, datetime | date | time):
            return made.isoformat()
        return str(made) if isinstance(made, UUID | Decimal | float) else made

    def _key_load(self, key: Any) -> Any:
        if self._number is not None and type(key) is str:
            try:  # JSON has no other keys than texts
                return self._number(key)
            except ValueError:
                raise expected(self._key.label, key) from None
        return self._key.load(key)

    @staticmethod
    def _at(key: Any, convert: Callable[[Any], Any], value: Any) -> Any:
        try:
            return convert(value)
        except Refused as error:
            raise error.below(step_of(key)) from None

    def holds(self, value: Any) -> bool:
        """Whether it is a dict of such values."""
        return type(value) is dict and all(map(self._key.holds, value)) and all(map(self.item.holds, value.values()))

    def rank(self, data: Any) -> int:
        """Whether it is a dict of such values; keys do not count, because many travel as texts."""
        return fit(repeat(self.item), data.values()) if type(data) is dict else UNFIT

    def schema(self, definitions: Definitions) -> Schema:
        """An object."""
        return {"type": "object", "additionalProperties": self.item.schema(definitions)}


# Converters of what has fields: dataclasses, named tuples and typed dicts.


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
    """A type with named fields, encoded as a map. The builder sets the fields, which may refer to the record itself.

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
    """A named tuple, encoded as a list. A map is accepted too."""

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
