"""A job that emits, waits and continues, in each kind of executor: what the readers of its stream see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jobfleet import Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.model.result import Chunk
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.support.waiting import wait_until
from tests.testing.kit import in_place

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def ask(ctx: JobContext) -> Any:
    await ctx.emit("question")
    answer = await ctx.wait_for("answer", "2d")
    await ctx.emit(f"answer {answer}")
    return answer


def ask_in_a_thread(ctx: JobContext) -> Any:
    ctx.emit_sync("question")
    answer = ctx.wait_for_sync("answer", "2d")
    ctx.emit_sync(f"answer {answer}")
    return answer


def ask_in_a_process(ctx: JobContext) -> Any:
    return ask_in_a_thread(ctx)


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    places: dict[Any, Any] = {ask: None, ask_in_a_thread: "thread", ask_in_a_process: "process"}
    for function, run_in in places.items():
        registry.register(function, name=f"t.{function.__name__}", queue="q", run_in=run_in)
    with in_place(server.url, registry) as jobs:
        yield jobs


@pytest.mark.parametrize("function", ["ask", "ask_in_a_thread", "ask_in_a_process"])
def test_readers_follow_the_job_over_its_wait_and_see_where_its_code_began_again(jobs: Jobs, function: str) -> None:
    job_id = jobs.fleet.enqueue(Job("ask", f"t.{function}"))
    seen: list[Chunk] = []
    reader = threading.Thread(target=lambda: seen.extend(jobs.fleet.stream(job_id)), daemon=True)
    reader.start()
    jobs.drain()
    wait_until(lambda: jobs.fleet.poll(job_id).status == "scheduled", timeout=10, why="it waits")
    stored = list(jobs.fleet.stream(job_id, follow=False))
    assert [chunk.value for chunk in stored] == ["question"]
    assert reader.is_alive(), "the stream does not end with the run"

    assert jobs.fleet.signal(job_id, "answer", 42)
    jobs.drain()
    reader.join(timeout=30)

    assert not reader.is_alive(), "the stream ends with the job"
    assert [(chunk.value, chunk.number, chunk.is_restart, chunk.dropped) for chunk in seen] == [
        ("question", 1, False, 0), ("question", 1, True, 0), ("answer 42", 2, False, 0),
    ]  # fmt: skip
    assert seen[0].epoch < seen[1].epoch == seen[2].epoch
    late = list(jobs.fleet.stream(job_id, stored[-1].position))
    assert [chunk.value for chunk in late] == ["question", "answer 42"]


def test_a_stream_lives_as_long_as_the_wait_of_its_job(jobs: Jobs) -> None:
    job_id = jobs.fleet.enqueue(Job("ask", "t.ask"))
    jobs.drain()
    jobs.advance("47h")
    assert [chunk.value for chunk in jobs.fleet.stream(job_id, follow=False)] == ["question"]
