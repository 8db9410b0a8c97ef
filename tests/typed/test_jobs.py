"""Typed arguments in all that a job meets: unique keys, versions, flows, batches, edits, other programs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet import (
    AsyncFleet,
    BatchItem,
    Cron,
    EncodingError,
    Fleet,
    Flow,
    Job,
    JobContext,
    JobResult,
    JobStatus,
    Secret,
    TypeMismatch,
)
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.codec import DEFAULT, encode
from jobfleet.functions.manifest import function_record
from jobfleet.functions.port import FlowAddition
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.store.calls.presence import beat
from jobfleet.testing.inline import Inline, InlineFleet
from jobfleet.worker.executors.isolated.channel import open_flow_addition, seal_flow_addition
from tests.trust.conftest import spelled

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


class Region(Enum):
    EU = "eu"


@dataclass(frozen=True)
class Line:
    price: Decimal


@dataclass(frozen=True)
class Order:
    id: int
    lines: tuple[Line, ...] = ()
    region: Region = Region.EU


@dataclass(frozen=True)
class Receipt:
    order: Order
    total: Decimal


def total(ctx: JobContext, order: Order, /, *more: Order, rebate: Decimal = Decimal(0), **named: Order) -> Receipt:
    assert ctx.job.args[0] == {"id": order.id, "lines": tuple({"price": one.price} for one in order.lines),
                               "region": "eu"}  # fmt: skip
    lines = [line for one in (order, *more, *named.values()) for line in one.lines]
    return Receipt(order, sum((line.price for line in lines), -rebate))


KEY = bytes(range(32))
ORDER = Order(7, (Line(Decimal("1.5")), Line(Decimal(2))))
WIRE = {"id": 7, "lines": [{"price": "1.5"}, {"price": 2}], "region": "eu"}


@pytest.fixture
def function(registry: Registry, fleet: Fleet) -> JobFunction[..., Receipt, Any]:
    return registry.register(total, name="app.total", fleet=fleet, max_retries=3, retry_on=(ValueError,))


def test_every_kind_of_parameter_is_rebuilt(function: JobFunction[..., Receipt, Any], fleet: Fleet) -> None:
    handles = [
        function.enqueue(ORDER, ORDER, rebate=Decimal("0.5"), gift=ORDER),
        fleet.handle_of(Job("by name", "app.total", (ORDER,))),
        fleet.handle_of(Job("as data", function, (WIRE,))),
        function.options(tags=["a"], unique="{0.id}").enqueue(ORDER),
    ]

    fleet.run_worker(burst=True)

    assert [handle.result() for handle in handles] == [
        Receipt(ORDER, Decimal(n)) for n in ("10.0", "3.5", "3.5", "3.5")
    ]
    assert fleet.gather(handles) == [handle.poll().result for handle in handles]
    assert [one and one.result for one in fleet.poll_many([handle.id for handle in handles])] == fleet.gather(handles)
    assert handles[0].details().job.result == handles[0].result()


async def test_an_awaited_client_has_the_same_results(redis_url: str, registry: Registry) -> None:
    function = registry.register(total, name="app.total")
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        job_id = await fleet.enqueue(function.job(ORDER))
        await fleet.run_worker(burst=True)

        assert (await fleet.wait(job_id)).result == Receipt(ORDER, Decimal("3.5"))


def test_a_wrong_argument_enqueues_nothing(
    function: JobFunction[..., Receipt, Any], fleet: Fleet, raw: redis.Redis
) -> None:
    function.enqueue(ORDER)
    before = {key: raw.dump(key) for key in raw.keys("*:0:*")}
    wrong = Order(1, (Line("x"),))  # type: ignore[arg-type]

    for job in (function.job(wrong), function.job(ORDER, later=wrong), Job("x", "app.total", (wrong,))):
        with pytest.raises(TypeMismatch) as caught:
            fleet.enqueue(job)
        assert caught.value.path.partition(".")[2] == "lines[0].price"
    (receipt,) = fleet.enqueue_many([function.job(wrong)])

    assert isinstance(receipt.error, TypeMismatch)
    assert {key: raw.dump(key) for key in raw.keys("*:0:*")} == before


def test_a_worker_fails_a_wrong_job_for_good(
    function: JobFunction[..., Receipt, Any], fleet: Fleet, stranger: Fleet
) -> None:
    wrong = WIRE | {"lines": [{"price": "1"}, {"price": []}]}
    job_id = stranger.enqueue(Job("x", "app.total", (wrong,)))

    fleet.run_worker(burst=True)

    result = stranger.poll(job_id)
    assert (result.status, str(result.error_type), result.error_class, result.retry_count) == (
        JobStatus.FAILED, "permanent", "invalid-arguments", 0,
    )  # fmt: skip
    assert result.error == (
        "the arguments do not fit the annotations of app.total: order.lines[1].price: expected Decimal, not list. "
        "Correct them with a replay, or correct the annotation."
    )
    assert fleet.replay(job_id, args=(ORDER,))
    fleet.run_worker(burst=True)
    value = stranger.poll(job_id).result
    assert value is not None
    assert value == {"order": value["order"], "total": Decimal("3.5")}


def test_a_wrong_replay_or_edit_changes_nothing(
    function: JobFunction[..., Receipt, Any], fleet: Fleet, stranger: Fleet
) -> None:
    handle = function.options(delay=3600).enqueue(ORDER)
    before = stranger.details(handle.id).args

    for args in (({"id": "x"},), (Order(1, (5,)),)):  # type: ignore[arg-type]
        with pytest.raises(TypeMismatch):
            handle.edit(args)

    assert stranger.details(handle.id).args == before
    assert handle.edit((Order(8),))
    assert stranger.details(handle.id).args == ({"id": 8, "lines": (), "region": "eu"},)


def test_a_result_that_does_not_fit_fails_the_job(registry: Registry, fleet: Fleet) -> None:
    def wrong() -> Order:
        return Order(1, (Line(5.5), 7))  # type: ignore[arg-type]

    handle = registry.register(wrong, name="app.wrong", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    result = handle.poll()
    assert (result.status, result.error_class, result.retry_count) == (JobStatus.FAILED, "TypeMismatch", 0)
    assert (
        result.error
        == "the result of app.wrong does not fit the return annotation: result.lines[1]: expected Line, not int."
    )


def test_a_stored_result_that_does_not_fit_is_an_error_of_its_reader(registry: Registry, fleet: Fleet) -> None:
    def made() -> dict[str, Any]:
        return {"id": 1, "colour": "red"}

    handle = registry.register(made, name="app.made", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)
    del registry.functions["app.made"]
    made.__annotations__["return"] = Order
    registry.register(made, name="app.made")

    result = handle.poll()

    assert (result.status, result.result, result.error_class) == (JobStatus.COMPLETED, None, "TypeMismatch")
    with pytest.raises(
        TypeMismatch,
        match=r"cannot be had: the stored result of app\.made does not fit .*: result\.colour: not a field",
    ):
        handle.result()


def test_upcasts_see_the_data_and_run_before_the_rebuild(registry: Registry, fleet: Fleet, stranger: Fleet) -> None:
    given: list[Any] = []

    def with_lines(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given.append((args, kwargs))
        return ({"id": args[0], "lines": [{"price": args[1]}]},), kwargs

    def price(order: Order) -> Decimal:
        return order.lines[0].price

    old = stranger.enqueue(Job("old", "app.price", (7, "9.9")))
    wrong = stranger.enqueue(Job("old", "app.price", (7, [])))
    function = registry.register(price, name="app.price", fleet=fleet, version=2, upcast={1: with_lines})
    new = function.enqueue(ORDER)

    fleet.run_worker(burst=True)

    assert (fleet.poll(old).result, new.result()) == (Decimal("9.9"), Decimal("1.5"))
    assert fleet.poll(wrong).error_class == "invalid-arguments"
    assert given == [((7, "9.9"), {}), ((7, []), {})]


def test_a_template_reads_fields_of_objects_and_of_their_data(
    registry: Registry, fleet: Fleet, stranger: Fleet
) -> None:
    def ship(order: Order) -> None: ...

    function = registry.register(
        ship, name="app.ship", fleet=fleet, unique="{order.region}-{order.id}", group="{order.region}"
    )
    account = encode({"queues": ["default"], "state": "running"})
    records = {function.name: function_record(function)}
    fleet.store.run(beat(fleet.context.keys, "w1", account=account, gone_us=20_000_000, functions=records))

    handle = function.enqueue(ORDER)
    receipts = [function.enqueue(WIRE).receipt, stranger.submit(Job("x", "app.ship", (WIRE,)))]

    assert [receipt.id for receipt in receipts] == [handle.id] * 2
    assert (handle.poll().unique, handle.poll().group) == ("eu-7", "eu")


def test_flows_callbacks_and_recurring_jobs_have_typed_arguments(registry: Registry, fleet: Fleet) -> None:
    seen: list[Any] = []

    def load(order: Order) -> Order:
        return order

    def after(ctx: JobContext, path: Path) -> None:
        seen.append((path, [parent.result for parent in ctx.parents.values()]))

    first, last = (registry.register(one, name=f"app.{one.__name__}", fleet=fleet) for one in (load, after))
    flow = Flow("f")
    begin = flow.add(first.job(ORDER))
    flow.add(last.job(Path("flow")), after=begin)
    info = fleet.flows.enqueue(flow)
    first.options(on_success=last.job(Path("callback"))).enqueue(ORDER)
    fleet.cron.add("nightly", Cron("0 0 * * *"), last.job(Path("cron")))
    fleet.cron.run("nightly")
    with pytest.raises(TypeMismatch, match="path: expected Path, not int"):
        fleet.cron.add("wrong", Cron("0 0 * * *"), last.job(5))

    fleet.run_worker(burst=True)

    assert sorted(seen, key=str) == [
        (Path("callback"), [ORDER]),
        (Path("cron"), []),
        (Path("flow"), [ORDER]),
    ]
    assert fleet.flows.get(info.id).jobs[0].result.result == ORDER  # type: ignore[union-attr]


def test_of_a_batch_only_the_wrong_job_fails(registry: Registry, fleet: Fleet, stranger: Fleet) -> None:
    calls: list[list[Order]] = []

    def whole(orders: list[Order]) -> list[Receipt]:
        calls.append(orders)
        return [Receipt(order, Decimal(order.id)) if order.id else 5 for order in orders]  # type: ignore[misc]

    def items(orders: list[BatchItem[Order]]) -> list[Region]:
        for item in orders:
            item.complete(item.value.region)
        return []

    function = registry.register(whole, name="app.whole", fleet=fleet, batch=10, max_retries=0)
    other = registry.register(items, name="app.items", fleet=fleet, batch=10)
    handles = [function.enqueue(Order(number)) for number in (1, 0, 2)]
    wrong = stranger.enqueue(Job("x", "app.whole", ({"id": "x"},)))
    own = other.enqueue(ORDER)

    fleet.run_worker(burst=True)

    assert calls == [[Order(1), Order(0), Order(2)]]
    assert [handle.poll().result for handle in handles] == [
        Receipt(Order(1), Decimal(1)),
        None,
        Receipt(Order(2), Decimal(2)),
    ]
    assert (
        handles[1].poll().error
        == "the result of app.whole does not fit the return annotation: expected Receipt, not int."
    )
    assert (stranger.poll(wrong).error_class, own.result()) == ("invalid-arguments", Region.EU)


def test_hooks_and_middleware_see_the_data(registry: Registry, fleet: Fleet) -> None:
    seen: list[Any] = []

    async def middleware(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        value = await call_next()
        seen.append((ctx.job.args, value))
        return value

    def same(order: Order, key: Secret[str]) -> Order:
        assert key.reveal() == "k"
        return order

    registry.around_run.append(middleware)
    handle = registry.register(same, name="app.same", fleet=fleet).enqueue(Order(1), "k")
    fleet.run_worker(burst=True)

    data: Mapping[str, Any] = {"id": 1, "lines": (), "region": "eu"}
    assert handle.result() == Order(1)
    assert seen == [((data, Secret("k")), data)]


def test_large_and_encrypted_arguments_are_typed_like_others(
    redis_url: str, registry: Registry, tmp_path: Path, raw: redis.Redis
) -> None:
    stored: dict[str, Any] = {"payload_store": f"file://{tmp_path}", "payload_threshold": 1024}
    sealed: dict[str, Any] = {"keyring": spelled(k1=KEY), "encrypt": "require"}
    function = registry.register(total, name="app.total")
    with Fleet(redis_url, registry=registry, **stored, **sealed) as fleet:
        handle = fleet.handle_of(function.job(ORDER, *[ORDER] * 50))
        fleet.run_worker(burst=True)

        assert handle.result() == Receipt(ORDER, Decimal("3.5") * 51)
    assert list(tmp_path.rglob("*"))


def test_a_job_that_adds_typed_jobs_to_its_flow(registry: Registry, fleet: Fleet) -> None:
    async def add(ctx: JobContext) -> None:
        await ctx.flow.add(registry.functions["app.leaf"].job(ORDER))

    async def leaf(order: Order) -> Order:
        await asyncio.sleep(0)
        return order

    registry.register(leaf, name="app.leaf")
    function = registry.register(add, name="app.add")
    flow = Flow("f")
    flow.add(function.job())
    info = fleet.flows.enqueue(flow)

    fleet.run_worker(burst=True)

    assert ORDER in [job.result.result for job in fleet.flows.get(info.id).jobs if job.result]


def test_what_no_annotation_converts_is_refused_as_before(registry: Registry, fleet: Fleet) -> None:
    def untyped(order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        ...

    with pytest.raises(EncodingError, match=r"args\[0\]: Order cannot be encoded"):
        registry.register(untyped, name="app.untyped", fleet=fleet).enqueue(ORDER)


def test_an_addition_from_an_isolated_process_carries_data(registry: Registry) -> None:
    flow = Flow("f")
    flow.add(registry.register(total, name="app.total").job(ORDER))

    opened = open_flow_addition(
        seal_flow_addition(FlowAddition(flow, "1", False, ()), registry, limits=DEFAULT), limits=DEFAULT
    )

    data = {"id": 7, "lines": ({"price": Decimal("1.5")}, {"price": Decimal(2)}), "region": "eu"}
    assert opened.flow.nodes[0].job.args == (data,)


def test_an_archived_result_is_rebuilt(redis_url: str, registry: Registry, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    init_job_tables(url)
    registry.register(total, name="app.total")
    receipt = Receipt(ORDER, Decimal(1))
    kept = JobResult[Any](
        id="default.0.01a214189c5d7000800088feb3b7c1aa", status=JobStatus.COMPLETED, function="app.total",
        result=registry.functions["app.total"].typed.dump_result(receipt),  # type: ignore[union-attr]
    )  # fmt: skip
    with JobRepository(url) as repository:
        repository.save(kept)

    with Fleet(redis_url, registry=registry, archive_url=url) as fleet:
        assert (fleet.poll(kept.id).result, fleet.wait(kept.id).result) == (receipt, receipt)


def test_the_inline_mode_of_tests_has_objects(registry: Registry, fleet: Fleet) -> None:
    function = registry.register(total, name="app.total", fleet=fleet)

    with InlineFleet.over(fleet, Inline(fleet, raises=True)) as inline:
        assert inline.handle_of(function.job(ORDER)).result() == Receipt(ORDER, Decimal("3.5"))
        with pytest.raises(TypeMismatch):
            inline.handle_of(function.job(5))
