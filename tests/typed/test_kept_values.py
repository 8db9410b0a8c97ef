"""What must not be lost or changed on the way: fields, members of unions, secrets."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import pytest

from jobfleet import Secret, TypeMismatch
from jobfleet.functions.registry import Registry
from jobfleet.functions.typed_call import ArgumentsRefused, TypedCall

if typing.TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]

S = TypeVar("S")
T = TypeVar("T")
DAY = date(2020, 1, 1)


def typed(function: Callable[..., Any]) -> TypedCall:
    """What converts the arguments of a function."""
    made = Registry().register(function, name="app.f").typed
    assert made is not None
    return made


def one(hint: Any) -> TypedCall:
    """What converts values of a type, as an argument and as a result."""

    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": hint, "return": hint}
    return typed(function)


@dataclass
class Unknown:
    what: Missing


@dataclass
class Around:
    again: Back
    unknown: Unknown


@dataclass
class Back:
    around: Around | None
    at: date


@dataclass
class Dated:
    at: date


@dataclass(eq=False)
class Lone:
    at: date


@dataclass
class Node:
    at: date
    below: list[Node]


def twice(order: Unknown, again: Unknown, node: Node) -> Unknown:
    return order


def around(around: Around, back: Back) -> None: ...


def test_a_class_that_cannot_be_resolved_is_left_alone_wherever_it_is_named() -> None:
    order = Unknown(7)
    calls = typed(twice)

    assert calls.dump((order, order, Node(DAY, [Node(DAY, [])])), {})[0] == [
        order,
        order,
        {"at": DAY, "below": [{"at": DAY, "below": []}]},
    ]
    assert calls.dump_result(order) is order


def test_so_is_a_class_that_refers_to_one_which_cannot_be_resolved() -> None:
    back = Back(None, DAY)
    value = Around(back, Unknown(7))

    assert typed(around).dump((value, back), {})[0] == [value, back]


@dataclass
class Pair(Generic[S, T]):
    a: S
    b: T


@dataclass
class Shelf(Generic[T]):
    pairs: Pair[T, list[T]]


@pytest.mark.parametrize(
    ("hint", "value", "data"),
    [
        (Pair[Dated, Dated], Pair(Dated(DAY), Dated(DAY)), {"a": {"at": DAY}, "b": {"at": DAY}}),
        (Pair[date, date], Pair(DAY, DAY), {"a": "2020-01-01", "b": "2020-01-01"}),
        (Shelf[date], Shelf(Pair(DAY, [DAY])), {"pairs": {"a": "2020-01-01", "b": ["2020-01-01"]}}),
    ],
)
def test_each_argument_of_a_generic_class_is_used(hint: Any, value: Any, data: Any) -> None:
    calls = one(hint)

    assert calls.load((data,), {})[0] == [value]
    assert calls.load(calls.dump((value,), {})[0], {})[0] == [value]


class Word(StrEnum):
    YES = "yes"


class Level(IntEnum):
    LOW = 1


UNIONS = [
    (dict[str, bytes] | dict[str, str], {"k": "abcd"}),
    (dict[str, Decimal] | dict[str, str], {"k": "1.50"}),
    (dict[str, list[date]] | dict[str, list[str]], {"k": ["2020-01-01"]}),
    (tuple[date, ...] | tuple[str, ...], ("2020-01-01",)),
    (tuple[int, date] | tuple[int, str], (1, "2020-01-01")),
    (set[date] | set[str], {"2020-01-01"}),
    (Secret[date] | Secret[str], Secret("2020-01-01")),
    (list[date] | list[float] | list[int], [1]),
    (dict[str, Any] | list[date], {"k": "x"}),
    (list[Path] | list[str], []),
]


@pytest.mark.parametrize(("hint", "value"), UNIONS)
def test_the_items_of_a_container_decide_which_member_of_a_union_it_is(hint: Any, value: Any) -> None:
    calls = one(hint)

    (back,) = calls.load(calls.dump((value,), {})[0], {})[0]

    assert (repr(back), back) == (repr(value), value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list[Path] | list[str], [Path("a")]),
        (list[Word] | list[str], [Word.YES]),
        (tuple[Level, ...] | tuple[int, ...], (Level.LOW,)),
        (dict[date, int] | dict[str, int], {"2020-01-01": 1}),
        (list[dict[str, Any]] | list[Dated], [Dated(DAY)]),
        (Pair[Path, int] | Pair[str, int], Pair("a", 1)),
    ],
)
def test_a_container_that_another_member_would_change_is_refused(hint: Any, value: Any) -> None:
    with pytest.raises(TypeMismatch, match="its data is like that of another type of the union"):
        one(hint).dump((value,), {})


def test_objects_that_are_equal_to_themselves_only_are_taken_by_a_union() -> None:
    data = one(list[Lone] | list[Pair[int, date]]).dump(([Lone(DAY)],), {})[0]

    assert data == [[{"at": DAY}]]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [(int, [str(n * ((1 << 61) - 1)) for n in range(66)]), (float, [f"1.{'0' * n}" for n in range(66)])],
)
def test_keys_of_numbers_whose_hashes_collide_are_refused(kind: type, keys: list[str]) -> None:
    calls = one(dict[kind, date])  # type: ignore[valid-type]

    assert calls.load(({"1": "2020-01-01"},), {})[0] == [{1: DAY}]
    with pytest.raises(ArgumentsRefused, match="too many members have the same hash"):
        calls.load((dict.fromkeys(keys, "2020-01-01"),), {})


@pytest.mark.parametrize(
    ("hint", "plain", "value"),
    [
        (Secret[str], "hunter2", Secret("hunter2")),
        (Secret, 5, Secret(5)),
        (list[Secret[str]], ["hunter2"], [Secret("hunter2")]),
        (dict[str, Secret[int]], {"pin": 5}, {"pin": Secret(5)}),
    ],
)
def test_a_secret_of_what_json_has_is_a_secret_for_the_function_and_its_reader(
    hint: Any, plain: Any, value: Any
) -> None:
    calls = one(hint)

    assert calls.load((plain,), {})[0] == [value]
    assert calls.dump((plain,), {})[0] == [value]
    assert calls.load_result(calls.dump_result(plain)) == value


class Login(msgspec.Struct):
    pin: Secret  # type: ignore[type-arg]
    password: Secret[str]
    since: Secret[date]
    older: list[Login] = []


def test_a_secret_in_a_struct_stays_a_secret() -> None:
    login = Login(Secret(1), Secret("a"), Secret(DAY), [Login(Secret([2]), Secret("b"), Secret(DAY))])
    calls = one(Login)

    (data,) = calls.dump((login,), {})[0]

    assert data == {
        "pin": Secret(1),
        "password": Secret("a"),
        "since": Secret(DAY),
        "older": [{"pin": Secret([2]), "password": Secret("b"), "since": Secret(DAY), "older": []}],
    }
    assert calls.load((data,), {})[0] == [login]
    assert calls.load(({"pin": 1, "password": "a", "since": "2020-01-01"},), {})[0] == [
        Login(Secret(1), Secret("a"), Secret(DAY))
    ]


def test_a_wrong_secret_in_a_struct_is_refused_without_its_value() -> None:
    with pytest.raises(TypeMismatch, match=r"value\.since: ") as caught:
        one(Login).dump(({"pin": 1, "password": "a", "since": "hunter2"},), {})

    assert "hunter2" not in str(caught.value)


def test_a_struct_with_a_secret_has_a_schema() -> None:
    schema = one(Login).schemas()["value"]

    fields = schema["$defs"]["Login.Login"]
    assert fields["required"] == ["pin", "password", "since"]
    assert fields["properties"]["password"] == {"description": "a secret"}
