"""Trees of tagged and untagged records: what reads them looks at each of their nodes a bounded number of times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from jobfleet.functions.published import _Check, check
from jobfleet.functions.typed_call import described
from jobfleet.typed import containers
from jobfleet.typed.build import Builder
from jobfleet.typed.converter import Refused

DEPTH = 14
MOST = 40 * DEPTH


@dataclass
class Num:
    value: int
    kind: Literal["num"] = "num"


@dataclass
class Add:
    left: Expr
    right: Expr
    kind: Literal["add"] = "add"


@dataclass
class Mul:
    left: Expr
    right: Expr
    kind: Literal["mul"] = "mul"


Expr = Num | Add | Mul


@dataclass
class Inch:
    inner: Size | None
    length: int


@dataclass
class Named:
    inner: Size | None
    length: str


Size = Inch | Named


class Counted:
    """Counts calls of a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.count = 0
        plain = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    counted = Counted(monkeypatch, containers.RecordConverter, "loaded")
    yield counted
    assert 0 < counted.count < MOST


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    counted = Counted(monkeypatch, _Check, "__call__")
    yield counted
    assert 0 < counted.count < 10 * MOST


def nested(inner: Any) -> dict[str, Any]:
    """The data of a deep product."""
    data = inner
    for _ in range(DEPTH):
        data = {"left": data, "right": {"value": 1, "kind": "num"}, "kind": "mul"}
    assert isinstance(data, dict)
    return data


def sized(length: object, inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """The data of a deep size, which no tag tells from another type."""
    data: Any = inner or {"inner": None, "length": length}
    for _ in range(DEPTH):
        data = {"inner": data, "length": length}
    assert isinstance(data, dict)
    return data


def test_tags_choose_the_member(loads: Counted) -> None:
    converter = Builder().of(Expr)

    value = converter.load(nested({"value": 2, "kind": "num"}))

    assert type(value) is Mul
    assert type(value.left) is Mul


def test_a_refusal_below_many_tags_names_its_place(loads: Counted) -> None:
    with pytest.raises(Refused) as caught:
        Builder().of(Expr).load(nested({"value": "x", "kind": "num"}))

    assert (caught.value.path, caught.value.text) == (".left" * DEPTH + ".value", "expected int, not str")


def test_a_tree_of_objects_travels(loads: Counted) -> None:
    value: Any = Num(1)
    for _ in range(8):
        value = Mul(value, Num(2))

    converter = Builder().of(Expr)

    assert converter.load(converter.dump(value)) == value


@pytest.mark.parametrize(("length", "kind"), [(1, Inch), ("a", Named)])
def test_members_without_tags_are_tried_once_each(loads: Counted, length: object, kind: type) -> None:
    value = Builder().of(Size).load(sized(length))

    assert type(value) is type(value.inner) is kind


def test_data_that_no_member_fits_is_refused_soon(loads: Counted) -> None:
    with pytest.raises(Refused):
        Builder().of(Size).load(sized(1, {"inner": None, "length": 1.5}))


def test_a_check_of_json_follows_the_tags(checks: Counted) -> None:
    schema = described(Builder().of(Expr))

    check(schema, nested({"value": 2, "kind": "num"}))
    with pytest.raises(Refused) as caught:
        check(schema, nested({"value": "x", "kind": "num"}))

    assert caught.value.path == ".left" * DEPTH + ".value"
    assert caught.value.text == "is a text; give a whole number"


@pytest.mark.parametrize("length", [1, "a", 1.5])
def test_a_check_of_json_without_tags_is_bounded(checks: Counted, length: object) -> None:
    schema = described(Builder().of(Size))

    check(schema, sized("a"))
    if isinstance(length, float):
        with pytest.raises(Refused):
            check(schema, sized(1, {"inner": None, "length": length}))
    else:
        check(schema, sized(length))
