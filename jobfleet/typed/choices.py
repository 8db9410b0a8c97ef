"""Converters of what is one of several: enumerations, literals and unions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from enum import Enum, Flag
from functools import cached_property
from typing import Any, NamedTuple

from jobfleet.typed.converter import (
    CODED,
    OWN,
    RECORD,
    UNFIT,
    Converter,
    Definitions,
    NoneConverter,
    Refused,
    Schema,
    expected,
)

_WORDS = {bool: "boolean", int: "integer", float: "number", str: "string"}
_SHOWN_MOST = 12
_FOREIGN, _NEUTRAL, _NAMED = range(3)
"""What the tags of a map say about a member of a union: another one, nothing, this one."""
_DECIDED = _NAMED, _FOREIGN
"""What they say about the first two members, if they name only the first one."""
_DEEP = (dict, list, tuple)
"""The types of data that have data below them."""


class Reading(NamedTuple):
    """What a member of a union has made of a value.

    Attributes:
        data: The value, which is kept so that no other one gets its identity.
        value: What it became.
        refusal: Why it does not fit.
    """

    data: Any
    value: Any = None
    refusal: Refused | None = None


_readings: ContextVar[dict[tuple[int, int], Reading] | None] = ContextVar("jobfleet_readings", default=None)
"""The readings within the outermost union that is loaded, by the identities of the member and of the value.

Members that have the same fields read the same values below them. Without this, each level of a tree would double that.
"""


def _listed(values: Sequence[object]) -> str:
    more = ", …" if len(values) > _SHOWN_MOST else ""
    return ", ".join(repr(value) for value in values[:_SHOWN_MOST]) + more


class EnumConverter(Converter):
    """An enumeration. Its members travel by value if JSON has all the values, else by name."""

    is_typed: bool = True

    def __init__(self, kind: type[Enum]) -> None:
        self._kind = kind
        self.label: str = kind.__name__
        self._by_value = all(type(member.value) in (*_WORDS, type(None)) for member in kind)

    def dump(self, value: Any) -> Any:
        """Take a member, or its value or name."""
        member = value if isinstance(value, self._kind) else self.load(value)
        return member.value if self._by_value else member.name

    def load(self, data: Any) -> Enum:
        """Find the member of a value or a name."""
        try:
            if not self._by_value:
                return self._kind[data]
            found = self._kind(data)
        except (ValueError, KeyError, TypeError):
            known = [one.value if self._by_value else one.name for one in self._kind]
            raise Refused(f"not one of {_listed(known)}, which {self.label} has") from None
        if isinstance(data, bool) is not isinstance(found.value, bool):
            raise expected(self.label, data)
        return found

    def holds(self, value: Any) -> bool:
        """Whether it is a member."""
        return isinstance(value, self._kind)

    def rank(self, data: Any) -> int:
        """Whether it is the value or the name of a member."""
        try:
            self.load(data)
        except Refused:
            return UNFIT
        return CODED

    def schema(self, definitions: Definitions) -> Schema:
        """The values, or the names."""
        reference, is_new = definitions.reference(self._kind, self.label)
        if is_new:
            words = [one.value if self._by_value else one.name for one in self._kind]
            definitions.fill(reference, {"type": "integer"} if issubclass(self._kind, Flag) else {"enum": words})
        return reference


class LiteralConverter(Converter):
    """One of the values of a ``Literal``.

    Attributes:
        values: The values, as they travel.
    """

    is_typed: bool = True

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = tuple(values)
        self.values: tuple[Any, ...] = tuple(map(literal_data, values))
        self._wire = {_key(literal_data(value)): value for value in values}
        self.label: str = f"one of {_listed(self.values)}"

    def dump(self, value: Any) -> Any:
        """Take one of the values."""
        return literal_data(self.load(literal_data(value)))

    def load(self, data: Any) -> Any:
        """Take one of the values."""
        try:
            return self._wire[_key(data)]
        except (KeyError, TypeError):
            raise Refused(f"not {self.label}") from None

    def holds(self, value: Any) -> bool:
        """Whether it is one of the values."""
        return any(value is one or (type(value) is type(one) and value == one) for one in self._values)

    def rank(self, data: Any) -> int:
        """Whether it is one of the values."""
        try:
            return OWN if _key(data) in self._wire else UNFIT
        except TypeError:
            return UNFIT

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - see Converter
        """The values."""
        return {"enum": [value for value in self.values if not isinstance(value, bytes)]}


def literal_data(value: Any) -> Any:
    """Return the encoded form of a ``Literal`` value."""
    return value.value if isinstance(value, Enum) else value


def _key(value: Any) -> tuple[type, Any]:
    return type(value), value  # 1 and True are equal


class UnionConverter(Converter):
    """A union. On the way back, the data decides which member it was: see `Converter.rank`.

    Args:
        members: The types, in their order.
    """

    def __init__(self, members: Sequence[Converter]) -> None:
        self._members = tuple(members)
        self.label: str = " or ".join(member.label for member in members)
        self._values = [member for member in members if not isinstance(member, NoneConverter)]

    @property
    def is_typed(self) -> bool:  # type: ignore[override]  # a member may be a record that refers to this union
        """Whether one of the members is."""
        return any(member.is_typed for member in self._members)

    def dump(self, value: Any) -> Any:
        """Convert by the member that has the value.

        Raises:
            Refused: None has it, or another member would read the data.
        """
        if value is None and len(self._values) < len(self._members):
            return None
        if len(self._values) == 1:
            return self._values[0].dump(value)
        holders = self._holders(value)
        if not holders:
            value = self.load(value)  # plain data
            holders = self._holders(value)
        if not holders:
            raise expected(self.label, value)
        data = holders[0].dump(value)
        if not self._is_kept(value, data, holders):
            raise Refused(
                f"its data is like that of another type of the union ({self.label}); give {holders[0].label} a "
                "field of its own, such as kind: Literal[…]"
            )
        return data

    def _holders(self, value: Any) -> list[Converter]:
        return [member for member in self._values if member.holds(value)]

    def _is_kept(self, value: Any, data: Any, holders: Sequence[Converter]) -> bool:
        """Whether the data is read as the same value.

        The same member reads it so. Objects without an own equality, and fields that do not travel, forbid to compare
        there, unless several members could have written it, such as those with arguments of one generic class.
        """
        try:
            reader, back = self._found(data)
        except Refused:
            return False
        first, *others = holders
        if reader is first and not any(type(one) is type(first) for one in others):
            return type(back) is type(value)
        return type(back) is type(value) and first.holds(back) and bool(back == value)

    def load(self, data: Any) -> Any:
        """Convert by the first member that reads the data: not those of other tags, and the best fitting ones first."""
        if data is None and len(self._values) < len(self._members):
            return None
        return self._found(data)[1]

    def _found(self, data: Any) -> tuple[Converter, Any]:
        """The member that reads the data, and the value."""
        if len(self._values) == 1:
            return self._values[0], self._values[0].load(data)
        if not isinstance(data, _DEEP) or _readings.get() is not None:
            return self._chosen(data)
        token = _readings.set({})
        try:
            return self._chosen(data)
        finally:
            _readings.reset(token)

    @cached_property
    def _tags(self) -> list[Mapping[str, tuple[Any, ...]]]:
        """The tags of the members, read when all their fields are known."""
        return [member.tags for member in self._values]

    def _chosen(self, data: Any) -> tuple[Converter, Any]:
        fits = [
            (_verdict(tags, data), member.rank(data)) for tags, member in zip(self._tags, self._values, strict=True)
        ]
        order = sorted(
            zip(fits, self._values, strict=True), key=lambda pair: (pair[0][0] == _FOREIGN, -pair[0][1], -pair[0][0])
        )
        refusals: list[tuple[int, int, Refused]] = []
        for (verdict, rank), member in order:
            try:
                return member, _read(member, data)
            except Refused as error:
                refusals.append((verdict, rank, error))
        verdict, rank, first = refusals[0]
        if rank >= RECORD and (len(refusals) == 1 or refusals[1][1] < rank or (verdict, refusals[1][0]) == _DECIDED):
            raise first
        raise self._of_tag(data) or expected(self.label, data)

    def _of_tag(self, data: Any) -> Refused | None:
        """The refusal by the member that the tags of a map name, or of a tag that no member has; None if neither."""
        tagged = [member for member in self._values if member.tags]
        if type(data) is not dict or not tagged:
            return None
        named = [member for member in tagged if _verdict(member.tags, data) == _NAMED]
        if len(named) == 1:
            try:
                _read(named[0], data)
            except Refused as error:
                return error
        for name in (name for name in tagged[0].tags if all(name in member.tags for member in tagged)):
            values = list(dict.fromkeys(value for member in tagged for value in member.tags[name]))
            if name not in data:
                return Refused(f"missing; give one of {_listed(values)}", f".{name}")
            if not any(_has(member.tags[name], data[name]) for member in tagged):
                return Refused(f"not one of {_listed(values)}", f".{name}")
        return None

    def holds(self, value: Any) -> bool:
        """Whether a member has it."""
        return any(member.holds(value) for member in self._members)

    def rank(self, data: Any) -> int:
        """The best rank of the members."""
        return max(member.rank(data) for member in self._members)

    def schema(self, definitions: Definitions) -> Schema:
        """The JSON schema: one of the members' schemas."""
        return {"anyOf": [member.schema(definitions) for member in self._members]}


def _verdict(tags: Mapping[str, tuple[Any, ...]], data: Any) -> int:
    """What a map says about the member of a union that has these tags."""
    if not tags or type(data) is not dict:
        return _NEUTRAL
    if any(name in data and not _has(values, data[name]) for name, values in tags.items()):
        return _FOREIGN
    return _NAMED if all(name in data for name in tags) else _NEUTRAL


def _has(values: Sequence[Any], found: Any) -> bool:
    """Whether a value is one of those that a member permits for a tag."""
    return any(type(value) is type(found) and value == found for value in values)


def _read(member: Converter, data: Any) -> Any:
    """Load data by a member of a union, once within the outermost one.

    Raises:
        Refused: It does not fit.
    """
    known = _readings.get()
    if known is None or not isinstance(data, _DEEP):
        return member.load(data)
    place = id(member), id(data)
    reading = known.get(place)
    if reading is None:
        try:
            reading = Reading(data, member.load(data))
        except Refused as error:  # kept apart, because its path grows on its way up
            reading = Reading(data, refusal=_again(error))
        known[place] = reading
    if reading.refusal is not None:
        raise _again(reading.refusal)
    return reading.value


def _again(refusal: Refused) -> Refused:
    """The same refusal, whose path is its own."""
    made = type(refusal)(refusal.text, refusal.path)
    made.__cause__ = refusal.__cause__
    return made
