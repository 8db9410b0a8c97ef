"""Plain data of objects by their own class, for what libraries hand over, and for people who look at a result."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from jobfleet.secret import Secret
from jobfleet.typed.scalars import SCALARS

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
