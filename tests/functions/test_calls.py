"""What may be called as a job: objects, wrong functions, arguments of any name."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobContext, JobStatus
from jobfleet.functions.callables import is_coroutine_function
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs
from tests.support.each import each


class Doubler:
    """An object with an `async __call__`."""

    async def __call__(self, ctx: JobContext, number: int) -> int:
        assert ctx.job_id
        return number * 2


class Tripler:
    """An object with a `__call__`."""

    def __call__(self, number: int) -> int:
        return number * 3


class Made:
    """A class: a call of it makes an instance, whose own `__call__` is another thing."""

    async def __call__(self) -> None: ...


async def inner(number: int) -> int:
    return number


def forgets_await(number: int) -> Awaitable[int]:
    return inner(number)


def names(**given: int) -> list[str]:
    return sorted(given)


async def names_async(**given: int) -> list[str]:
    return sorted(given)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(Doubler(), name="app.doubler")
    registry.register(functools.partial(Doubler(), number=4), name="app.eight")
    registry.register(Tripler(), name="app.tripler")
    registry.register(forgets_await, name="app.forgets")
    registry.register(names, name="app.names")
    registry.register(names_async, name="app.names_async")
    return registry


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    with Fleet(redis_url, registry=registry, patience=5) as fleet:
        yield fleet


@each(
    "function, is_async",
    [(Doubler(), True), (Tripler(), False), (Made, False), (inner, True), (forgets_await, False), (len, False)],
)
def test_which_calls_return_a_coroutine(function: Callable[..., Any], is_async: bool) -> None:
    assert is_coroutine_function(function) is is_async
    assert is_coroutine_function(functools.partial(function)) is is_async


def test_an_object_whose_call_awaits_runs_as_a_coroutine(fleet: Fleet) -> None:
    ids = [fleet.enqueue(Job("n", name, args)) for name, args in
           (("app.doubler", (4,)), ("app.eight", ()), ("app.tripler", (4,)))]  # fmt: skip

    fleet.run_worker(burst=True)

    assert [fleet.poll(job_id).result for job_id in ids] == [8, 8, 12]


@pytest.mark.filterwarnings("error")
def test_a_def_that_returns_a_coroutine_fails_with_the_remedy(fleet: Fleet) -> None:
    job_id = fleet.enqueue(Job("n", "app.forgets", (1,)))

    fleet.run_worker(burst=True)

    result = fleet.poll(job_id)
    assert (result.status, result.retry_count) == (JobStatus.FAILED, 0)
    assert result.error == (
        "app.forgets returned result: coroutine cannot be encoded; await it; a function that awaits is an async def."
    )


NAMES = ("self", "function", "args", "kwargs", "job", "name", "cls", "key", "ctx", "call", "run", "handler", "options")


@pytest.mark.parametrize("name", ["app.names", "app.names_async"])
async def test_an_argument_may_have_any_name(fleet: Fleet, registry: Registry, name: str) -> None:
    given = dict.fromkeys(NAMES, 1)
    made = registry.functions[name]
    made._fleet = fleet

    plain = made(**given)

    assert (await plain if isinstance(plain, Awaitable) else plain) == sorted(NAMES)
    assert made.job(**given).kwargs == given
    assert (await made.aenqueue(**given)).created


@pytest.mark.parametrize("name", ["app.names", "app.names_async"])
def test_a_job_with_arguments_of_any_name_runs(fleet: Fleet, registry: Registry, name: str) -> None:
    given = dict.fromkeys(NAMES, 1)
    made = registry.functions[name]
    made._fleet = fleet

    with Jobs(fleet).in_place() as jobs:
        handle = made.enqueue(**given)
        jobs.assert_enqueued(made, **given)
        (done,) = jobs.drain()

    assert (done.id, done.result) == (handle.id, sorted(NAMES))
