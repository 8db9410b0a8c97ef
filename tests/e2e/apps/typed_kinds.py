"""A function per kind of type, which takes and returns a value of it. Producers import the same table."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Required, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
from pydantic import dataclasses as pydantic_dataclasses

from jobfleet import Secret
from jobfleet.functions.registry import REGISTRY, JobFunction, Registry

T = TypeVar("T")
Number = NewType("Number", int)
ID = UUID("12345678-1234-5678-1234-567812345678")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.Enum):
    SMALL = (1, 2)
    LARGE = (3, 4)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    price: Decimal
    tags: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class Order:
    id: UUID
    lines: list[Line]
    at: datetime
    color: Color = Color.RED
    files: dict[str, Path] = field(default_factory=dict)
    parent: Order | None = None
    password: Secret[str] | None = None
    total: float = field(init=False, default=0.0)


@dataclass
class Refund:
    reason: str


@dataclass
class Box(Generic[T]):
    inside: T


class Point(NamedTuple):
    x: int
    at: date
    name: str = "here"


class Address(TypedDict, total=False):
    street: Required[str]
    since: date
    door: NotRequired[Level]


class Cat(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2, alias="called")
    born: date
    home: Path
    secret: pydantic.SecretStr
    raw: bytes
    colors: set[Color] = set()


class Dog(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")
    kind: Literal["dog"] = "dog"
    friends: list[Dog] = []
    point: Point | None = None
    order: Line | None = None


class Crate(pydantic.BaseModel, Generic[T]):
    inside: list[T]


@pydantic_dataclasses.dataclass
class Weight:
    kilos: float


class Struct(msgspec.Struct, tag=True):
    id: UUID
    at: datetime
    path: Path
    inner: list[Struct] = []
    note: Annotated[str, msgspec.Meta(max_length=5)] | None = None


class Tiny(msgspec.Struct, tag=True, array_like=False):
    n: int


LINE = Line("a", Decimal("9.90"), frozenset({"new"}))
AT = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
ORDER = Order(id=ID, lines=[LINE], at=AT, files={"bill": Path("/tmp/bill")}, password=Secret("pw"))
CAT = Cat(
    called="Tom",
    born=date(2020, 2, 29),
    home=Path("home"),
    secret=pydantic.SecretStr("x"),
    raw=b"\xff\x00",
    colors={Color.BLUE},
)
DOG = Dog(friends=[Dog()], point=Point(1, date(2020, 1, 1)), order=LINE)

KINDS: Mapping[str, tuple[Any, Any]] = {
    "dataclass": (Order, ORDER),
    "dataclass_recursive": (Order, Order(id=ID, lines=[], at=AT, parent=ORDER, color=Color.BLUE)),
    "dataclass_frozen": (Line, LINE),
    "dataclass_generic": (Box[Line], Box(LINE)),
    "dataclass_around_model": (Box[Cat], Box(CAT)),
    "pydantic": (Cat, CAT),
    "pydantic_strict": (Dog, DOG),
    "pydantic_generic": (Crate[Level], Crate[Level](inside=[Level.HIGH])),
    "pydantic_dataclass": (Weight, Weight(kilos=1.5)),
    "pydantic_constraint": (Annotated[int, pydantic.Field(gt=0)], 5),
    "typed_dict": (Address, {"street": "x", "since": date(2020, 1, 1), "door": Level.HIGH, "other": 1}),
    "named_tuple": (Point, Point(1, date(2020, 1, 1))),
    "enum": (Color, Color.BLUE),
    "enum_by_name": (Size, Size.LARGE),
    "int_enum": (Level, Level.HIGH),
    "str_enum": (Word, Word.YES),
    "flag": (Right, Right.READ | Right.WRITE),
    "msgspec": (Struct, Struct(ID, AT, Path("p"), [Struct(ID, AT, Path("q"))], note="short")),
    "msgspec_union": (Struct | Tiny, Tiny(3)),
    "msgspec_constraint": (Annotated[int, msgspec.Meta(ge=3)], 3),
    "datetime": (datetime, datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))),
    "datetime_naive": (datetime, datetime(2026, 7, 1, 12)),  # noqa: DTZ001 - what travels stays naive
    "date": (date, date(2026, 7, 1)),
    "time": (time, time(12, 30)),
    "timedelta": (timedelta, timedelta(days=-1, microseconds=3)),
    "uuid": (UUID, ID),
    "decimal": (Decimal, Decimal("1.10")),
    "path": (Path, Path("/a/b")),
    "pure_path": (PurePosixPath, PurePosixPath("a/b")),
    "bytes": (bytes, b"\x00\xff"),
    "set": (set[int], {1, 2}),
    "set_of_enums": (set[Color], {Color.RED}),
    "frozenset": (frozenset[Line], frozenset({LINE})),
    "tuple": (tuple[int, Color], (1, Color.RED)),
    "tuple_open": (tuple[Path, ...], (Path("a"), Path("b"))),
    "literal": (Literal["a", 1, Color.RED], Color.RED),
    "annotated": (Annotated[Color, "a note"], Color.RED),
    "new_type": (list[Number], [Number(1)]),
    "secret": (Secret[Path], Secret(Path("a"))),
    "list": (list[Order], [ORDER, ORDER]),
    "sequence": (Sequence[Point], [Point(1, date(2020, 1, 1))]),
    "dict": (dict[str, Line], {"a": LINE}),
    "dict_by_uuid": (dict[UUID, Color], {ID: Color.RED}),
    "dict_by_date": (Mapping[date, int], {date(2020, 1, 1): 1}),
    "optional": (Order | None, ORDER),
    "optional_none": (Order | None, None),
    "union": (Order | Refund, Refund("late")),
    "union_with_text": (Order | str, "none"),
    "union_of_models": (Cat | Dog, DOG),
    "union_of_lists": (list[Line] | list[Refund], [Refund("a")]),
}


def same(one: object, other: object) -> bool:
    """Whether two values are equal and of one type; a zone counts."""
    return type(one) is type(other) and one == other and str(one) == str(other)


def echo_of(kind: str, hint: Any, value: Any) -> Callable[..., Any]:
    """Make the function of a kind."""

    def echo(value: Any) -> Any:
        if not same(value, expected):
            raise RuntimeError(f"received {value!r} of {type(value)}")
        return value

    expected = value
    echo.__annotations__ = {"value": hint, "return": hint}
    echo.__name__ = kind
    return echo


async def awaited(order: Order) -> list[Line]:
    return order.lines


def isolated(order: Order, *, wrong: bool = False) -> list[Line]:
    return [5] if wrong else order.lines  # type: ignore[list-item]


def registered(registry: Registry | None = None) -> dict[str, JobFunction[..., Any, Any]]:
    """Register the functions."""
    registry = REGISTRY if registry is None else registry
    made = {}
    for kind, (hint, value) in KINDS.items():
        made[kind] = registry.register(echo_of(kind, hint, value), name=f"kinds.{kind}")
    made["awaited"] = registry.register(awaited, name="kinds.awaited")
    made["isolated"] = registry.register(isolated, name="kinds.isolated", run_in="process", max_retries=0)
    return made


if __name__ == "typed_kinds":
    registered()
