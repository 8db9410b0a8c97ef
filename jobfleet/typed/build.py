"""Makes the converter of an annotation."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from jobfleet.secret import Secret
from jobfleet.typed.choices import EnumConverter, LiteralConverter, UnionConverter
from jobfleet.typed.containers import (
    DataclassConverter,
    Field,
    ListConverter,
    MapConverter,
    NamedTupleConverter,
    RecordConverter,
    SetConverter,
    TupleConverter,
    TypedDictConverter,
)
from jobfleet.typed.converter import SCALARS, Converter, PathConverter, SecretConverter

ANY: Final = Converter()
LISTS: Final = frozenset({list, Sequence, MutableSequence, Collection, Iterable})
SETS: Final[dict[Any, type]] = {set: set, frozenset: frozenset, AbstractSet: frozenset, MutableSet: set}
MAPS: Final = frozenset({dict, Mapping, MutableMapping})
UNIONS: Final = (types.UnionType, typing.Union)
AWAITED: Final = (Awaitable, Coroutine)
Variables = Mapping[Any, Any]


class Unresolved(NameError):
    """An annotation names something that does not exist yet, or only for type checkers."""


class Builder:
    """Makes converters; one per function, so that types that refer to themselves end.

    Raises:
        Unresolved: A name in an annotation is not known.
    """

    def __init__(self) -> None:
        self._records: dict[Any, RecordConverter] = {}

    def of(self, hint: Any, variables: Variables = types.MappingProxyType({})) -> Converter:
        """The converter of a type.

        Args:
            hint: The type, with evaluated names.
            variables: The types that a generic class was given.
        """
        if isinstance(hint, str | typing.ForwardRef):
            raise Unresolved(str(hint))
        if isinstance(hint, typing.TypeVar):
            return self.of(variables[hint]) if hint in variables else ANY
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            return self._annotated(hint, variables)
        if origin in UNIONS:
            return UnionConverter([self.of(one, variables) for one in typing.get_args(hint)])
        if origin is typing.Literal:
            return LiteralConverter(typing.get_args(hint))
        if isinstance(hint, typing.NewType):
            return self.of(hint.__supertype__)
        if type(hint).__name__ == "TypeAliasType":
            return self.of(hint.__value__)
        try:
            simple = SCALARS.get(hint)
        except TypeError:  # without a hash
            return ANY
        return simple or self._generic(hint, origin or hint, typing.get_args(hint), variables)

    def _annotated(self, hint: Any, variables: Variables) -> Converter:
        """A type with constraints of a library is checked by that library; other notes mean nothing here."""
        inner = typing.get_args(hint)[0]
        owners = {type(note).__module__.partition(".")[0] for note in hint.__metadata__}
        if "pydantic" in owners or ("annotated_types" in owners and "pydantic" in sys.modules):
            return _pydantic(hint, self.of(inner, variables).label)
        if "msgspec" in owners:
            return _msgspec(hint, self.of(inner, variables).label)
        return self.of(inner, variables)

    def _generic(self, hint: Any, kind: Any, arguments: tuple[Any, ...], variables: Variables) -> Converter:
        if kind in LISTS:
            return ListConverter(self._first(arguments, variables))
        if kind in MAPS:
            key, item = (self.of(one, variables) for one in arguments) if len(arguments) == 2 else (ANY, ANY)
            return MapConverter(key, item)
        if kind in SETS:
            return SetConverter(SETS[kind], self._first(arguments, variables))
        if kind is tuple:
            return self._tuple(hint, arguments, variables)
        if kind is Secret:
            return SecretConverter(self._first(arguments, variables))
        return self._class(hint, kind, arguments, variables) if isinstance(kind, type) else ANY

    def _first(self, arguments: tuple[Any, ...], variables: Variables) -> Converter:
        return self.of(arguments[0], variables) if arguments else ANY

    def _tuple(self, hint: Any, arguments: tuple[Any, ...], variables: Variables) -> Converter:
        if not arguments:
            return TupleConverter([ANY] if hint is tuple else [], is_open=hint is tuple)
        is_open = len(arguments) == 2 and arguments[1] is Ellipsis
        return TupleConverter([self.of(one, variables) for one in arguments[: 1 if is_open else None]], is_open=is_open)

    def _class(self, hint: Any, kind: type, arguments: tuple[Any, ...], variables: Variables) -> Converter:
        if hasattr(kind, "__pydantic_validator__") or hasattr(kind, "__pydantic_core_schema__"):
            return _pydantic(hint, kind.__name__)
        if hasattr(kind, "__struct_fields__"):
            return _msgspec(hint, kind.__name__)
        if issubclass(kind, Enum):
            return EnumConverter(kind)
        if issubclass(kind, PurePath):
            return PathConverter(kind)
        given = [_filled(one, variables) for one in arguments]
        own = dict(zip(getattr(kind, "__parameters__", ()), given, strict=False))
        if typing.is_typeddict(kind):
            return self._record(hint, TypedDictConverter(kind), own, _keys_of)
        if dataclasses.is_dataclass(kind) and _can_be_made(kind):
            return self._record(hint, DataclassConverter(kind), own, _fields_of)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._record(hint, NamedTupleConverter(kind), own, _places_of)
        return ANY

    def _record(
        self,
        hint: Any,
        made: RecordConverter,
        variables: Variables,
        fields: Callable[[Any], dict[str, tuple[Any, bool]]],
    ) -> Converter:
        key = (hint, tuple(variables.values()))
        known = self._records.get(key)
        if known is not None:
            return known
        before = len(self._records)
        self._records[key] = made
        try:
            for name, (one, is_required) in fields(made.kind).items():
                made.fields[name] = Field(self.of(one, variables), is_required)
        except BaseException:  # without all its fields; those that were made for it may refer to it
            for later in list(self._records)[before:]:
                del self._records[later]
            raise
        return made


def _filled(hint: Any, variables: Variables) -> Any:
    """An argument of a generic class, with the types that the variables in it stand for."""
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, hint)
    inside = getattr(hint, "__parameters__", ()) if typing.get_origin(hint) is not None else ()
    if not inside or not all(isinstance(one, typing.TypeVar) for one in inside):
        return hint
    return hint[tuple(variables.get(one, one) for one in inside)]


def result_of(hint: Any) -> Any:
    """The type of the result of a function, from its return annotation."""
    if typing.get_origin(hint) in AWAITED:
        return typing.get_args(hint)[-1]
    return hint


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise Unresolved(str(error)) from error


def _can_be_made(kind: Any) -> bool:
    """Whether the fields of a dataclass are all that its own `__init__` takes."""
    init_only = (one for one in kind.__dataclass_fields__.values() if one._field_type is dataclasses._FIELD_INITVAR)  # type: ignore[attr-defined]  # noqa: SLF001 - `fields` leaves them out
    return kind.__dataclass_params__.init and not any(init_only)


def _fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a dataclass that its `__init__` takes: their types, and whether they have no default."""
    hints, missing = _hints(kind), dataclasses.MISSING
    return {
        one.name: (hints[one.name], one.default is missing and one.default_factory is missing)
        for one in dataclasses.fields(kind)
        if one.init
    }


def _places_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = _hints(kind)
    return {name: (hints.get(name, Any), name not in kind._field_defaults) for name in kind._fields}


def _keys_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    found = {}
    for name, hint in _hints(kind).items():
        one, is_required = hint, name in kind.__required_keys__
        while (mark := typing.get_origin(one)) is not None and getattr(mark, "_name", "") in MARKS:
            is_required = {"Required": True, "NotRequired": False}.get(mark._name, is_required)  # noqa: SLF001 - its only name
            one = typing.get_args(one)[0]
        found[name] = (one, is_required)
    return found


MARKS: Final = ("Required", "NotRequired", "ReadOnly")


def _pydantic(hint: Any, label: str) -> Converter:
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

    from jobfleet.typed.libraries import PydanticConverter

    try:
        return PydanticConverter(hint, label)
    except (PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise Unresolved(str(error)) from error


def _msgspec(hint: Any, label: str) -> Converter:
    import msgspec

    from jobfleet.typed.libraries import MsgspecConverter

    try:
        msgspec.inspect.type_info(hint)
    except NameError as error:
        raise Unresolved(str(error)) from error
    return MsgspecConverter(hint, label)
