"""A call that its function cannot accept is refused at the enqueue, not in the worker."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobContext
from jobfleet.functions.callables import SHAPES_MOST
from jobfleet.functions.registry import JobFunction, Registry
from tests.support.each import each

Function = JobFunction[..., Any, Any]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def add(a: int, b: int = 1) -> int:
    return a + b


def send(ctx: JobContext, to: str, *, copies: int) -> None: ...


def takes(ctx, n):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    return n


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives the first argument."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function("session", *args, **kwargs)

    return wrapper


@with_session
def save(session: str, n: int) -> str:
    return f"{session} {n}"


def tagged(**words: int) -> list[str]:
    return sorted(words)


def total(values: list[int]) -> list[int]:
    return values


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    with Fleet(redis_url, registry=registry) as fleet:
        yield fleet


@pytest.fixture
def register(registry: Registry, fleet: Fleet) -> Callable[..., Function]:
    return lambda function, **options: registry.register(
        function, name=f"test.{function.__name__}", fleet=fleet, **options
    )


@each(
    "function, args, kwargs, line",
    [
        (add, (1, 2, 3), {}, "test.add takes (a, b=1): too many positional arguments."),
        (add, (), {}, "test.add takes (a, b=1): missing a required argument: 'a'."),
        (add, (1,), {"c": 2}, "test.add takes (a, b=1): got an unexpected keyword argument 'c'."),
        (add, (1,), {"a": 2}, "test.add takes (a, b=1): multiple values for argument 'a'."),
        (send, ("ann", 2), {"copies": 1}, "test.send takes (to, *, copies): too many positional arguments."),
        (
            takes,
            (5,),
            {},
            (
                "test.takes takes (ctx, n): missing a required argument: 'n'; "
                "to receive the context of the job, annotate 'ctx: JobContext'."
            ),
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_parameters(
    fleet: Fleet,
    register: Callable[..., Function],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    line: str,
) -> None:
    made = register(function)

    for enqueue in (
        lambda: made.enqueue(*args, **kwargs),
        lambda: made.options(queue="mail").enqueue(*args, **kwargs),
        lambda: fleet.enqueue(Job("x", made, args, kwargs)),
    ):
        with pytest.raises(InvalidJob) as refused:
            enqueue()
        assert (str(refused.value), refused.value.field) == (line, "args")
    (receipt,) = fleet.enqueue_many([made.job(*args, **kwargs)])
    assert str(receipt.error) == line


@each(
    "function, args, kwargs, options",
    [
        (add, (1,), {}, {}),
        (add, (), {"b": 2, "a": 1}, {}),
        (send, ("ann",), {"copies": 1}, {}),
        (save, (5,), {}, {}),
        (total, (5,), {}, {"batch": 10}),
    ],
)
def test_arguments_that_fit_are_enqueued(
    fleet: Fleet,
    register: Callable[..., Function],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
) -> None:
    handle = register(function, **options).enqueue(*args, **kwargs)

    assert fleet.poll(handle.id).status == "queued"


def test_any_number_of_shapes_fits(fleet: Fleet, register: Callable[..., Function]) -> None:
    made = register(tagged)

    jobs = [made.job(**{f"word_{number}": number}) for number in range(2 * SHAPES_MOST)]

    assert all(receipt.created for receipt in fleet.enqueue_many(jobs))


def test_a_hook_may_give_an_argument(fleet: Fleet, registry: Registry, register: Callable[..., Function]) -> None:
    made = register(add)

    @registry.hooks.around_enqueue
    def give(job: Job) -> Job:
        return replace(job, args=(*job.args, 1))

    assert fleet.poll(made.enqueue().id).status == "queued"
