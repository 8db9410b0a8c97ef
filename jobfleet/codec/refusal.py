"""The slow search for what in a value cannot be encoded, after `measure` or the packer has failed."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NoReturn

from jobfleet.codec.extensions import BY_TYPE, NESTED_TYPES, Unreadable, decimal_fits
from jobfleet.codec.measure import KEY_TYPES, LEAF_TYPES, SEQUENCE_TYPES, TooMany
from jobfleet.errors import EncodingError
from jobfleet.secret import Secret

_GENERIC: Final = "pass plain data or a reference"
_BUFFERS: Final = (bytearray, memoryview)


def refuse(value: object, what: str, room: int, budget: int, cause: BaseException) -> NoReturn:
    """Raise an `EncodingError` with the place and the remedy.

    Args:
        cause: The error of the fast check or of the packer.
    """
    field = what.partition("[")[0]
    if isinstance(cause, TooMany):
        text = f"more than {budget:,} containers; send fewer, or store them elsewhere and pass a reference."
        raise EncodingError(f"{what}: {text}", field=field, path=what) from None
    path, reason = _search(value, what, room) or (what, f"{type(value).__name__} cannot be packed; {_GENERIC}")
    raise EncodingError(f"{path}: {reason}.", field=field, path=path) from cause


def _search(value: Any, path: str, room: int) -> tuple[str, str] | None:
    """Find the first value that cannot be encoded; return its path and the reason."""
    kind = type(value)
    if kind in LEAF_TYPES:
        reason = _leaf_reason(value)
        return (path, reason) if reason else None
    if kind is not dict and kind is not Secret and kind not in SEQUENCE_TYPES:
        return path, f"{kind.__name__} cannot be encoded; {_hint(value)}"
    if room <= 0:
        return path, "nested too deep, or it contains itself; flatten it or pass a reference"
    for step, child in _children(value):
        found = _key_reason(path, step) if kind is dict else None
        inner = f"{path}[{_short(step)}]" if step is not None else f"{path}{{...}}"
        found = found or _search(child, inner, room - 1)
        if found:
            return found
    return (path, "a set of colliding members cannot be encoded; pass a list") if _collides(value) else None


def _children(value: Any) -> list[tuple[Any, Any]]:
    if type(value) is dict:
        return list(value.items())
    if type(value) in (list, tuple):
        return list(enumerate(value))
    if type(value) is Secret:
        return [(None, value.reveal())]
    return [(None, member) for member in value]


def _key_reason(path: str, key: Any) -> tuple[str, str] | None:
    if type(key) not in KEY_TYPES:
        return path, f"a map key of type {type(key).__name__} cannot be encoded; use str, int or bytes"
    reason = _leaf_reason(key)
    return (path, f"in a map key, {reason}") if reason else None


def _leaf_reason(value: Any) -> str | None:
    """Return why a value cannot be encoded although its type can, or None."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        return "int beyond 64 bits cannot be encoded; pass it as str"
    if type(value) is str and not _is_unicode(value):
        return "str with lone surrogates cannot be encoded; pass bytes"
    if type(value) is Decimal and not decimal_fits(value):
        return "Decimal out of range cannot be encoded; pass it as str"
    if type(value) is time and value.tzinfo is not None:
        return _dumping_reason(value, "time in a zone without a usable offset cannot be encoded; pass a datetime")
    return _dumping_reason(
        value, f"{type(value).__name__} in a zone without a usable offset cannot be encoded; {_GENERIC}"
    )


def _dumping_reason(value: Any, reason: str) -> str | None:
    extension = BY_TYPE.get(type(value))
    if extension is None:
        return None
    try:
        extension.dump(value)
    except Exception:  # noqa: BLE001 - a foreign tzinfo may raise anything
        return reason
    return None


def _collides(value: Any) -> bool:
    try:
        return type(value) in NESTED_TYPES and not isinstance(BY_TYPE[type(value)].dump(value), list)
    except Unreadable:
        return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(step: Any) -> str:
    """Spell a key as Python does, shortened."""
    try:
        return reprlib.repr(step)
    except Exception:  # noqa: BLE001 - an int may exceed the number of digits that Python prints
        return "..."


_HINTS: Final[tuple[tuple[Callable[[Any], bool], str], ...]] = (
    (inspect.isawaitable, "await it; a function that awaits is an async def"),
    (lambda value: isinstance(value, Enum), "pass .value"),
    (lambda value: isinstance(value, tuple) and hasattr(value, "_asdict"), "pass ._asdict() or tuple(...)"),
    (lambda value: isinstance(value, _BUFFERS), "pass bytes(...)"),
    (lambda value: is_dataclass(value) and not isinstance(value, type), "pass dataclasses.asdict(...)"),
    (lambda value: callable(getattr(value, "model_dump", None)), "pass .model_dump()"),
)


def _hint(value: object) -> str:
    for applies, hint in _HINTS:
        if applies(value):
            return hint
    for base in type(value).__mro__[1:]:
        if base in LEAF_TYPES or base in SEQUENCE_TYPES or base is dict:
            return f"pass a plain {base.__name__}"
    return _GENERIC
