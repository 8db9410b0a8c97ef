"""Arguments as JSON that somebody can change: what JSON lacks stands in it under a mark.

``{"$datetime": "2026-11-25T14:00:00+01:00[Europe/Berlin]"}``: an object of one key that begins with ``$`` is a value of
another type, or ``$map``, a dict that JSON cannot say otherwise. What is not changed is read back as it was.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from jobfleet.cli.output import to_json
from jobfleet.codec.extensions import BY_TYPE
from jobfleet.errors import InvalidJob

MAP: Final = "$map"
_MICROSECOND: Final = timedelta(microseconds=1)


class Misread(InvalidJob):
    """The text is not what was asked for."""


class Mark(NamedTuple):
    """How values of one type are written.

    Attributes:
        name: The key that stands for the type.
        type: The exact type.
        write: A value as JSON.
        read: The inverse; may raise anything.
        example: How to write one.
    """

    name: str
    type: type
    write: Callable[[Any], object]
    read: Callable[[Any], object]
    example: str


def _travelling(kind: type, example: str) -> Mark:
    """A type that is text on the wire too."""
    extension = BY_TYPE[kind]
    name = f"${kind.__name__.lower()}"
    return Mark(
        name, kind, lambda value: extension.dump(value).decode(), lambda text: extension.load(text.encode()), example
    )


def _seconds(value: timedelta) -> str:
    whole, rest = divmod(abs(value) // _MICROSECOND, 1_000_000)
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}{whole}.{rest:06}".rstrip("0").rstrip(".")


def _duration(text: object) -> timedelta:
    exact = Decimal(str(text)) * 1_000_000
    if exact != int(exact):
        raise ValueError
    return int(exact) * _MICROSECOND


def _members(value: Iterable[object]) -> list[object]:
    return sorted((written(item) for item in value), key=json.dumps)


def _distinct(kind: type[Any]) -> Callable[[Any], object]:
    """Make a set of what is read, unless something is in it twice."""

    def make(items: list[Any]) -> object:
        try:
            made = kind(map(value_of, items))
        except TypeError:
            raise Misread(
                'a set cannot hold lists, sets or dicts; write {"$tuple": […]} or {"$frozenset": […]}.'
            ) from None
        if len(made) < len(items):
            raise Misread("a set holds something twice.")
        return made

    return make


def _map(pairs: list[list[Any]]) -> dict[Any, Any]:
    made = {value_of(key): value_of(value) for key, value in pairs}
    if len(made) < len(pairs):
        raise Misread("a dict holds a key twice.")
    return made


MARKS: Final = (
    _travelling(datetime, '"2026-11-25T14:00:00+01:00"'),
    _travelling(date, '"2026-11-25"'),
    _travelling(time, '"14:00:00"'),
    _travelling(Decimal, '"9.90"'),
    Mark("$timedelta", timedelta, _seconds, _duration, '"90.5"'),
    Mark("$uuid", UUID, str, UUID, '"01939f3e-5d5c-7c11-8a55-0242ac120002"'),
    Mark("$bytes", bytes, lambda value: base64.b64encode(value).decode(),
         lambda text: base64.b64decode(text, validate=True), '"SGVsbG8="'),
    Mark("$float", float, repr, float, '"nan"'),
    Mark("$tuple", tuple, lambda value: [*map(written, value)], lambda items: tuple(map(value_of, items)), "[1, 2]"),
    Mark("$set", set, _members, _distinct(set), "[1, 2]"),
    Mark("$frozenset", frozenset, _members, _distinct(frozenset), "[1, 2]"),
    Mark(MAP, dict, lambda value: [[written(key), written(item)] for key, item in value.items()], _map, '[["$a", 1]]'),
)  # fmt: skip
_BY_TYPE: Final = {mark.type: mark for mark in MARKS}
_BY_NAME: Final = {mark.name: mark for mark in MARKS}
_LISTS: Final = frozenset({"$tuple", "$set", "$frozenset", MAP})


def written(value: Any) -> object:
    """A value that travels, as JSON says it."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [*map(written, value)]
    if kind is dict and _is_plain(value):
        return {key: written(item) for key, item in value.items()}
    mark = _BY_TYPE[kind]
    return {mark.name: mark.write(value)}


def _is_plain(value: dict[Any, Any]) -> bool:
    """Whether a dict is a JSON object, and none that would be read as a mark."""
    return all(type(key) is str for key in value) and _mark_in(value) is None


def _mark_in(value: dict[str, Any]) -> str | None:
    (only,) = value if len(value) == 1 else ("",)
    return only if only.startswith("$") else None


def value_of(shown: Any) -> Any:
    """The inverse of `written`.

    Raises:
        Misread: A mark is not known, or does not hold what it should.
    """
    if type(shown) is list:
        return [*map(value_of, shown)]
    if type(shown) is not dict:
        return shown
    name = _mark_in(shown)
    if name is None:
        return {key: value_of(item) for key, item in shown.items()}
    mark = _BY_NAME.get(name)
    if mark is None:
        known = ", ".join(_BY_NAME)
        raise Misread(f'{name!r} is none of {known}; write a dict with this key as {{"{MAP}": [["{name}", …]]}}.')
    inner = shown[name]
    try:
        if name in _LISTS and type(inner) is not list:
            raise TypeError
        return mark.read(inner)
    except (Misread, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - whatever it was, the caller learns what is wrong
        raise Misread(f'{name} holds {to_json(inner):.60}; write {{"{name}": {mark.example}}}.') from None


def shown(args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """Arguments as a text to edit."""
    call = {"args": [*map(written, args)], "kwargs": {name: written(value) for name, value in kwargs.items()}}
    return to_json(call, indent=2) + "\n"


def read(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The inverse of `shown`.

    Raises:
        Misread: It is no JSON, or not of args and kwargs; the text tells the line and the column, or the place.
    """
    call = _parsed(text, "Text")
    if not isinstance(call, dict) or set(call) != {"args", "kwargs"}:
        raise Misread('The text is not of args and kwargs; write {"args": […], "kwargs": {…}}.')
    return _list_of(call["args"]), _names_of(call["kwargs"])


def read_args(text: str) -> list[Any]:
    """Positional arguments out of a JSON list.

    Raises:
        Misread: It is none.
    """
    return _list_of(_parsed(text, "args"))


def read_kwargs(text: str) -> dict[str, Any]:
    """Named arguments out of a JSON object.

    Raises:
        Misread: It is none.
    """
    return _names_of(_parsed(text, "kwargs"))


def _list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Misread(f'args is {to_json(value):.60}; give a JSON list, for example [20, "ann"].', field="args")
    return [_placed(item, f"args[{index}]") for index, item in enumerate(value)]


def _names_of(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misread(
            f'kwargs is {to_json(value):.60}; give a JSON object, for example {{"to": "ann"}}.', field="kwargs"
        )
    return {name: _placed(item, f"kwargs[{name!r}]") for name, item in value.items()}


def _placed(value: Any, place: str) -> Any:
    try:
        return value_of(value)
    except Misread as error:
        raise Misread(f"{place}: {error}", field=place.partition("[")[0]) from None
    except RecursionError:
        raise Misread(f"{place}: nested too deep.", field=place.partition("[")[0]) from None


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise Misread(f"{what}, line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise Misread(f"{what}: nested too deep.") from None
    except InvalidJob:
        raise
    except ValueError as error:
        raise Misread(f"{what}: a number is too long ({str(error).partition(';')[0]}).") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Misread(f"The key {twice!r} stands twice in one object.")
    return made


def _refuse(word: str) -> NoReturn:
    raise Misread(f'{word} is no JSON; write {{"$float": "{word.lower().removesuffix("inity")}"}}.')
