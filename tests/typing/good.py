"""Uses of the public names that must type-check; read by mypy, never run.

A line that must not type-check says so with `type: ignore`, which mypy refuses where nothing is wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, assert_type

from jobfleet import (
    After,
    AsyncFleet,
    AsyncJobHandle,
    BatchItem,
    Chunk,
    Fleet,
    Flow,
    Job,
    JobContext,
    JobHandle,
    JobId,
    JobResult,
    JobStatus,
    Priority,
    ProgressCallback,
    Receipt,
    Resource,
    enqueue,
    hooks,
    job,
    poll,
    register_job_function,
    wait,
)
from jobfleet.outcome import Outcome


@job
def add(x: int, y: int = 0) -> str:
    return str(x + y)


@job(queue="mail", max_retries=5, timeout=30, retry_on=(OSError,))
def send(ctx: JobContext, to: str) -> int:
    return len(to)


@job
async def load(ctx: JobContext, url: str) -> bytes:
    return url.encode()


@job(priority=Priority.LOW)
async def sweep() -> None: ...


class Pool:
    async def get(self, k: int) -> str:
        return str(k)


@asynccontextmanager
async def open_pool() -> AsyncIterator[Pool]:
    yield Pool()


@job
async def fetch(k: int, pool: Annotated[Pool, Resource(open_pool)] = Resource.injected) -> str:
    return await pool.get(k)


@job
async def fetch_asked(k: int, pool: Annotated[Pool, Resource(open_pool)]) -> str:
    return await pool.get(k)


@job(run_in="thread", keep_last=100)
def build(n: int, progress_callback: ProgressCallback | None = None) -> float:
    if progress_callback is not None:
        progress_callback(0.5, "half", {"rows": n})
    return n / 2


def a_plain_call_is_a_call_of_the_function() -> None:
    assert_type(add(1, 2), str)
    assert_type(load(JobContext.for_test(), "x"), Awaitable[bytes])


def a_handle_knows_the_result() -> None:
    handle = send.enqueue("ann@example.org")
    assert_type(handle, JobHandle[int])
    assert_type(handle.result(timeout=10), int)
    assert_type(handle.poll(), JobResult[int])
    assert_type(handle.wait().result, int | None)
    assert_type(add.enqueue(1, y=2).result(), str)
    assert_type(load.enqueue("x").result(), bytes)
    assert_type(sweep.enqueue(), JobHandle[None])
    assert_type(build.enqueue(3).result(), float)


async def so_does_an_awaited_handle() -> None:
    handle = await load.aenqueue("x")
    assert_type(handle, AsyncJobHandle[bytes])
    assert_type(await handle.result(), bytes)
    assert_type(await handle.wait(), JobResult[bytes])
    assert_type((await send.aenqueue("x")).id, str)


def options_keep_types() -> None:
    assert_type(send.options(priority=Priority.HIGH, delay=60).enqueue("x"), JobHandle[int])
    send.options(delay=60).enqueue(1)  # type: ignore[arg-type]


def a_job_takes_the_functions_arguments() -> None:
    assert_type(send.job("x"), Job[int])
    assert_type(add.job(1, y=2), Job[str])


def wrong_arguments_are_errors() -> None:
    send.enqueue(1)  # type: ignore[arg-type]
    send.enqueue()  # type: ignore[call-arg]
    send.enqueue("x", "y")  # type: ignore[call-arg]
    send.enqueue(to=b"x")  # type: ignore[arg-type]
    send.enqueue("x", priority=Priority.HIGH)  # type: ignore[call-arg]
    send.job(1)  # type: ignore[arg-type]
    add.enqueue("1")  # type: ignore[arg-type]
    add.enqueue(1, z=2)  # type: ignore[call-arg]
    sweep.enqueue(1)  # type: ignore[call-arg]


def the_context_is_no_argument() -> None:
    send.enqueue(JobContext.for_test(), "x")  # type: ignore[arg-type, call-arg]
    send.enqueue("x", ctx=JobContext.for_test())  # type: ignore[call-arg]


async def wrong_awaited_arguments_are_errors() -> None:
    await load.aenqueue(1)  # type: ignore[arg-type]
    load.enqueue("x").result().bit_count()  # type: ignore[attr-defined]


def jobs_are_frozen_and_typed(fleet: Fleet) -> None:
    made = Job("Mail", "mail.send", ["x"], delay=60)
    made.queue = "mail"  # type: ignore[misc]
    Job("Mail", "mail.send", priority="high")
    Job("Mail", "mail.send", priority="urgent")  # type: ignore[arg-type]
    Job("Mail", "mail.send", prio=1)  # type: ignore[call-arg]
    Job("Mail", "mail.send", (), {}, Priority.LOW)  # type: ignore[call-arg]


def clients_are_typed(fleet: Fleet) -> None:
    made = send.job("x")
    assert_type(fleet.enqueue(made), JobId[int])
    assert_type(fleet.poll(fleet.enqueue(made)), JobResult[int])
    assert_type(fleet.wait(fleet.enqueue(load.job("x")), 5).result, bytes | None)
    assert_type(fleet.handle_of(made), JobHandle[int])
    assert_type(fleet.move(fleet.enqueue(made), "other"), JobId[int])
    plain: str = fleet.enqueue(Job("Mail", "mail.send"))
    assert_type(fleet.poll(plain), JobResult[Any])
    assert_type(fleet.submit(made), Receipt)
    assert_type(fleet.enqueue_many([made]), Iterator[Receipt])
    assert_type(fleet.poll("mail.0.x"), JobResult[Any])
    assert_type(fleet.cancel("mail.0.x", by="ann"), bool)
    assert_type(enqueue(made), JobId[int])
    assert_type(poll(enqueue(made)).result, int | None)
    assert_type(poll("mail.0.x"), JobResult[Any])
    assert_type(wait("mail.0.x", 5.0), JobResult[Any])
    fleet.cancel("mail.0.x", "ann")  # type: ignore[call-arg]
    fleet.enqueue("mail.send")  # type: ignore[arg-type]


async def awaiting_clients_are_typed(fleet: AsyncFleet) -> None:
    made = send.job("x")
    assert_type(await fleet.enqueue(made), JobId[int])
    assert_type(await fleet.poll(await fleet.enqueue(made)), JobResult[int])
    assert_type(await fleet.handle_of(made), AsyncJobHandle[int])
    assert_type(await fleet.enqueue_many([made]), list[Receipt])
    async for receipt in fleet.enqueue_many([made]):
        assert_type(receipt, Receipt)
    async for event in fleet.events("mail.0.x"):
        assert_type(event.event, str)
    assert_type(await fleet.cancel("mail.0.x"), bool)


def functions_are_registered_after_the_fact() -> None:
    triple = register_job_function("app.triple", lambda n: n * 3)
    triple.enqueue(4)


def a_resource_with_the_default_is_no_argument_of_callers(pool: Pool) -> None:
    assert_type(fetch.enqueue(3), JobHandle[str])
    assert_type(fetch(3, pool), Awaitable[str])
    fetch.enqueue("3")  # type: ignore[arg-type]
    fetch_asked.enqueue(3)  # type: ignore[call-arg]  # what Python's types cannot say without the default


async def steps_keep_types(ctx: JobContext) -> None:
    async def charge(amount: int, *, currency: str = "EUR") -> str:
        return f"{amount} {currency}"

    def ship(address: str) -> float:
        return float(len(address))

    assert_type(await ctx.step("charge", charge, 5, currency="USD"), str)
    assert_type(await ctx.step("ship", ship, "Rome"), float)
    assert_type(ctx.step_sync("charge", charge, 5), str)
    assert_type(ctx.step_sync("ship", ship, "Rome"), float)
    await ctx.checkpoint("row", 7)
    await ctx.step("charge", charge, "5")  # type: ignore[call-overload]
    ctx.step_sync("ship", ship)  # type: ignore[call-overload]


async def what_is_added_is_one_id_or_some(ctx: JobContext) -> None:
    flow = Flow("more")
    node = flow.add(Job("one", "app.one"))
    assert_type(await ctx.flow.add(flow, join=node, after_this=True), list[str])
    assert_type(await ctx.flow.add(Job("one", "app.one"), join=True), str)
    assert_type(ctx.flow.add_sync(Job("one", "app.one"), name="a"), str)
    await ctx.flow.add("app.one")  # type: ignore[call-overload]


@hooks.before
def log_start(ctx: JobContext) -> None: ...


@hooks.after
async def log_end(ctx: JobContext, outcome: Outcome) -> None: ...


@hooks.on_retry(functions=[send], queues=["mail"])
def count_retry(ctx: JobContext, error: BaseException, delay: float) -> None: ...


@hooks.on_failure(functions=["app.send"])
def alert(ctx: JobContext, error: BaseException) -> None: ...


@hooks.around
async def traced(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
    return await call_next()


def hooks_are_typed(fleet: Fleet, other: AsyncFleet) -> None:
    fleet.hooks.before(log_start)
    other.hooks.after(log_end)
    fleet.hooks.before(count_retry)  # type: ignore[type-var]
    fleet.hooks.around(log_start)  # type: ignore[type-var]
    fleet.hooks.before(queue="mail")  # type: ignore[call-overload]


async def logs_are_typed(fleet: Fleet, other: AsyncFleet) -> None:
    for line in fleet.logs("mail.0.x", tail=5):
        assert_type(line.text, str)
    async for line in other.logs("mail.0.x", follow=True):
        assert_type(line.level, str)
    for chunk in fleet.stream("mail.0.x", after="7-1-1"):
        assert_type(chunk.position, str)
    async for chunk in other.stream("mail.0.x", tail=5):
        assert_type(chunk, Chunk)


@job(batch=50, batch_wait=0.2)
async def embed(texts: list[str]) -> list[list[float]]:
    return [[float(len(text))] for text in texts]


@job(batch=50)
def measure(texts: list[str], pool: Annotated[Pool, Resource(open_pool)] = Resource.injected) -> list[int]:
    return [len(text) for text in texts]


@job(batch=50, queue="index")
async def index(batch: list[BatchItem[int]]) -> None:
    for item in batch:
        item.context.progress(0.5)
        item.complete(item.value + 1)


@job(batch=50)
def store(rows: list[dict[str, int]]) -> None: ...


def filters_are_typed(fleet: Fleet) -> None:
    assert_type(fleet.jobs(tags=["a"], user="ann", limit=5).jobs, list[JobResult[Any]])
    assert_type(fleet.cancel_many(tags="a", status=JobStatus.QUEUED, by="ann"), int)
    assert_type(fleet.count_open(queue="mail", function=None), int)
    assert_type(fleet.reschedule_many(session="s", delay=60, dry_run=True), int)
    assert_type(fleet.move_many("bulk", queue="mail"), int)
    fleet.cancel_many(tag="a")  # type: ignore[call-arg]
    fleet.jobs(user=1)  # type: ignore[arg-type]
    fleet.count_open("mail")  # type: ignore[call-arg]


def functions_of_one_fleet_are_typed(fleet: Fleet, other: AsyncFleet) -> None:
    @fleet.job
    def length(text: str) -> int:
        return len(text)

    @fleet.job(queue="mail", retry_on=(OSError,))
    async def post(ctx: JobContext, to: str, *, retries: int = 3) -> bytes:
        return to.encode()

    @other.job(name="app.squares", batch=50)
    def squares(numbers: list[int]) -> list[float]:
        return [number**2 for number in numbers]

    @other.job
    async def ping(ctx: JobContext) -> None: ...

    assert_type(length("abc"), int)
    assert_type(length.enqueue("abc"), JobHandle[int])
    assert_type(post.enqueue("ann", retries=1).result(), bytes)
    assert_type(post(JobContext.for_test(), "ann"), Awaitable[bytes])
    assert_type(squares.enqueue(3).result(), float)
    assert_type(ping.enqueue(), JobHandle[None])
    length.enqueue(1)  # type: ignore[arg-type]
    post.enqueue()  # type: ignore[call-arg]
    squares.enqueue([3])  # type: ignore[arg-type]
    fleet.job(retry_on=OSError)  # type: ignore[call-overload]


def batches() -> None:
    assert_type(embed.enqueue("a"), JobHandle[list[float]])
    assert_type(measure.enqueue("a").result(), int)
    assert_type(index.enqueue(1), JobHandle[Any])
    assert_type(store.enqueue({"a": 1}), JobHandle[None])
    assert_type(index.job(1), Job)
    embed.enqueue(1)  # type: ignore[arg-type]
    embed.enqueue("a", "b")  # type: ignore[call-arg]


def a_function_keeps_its_type(ctx: JobContext) -> None:
    assert_type(send.function(ctx, "x"), int)
    assert_type(send(ctx, "x"), int)
    assert_type(add.function(1, y=2), str)
    add.function("1")  # type: ignore[arg-type]
    send("x")  # type: ignore[call-arg, arg-type]


async def checkpoints_keep_types(ctx: JobContext) -> None:
    assert_type(ctx.checkpoint_sync("row", default=0), int)
    assert_type(await ctx.checkpoint("row", default=0), int)
    assert_type(ctx.checkpoint_sync("row"), Any)
    ctx.checkpoint_sync("row", 7)
    ctx.checkpoint_sync("row", default=0).upper()  # type: ignore[attr-defined]


def handles_and_results_are_covariant(handle: JobHandle[int], result: JobResult[int]) -> None:
    wider: JobHandle[int | None] = handle
    seen: JobResult[object] = result
    jobs: list[Job] = [send.job("x"), add.job(1)]
    assert wider, (seen, jobs)


def options_of_both_kinds_are_typed(fleet: Fleet) -> None:
    @fleet.job(retry_delay=timedelta(seconds=5), tags=("a",), cron="0 2 * * *", tz="Europe/Berlin")
    def nightly() -> None: ...

    nightly.options(depends_on=[send.enqueue("x"), "mail.0.x", After(add.enqueue(1), "run")], tags=["eu"])
    Job("Mail", "mail.send", depends_on=(send.enqueue("x"),), unique_for=timedelta(hours=1))

    @fleet.job(concurrency=5, rate="10/min", group="{customer}", durability="replicated")
    def bill(customer: str) -> int:
        return len(customer)

    assert_type(bill.enqueue("acme").result(), int)
    nightly.options(depends_on=[send.job("x")])  # type: ignore[list-item]
    nightly.options(retry=3)  # type: ignore[call-arg]
    fleet.job(prioritee=3)  # type: ignore[call-overload]
    fleet.run_worker(burst=1, slot=3)  # type: ignore[call-arg, arg-type]


def many_waits_keep_types(fleet: Fleet) -> None:
    handles = [send.enqueue("x"), send.enqueue("y")]
    assert_type(fleet.gather(handles, timeout=10), list[int])
    assert_type(fleet.gather(handles, return_exceptions=True), list[int | Exception])
    assert_type(fleet.gather(["mail.0.x"]), list[Any])
    for result in fleet.as_completed(handles):
        assert_type(result, JobResult[int])
    for value in fleet.map(send, ["x", "y"], timeout=timedelta(minutes=1)):
        assert_type(value, int)
    for either in fleet.map(send.options(tags=["eu"]), ["x"], return_exceptions=True):
        assert_type(either, int | Exception)


async def many_awaited_waits_keep_types(fleet: AsyncFleet) -> None:
    handles = [await load.aenqueue("x"), await load.aenqueue("y")]
    assert_type(await fleet.gather(handles, timeout=10), list[bytes])
    async for result in fleet.as_completed(handles):
        assert_type(result, JobResult[bytes])
    async for value in fleet.map(load, ["x", "y"]):
        assert_type(value, bytes)
    info = await fleet.flows.wait(Flow("x"), timeout=1)
    assert_type(info.is_done, bool)
