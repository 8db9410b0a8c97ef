"""A program with typed arguments that must type-check; read by mypy and pyright, never run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, assert_type

import msgspec
import pydantic

from jobfleet import AsyncJobHandle, BatchItem, Fleet, JobContext, JobHandle, JobResult, TypeMismatch, job


class Color(Enum):
    RED = "red"


@dataclass
class Line:
    price: float


class Order(pydantic.BaseModel):
    lines: list[int]


class Point(NamedTuple):
    x: int


class Address(TypedDict):
    street: str


class Struct(msgspec.Struct):
    n: int


@job
def bill(ctx: JobContext, order: Order, line: Line | None = None, *rest: Path, color: Literal["red"] = "red") -> Order:
    assert_type(order.lines, list[int])
    return order


@job(version=2)
async def place(point: Point, address: Address, struct: Struct) -> dict[str, Line]:
    return {address["street"]: Line(point.x + struct.n)}


@job(batch=5)
def many(items: list[BatchItem[Line]]) -> list[Color]:
    return [Color.RED for _ in items]


ORDER = Order(lines=[1])
assert_type(bill.enqueue(ORDER), JobHandle[Order])
assert_type(bill.enqueue(ORDER, Line(1.0), Path("a"), color="red").result(), Order)
assert_type(bill.enqueue(ORDER).poll(), JobResult[Order])
assert_type(many.enqueue(Line(1.0)).result(), Color)
bill.enqueue({"lines": [1]})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
bill.enqueue(ORDER, color="blue")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
place.enqueue(Point(1), {"road": "x"}, Struct(1))  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]


async def main(fleet: Fleet) -> None:
    handle = await place.aenqueue(Point(1), {"street": "x"}, Struct(1))
    assert_type(handle, AsyncJobHandle[dict[str, Line]])
    try:
        assert_type((await handle.result())["x"].price, float)
    except TypeMismatch as error:
        assert_type(error.path, str)
    assert_type(fleet.poll(fleet.enqueue(bill.job(ORDER))).result, Order | None)
