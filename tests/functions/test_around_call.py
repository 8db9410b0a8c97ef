"""Wrappers of what a worker calls: they run where the function runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from jobfleet import Fleet
from jobfleet.functions.registry import Registry


def test_a_wrapper_is_called_in_the_thread_of_the_job_and_the_last_one_is_the_outermost(redis_url: str) -> None:
    seen: list[tuple[str, int]] = []

    def noting(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            def called(*args: Any, **kwargs: Any) -> Any:
                seen.append((name, threading.get_ident()))
                return function(*args, **kwargs)

            return called

        return wrap

    registry = Registry()
    with Fleet(redis_url, registry=registry) as fleet:

        @fleet.job(name="where")
        def where() -> int:
            return threading.get_ident()

        @fleet.job(name="where_awaited")
        async def where_awaited() -> int:
            await asyncio.sleep(0)
            return threading.get_ident()

        registry.around_call += [noting("inner"), noting("outer")]
        handles = [where.enqueue(), where_awaited.enqueue()]
        fleet.run_worker(burst=True)
        threads = [handle.result(timeout=10) for handle in handles]

    assert sorted(seen) == sorted((name, thread) for thread in threads for name in ("inner", "outer"))
    for thread in threads:
        assert [name for name, one in seen if one == thread] == ["outer", "inner"]
    assert where.function is not registry.wrapped(where)
    assert where() == threading.get_ident()
    assert len(seen) == 4, "a plain call of the function is not wrapped"
