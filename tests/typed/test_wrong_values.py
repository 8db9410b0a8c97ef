"""Values that do not fit: what is refused, and where the error points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest

from jobfleet import InvalidJob, JobContext, TypeMismatch
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.functions.typed_call import ArgumentsRefused
from tests.e2e.apps.typed_kinds import AT, CAT, ID, LINE, Address, Cat, Color, Dog, Line, Order, Point, Refund, Struct


class Bigger(Refund):
    pass


class Signs(Enum):
    ON = True


class Cow(pydantic.BaseModel):
    kind: Literal["cow"]


class Hen(pydantic.BaseModel):
    kind: Literal["hen"]


class Disc(msgspec.Struct, tag=True):
    size: int = 1


class Ball(msgspec.Struct, tag=True):
    size: int = 1


@dataclass
class Bus:
    kind: Literal["bus"]
    seats: int = 9


@dataclass
class Car:
    kind: Literal["car", 1]
    seats: int = 5


class Tagged(pydantic.BaseModel):
    pet: Annotated[Cow | Hen, pydantic.Field(discriminator="kind")]


class Deep(pydantic.BaseModel):
    at: UUID | None = None
    link: pydantic.AnyUrl | None = None
    raw: pydantic.Json[Any] | None = None


class Shape(msgspec.Struct):
    color: Color | None = None
    word: Literal["a"] = "a"
    either: Disc | Ball | None = None


class Card(pydantic.BaseModel):
    number: str

    @pydantic.field_validator("number")
    @classmethod
    def check(cls, value: str) -> str:
        raise ValueError(f"bad card {value}")


@dataclass
class Purse:
    card: str

    def __post_init__(self) -> None:
        raise ValueError(f"bad card {self.card}")


class Shown(pydantic.BaseModel):
    n: int

    @pydantic.field_serializer("n")
    def as_text(self, value: int) -> str:
        return f"n{value}"


class Hidden(pydantic.BaseModel):
    n: int
    secret: str = pydantic.Field("", exclude=True)


class Around(pydantic.BaseModel):
    inner: list[Hidden] = []


def bill(ctx: JobContext, order: Order, copies: int = 1, *rest: Path, cat: Cat | None = None, **points: Point) -> Color:
    return Color.BLUE


def order_of(**changes: Any) -> dict[str, Any]:
    return {"id": str(ID), "lines": [{"sku": "a", "price": "1"}], "at": "2026-11-25T14:00:00Z", **changes}


@pytest.fixture
def billed() -> JobFunction[..., Any, Any]:
    return Registry().register(bill, name="app.bill")


@pytest.mark.parametrize(
    ("args", "kwargs", "path", "text"),
    [
        ((5,), {}, "order", "expected Order, not int"),
        ((None,), {}, "order", "expected Order, not NoneType"),
        ((order_of(lines=[{"sku": "a", "price": "1"}] * 2 + [{"sku": "a", "price": "x"}]),), {},
         "order.lines[2].price", "expected Decimal, not str"),
        ((order_of(lines=[{"sku": "a"}]),), {}, "order.lines[0].price", "missing"),
        ((order_of(lines={"sku": "a"}),), {}, "order.lines", "expected list, not dict"),
        ((order_of(colour="red"),), {}, "order.colour", "not a field of Order"),
        ((order_of(color="green"),), {}, "order.color", "not one of 'red', 'blue', which Color has"),
        ((order_of(at="yesterday"),), {}, "order.at", "expected datetime, not str"),
        ((order_of(id=5),), {}, "order.id", "expected UUID, not int"),
        ((order_of(files={"a b": 1}),), {}, "order.files['a b']", "expected Path, not int"),
        ((order_of(parent=order_of(at=1)),), {}, "order.parent.at", "expected datetime, not int"),
        ((order_of(), 1, 5), {}, "rest[0]", "expected Path, not int"),
        ((order_of(),), {"home": [1]}, "home.at", "missing"),
        ((order_of(),), {"home": [1, "2020-01-01", "a", 4]}, "home", "4 values, and Point has 3 fields"),
        ((order_of(),), {"cat": {"called": "x"}}, "cat.called",
         "String should have at least 2 characters (and 4 more)"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_by_both_sides_with_its_place(
    billed: JobFunction[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], path: str, text: str
) -> None:
    assert billed.typed is not None
    for convert, kind in ((billed.typed.dump, TypeMismatch), (billed.typed.load, ArgumentsRefused)):
        with pytest.raises(kind) as caught:
            convert(args, kwargs)

        assert caught.value.path == path
        assert f"{path}: {text}." in str(caught.value)
        assert caught.value.field == ("kwargs" if kwargs else "args")


def test_an_object_that_was_changed_to_something_wrong_is_refused(billed: JobFunction[..., Any, Any]) -> None:
    order = Order(id=ID, lines=[LINE], at=AT)
    order.lines.append("a line")  # type: ignore[arg-type]
    cat = CAT.model_copy(update={"born": "yesterday"})
    assert billed.typed is not None

    with pytest.raises(TypeMismatch, match=r"order\.lines\[1\]: expected Line, not str"):
        billed.typed.dump((order,), {})
    with pytest.raises(TypeMismatch, match=r"cat\.born: Input should be a valid date"):
        billed.typed.dump((order_of(),), {"cat": cat})


def test_an_object_that_contains_itself_is_refused(billed: JobFunction[..., Any, Any]) -> None:
    order = Order(id=ID, lines=[], at=AT)
    order.parent = order
    assert billed.typed is not None

    with pytest.raises(TypeMismatch, match="order: it contains itself"):
        billed.typed.dump((order,), {})


def one(hint: Any, name: str = "app.one") -> JobFunction[..., Any, Any]:
    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": hint, "return": hint}
    return Registry().register(function, name=name)


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (Refund, Bigger("x"), "expected Refund, not Bigger"),
        (Cat | Dog, 5, "expected Cat or Dog, not int"),
        (Path | str, Path("a"), "its data is like that of another type of the union (Path or str)"),
        (Line | Annotated[Line, 1] | Refund, 5, "expected Line or Line or Refund, not int"),
        (Color | str, Color.RED, "its data is like that of another type"),
        (Literal["a", 1], True, "not one of 'a', 1"),
        (Literal["a", 1], [], "not one of 'a', 1"),
        (Signs, 1, "expected Signs, not int"),
        (tuple[int, Color], (1,), "expected a tuple of 2, not of 1"),
        (tuple[Color, ...], ("red", "x"), "value[1]: not one of"),
        (set[Path], "ab", "expected set, not str"),
        (set[Address], [{"street": "a"}], "a member has no hash"),
        (Decimal, float("nan"), "expected Decimal, not float"),
        (Decimal, "1e9999999", "expected Decimal, not str"),
        (Decimal, True, "expected Decimal, not bool"),
        (date, datetime(2026, 1, 1), "expected date, not datetime"),  # noqa: DTZ001 - it has a zone too many or too few
        (bytes, "aGVsbG8=", "expected bytes, not str"),
        (dict[UUID, int], {"x": 1}, "value['x']: expected UUID, not str"),
        (Annotated[int, pydantic.Field(gt=0)], 0, "Input should be greater than 0"),
        (Annotated[int, msgspec.Meta(ge=3)], 2, "Expected int >= 3"),
        (Struct, {"type": "Struct", "id": ID, "at": AT, "path": "a", "inner": [{"type": "Struct", "id": 5}]},
         "value.inner[0].id: Expected uuid, got int"),
    ],
)  # fmt: skip
def test_a_producer_refuses_it(hint: Any, value: Any, text: str) -> None:
    typed = one(hint).typed
    assert typed is not None

    with pytest.raises(TypeMismatch) as caught:
        typed.dump((value,), {})

    assert text in str(caught.value)


def test_members_whose_hashes_collide_are_refused() -> None:
    typed = one(set[Annotated[int, "a note"]]).typed
    colliding = [number * ((1 << 61) - 1) for number in range(4)]
    assert typed is not None

    assert typed.load((colliding,), {})[0] == [set(colliding)]
    with pytest.raises(ArgumentsRefused, match="too many members have the same hash"):
        typed.load(([-1, -2] * 100 + [hash_of_zero(n) for n in range(100)],), {})


def hash_of_zero(number: int) -> int:
    return number * ((1 << 61) - 1)


@pytest.mark.parametrize(
    ("hint", "value", "data"),
    [
        (Refund, {"reason": "late"}, Refund("late")),
        (Point, {"x": 1, "at": "2020-01-01"}, Point(1, date(2020, 1, 1))),
        (bytes, "aGVsbG8=", b"hello"),
        (set[int], [1, 2], {1, 2}),
        (dict[int, Path], {"1": "a"}, {1: Path("a")}),
        (Decimal, 9.9, Decimal("9.9")),
        (float | Path, 3, 3.0),
        (Path | str, "a", "a"),
        (Order | dict[str, Any], {"a": 1}, {"a": 1}),
        (Line | Refund, {"reason": "x"}, Refund("x")),
        (dict[str, Any] | Refund, {"reason": "x"}, Refund("x")),
    ],
)
def test_a_worker_reads_json(hint: Any, value: Any, data: Any) -> None:
    typed = one(hint).typed
    assert typed is not None

    assert typed.load((value,), {})[0] == [data]


def test_a_wrong_result_is_refused_with_its_place(billed: JobFunction[..., Any, Any]) -> None:
    assert billed.typed is not None

    with pytest.raises(
        TypeMismatch, match=r"the result of app\.bill does not fit the return annotation: not one of 'red', 'blue'"
    ):
        billed.typed.dump_result("green")
    with pytest.raises(
        TypeMismatch, match=r"the stored result of app\.bill does not fit the return annotation: not one of"
    ):
        billed.typed.load_result(5)


def test_a_secret_is_in_no_message(billed: JobFunction[..., Any, Any]) -> None:
    assert billed.typed is not None

    with pytest.raises(InvalidJob) as caught:
        billed.typed.dump((order_of(password={"hunter2": "hunter2"}),), {})

    assert "order.password: expected str, not dict" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (Tagged, {"pet": {"kind": "hunter2"}}, "pet: Input tag found using 'kind' does not match any of the"),
        (Deep, {"at": "hunter2"}, "at: Input should be a valid UUID"),
        (Deep, {"link": "hunter2"}, "link: Input should be a valid URL"),
        (Deep, {"raw": "hunter2"}, "raw: Invalid JSON"),
        (Shape, {"color": "hunter2"}, "color: Invalid enum value"),
        (Shape, {"word": "hunter2"}, "word: Invalid enum value"),
        (Shape, {"either": {"type": "hunter2"}}, "either.type: Invalid value"),
        (Cow | Hen | None, {"kind": "hunter2"}, "value.kind: not one of 'cow', 'hen'"),
        (Cow | Hen | None, {}, "value.kind: missing; give one of 'cow', 'hen'"),
        (Bus | Car, {"kind": "hunter2", "seats": 1}, "value.kind: not one of 'bus', 'car', 1"),
        (Bus | Car, {"kind": True, "seats": 1}, "value.kind: not one of 'bus', 'car', 1"),
        (Bus | Car, {"kind": "bus", "seats": 1, "wheels": "hunter2"}, "value.wheels: not a field of Bus"),
        (Disc | Ball, {"type": "hunter2"}, "value.type: not one of 'Disc', 'Ball'"),
        (Cow | Bus, {"kind": "hunter2"}, "value.kind: not one of 'cow', 'bus'"),
    ],
)
def test_no_library_quotes_a_value(hint: Any, value: Any, text: str) -> None:
    typed = one(hint).typed
    assert typed is not None

    for convert in (typed.dump, typed.load):
        with pytest.raises(TypeMismatch) as caught:
            convert((value,), {})

        assert text in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("hint", "value"), [(Card, {"number": "4711"}), (Purse, {"card": "4711"})])
def test_the_words_of_a_validator_stay(hint: Any, value: Any) -> None:
    typed = one(hint).typed
    assert typed is not None

    with pytest.raises(TypeMismatch, match="bad card 4711"):
        typed.dump((value,), {})


def test_a_serializer_that_changes_the_type_is_named() -> None:
    typed = one(Shown).typed
    assert typed is not None

    with pytest.raises(TypeMismatch, match=r"value\.n: .*; check what its serializer Shown\.as_text returns"):
        typed.dump((Shown(n=1),), {})


@pytest.mark.parametrize("hint", [Hidden, Around, list[Hidden]])
def test_a_field_that_would_be_lost_is_refused_when_the_function_is_registered(hint: Any) -> None:
    with pytest.raises(InvalidJob, match="the field secret has exclude=True"):
        one(hint)


def test_a_field_that_a_worker_does_not_know_names_the_order_of_upgrades() -> None:
    typed = one(Refund).typed
    assert typed is not None

    with pytest.raises(
        ArgumentsRefused, match=r"value\.by: not a field of Refund\. .* upgrade workers before producers"
    ):
        typed.load(({"reason": "late", "by": "ann"},), {})
