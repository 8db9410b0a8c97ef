"""Span processors that raise: the jobs that are traced do not notice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from jobfleet import Fleet, Job, JobContext, JobStatus
from jobfleet.contrib import otel
from jobfleet.contrib.otel import instrument
from jobfleet.functions.registry import Registry


class Raising(SpanProcessor):
    """Raises at the start or at the end of each span, or not at all."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self.at == "start":
            raise ConnectionError(f"cannot start {span.name}")

    def on_end(self, span: ReadableSpan) -> None:
        if self.at == "end":
            raise ConnectionError(f"cannot end {span.name}")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Raising:
    monkeypatch.setattr(otel, "_logged", set())
    return Raising("")


@pytest.fixture
def fleet(redis_url: str, processor: Raising) -> Iterator[Fleet]:
    provider = TracerProvider()
    provider.add_span_processor(processor)
    with Fleet(redis_url, registry=Registry(), retry_delay=0) as fleet:
        instrument(fleet, tracer_provider=provider)
        yield fleet


@pytest.mark.parametrize("at", ["start", "end"])
def test_jobs_are_enqueued_run_and_settled(
    fleet: Fleet, processor: Raising, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(ctx: JobContext) -> Any:
        return await ctx.step("charge", lambda: 5)

    def fail() -> None:
        raise ValueError("own")

    def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    registry = fleet.context.registry
    plain = [registry.register(one, name=f"app.{one.__name__}", max_retries=0) for one in (steps, fail)]
    doubled = registry.register(double, name="app.double", batch=3)
    processor.at = at

    ids: list[str] = [fleet.enqueue(function.job()) for function in plain]
    ids += [receipt.id for receipt in fleet.enqueue_many([doubled.job(number) for number in range(3)])]
    fleet.run_worker(burst=True)

    found = [fleet.poll(job_id) for job_id in ids]
    assert [(one.status, one.result, one.error) for one in found] == [
        (JobStatus.COMPLETED, 5, None),
        (JobStatus.FAILED, None, "own"),
        *((JobStatus.COMPLETED, number * 2, None) for number in range(3)),
    ]
    logged = [record for record in caplog.records if record.name == "jobfleet.contrib"]
    assert logged
    assert all(record.levelno == logging.ERROR and record.exc_info for record in logged)
    assert len({record.getMessage() for record in logged}) == len(logged)


def test_the_span_of_a_batch_that_cannot_start_is_left_out(
    fleet: Fleet, processor: Raising, monkeypatch: pytest.MonkeyPatch
) -> None:
    def double(numbers: list[int]) -> list[int]:
        processor.at = ""
        return [number * 2 for number in numbers]

    function = fleet.context.registry.register(double, name="app.double", fleet=fleet, batch=3)
    started = processor.on_start

    def on_start(span: Span, parent_context: Context | None = None) -> None:
        processor.at = "start" if span.name.startswith("batch") else ""
        started(span, parent_context)

    monkeypatch.setattr(processor, "on_start", on_start)
    handles = [function.enqueue(number) for number in range(2)]

    fleet.run_worker(burst=True)

    assert [handle.result() for handle in handles] == [0, 2]


def test_an_error_of_a_step_stays_its_own(fleet: Fleet, processor: Raising) -> None:
    def broken() -> None:
        raise ValueError("own")

    async def steps(ctx: JobContext) -> None:
        await ctx.step("charge", broken)

    job = Job("s", fleet.context.registry.register(steps, name="app.steps", max_retries=0))
    processor.at = "end"
    job_id = fleet.enqueue(job)

    fleet.run_worker(burst=True)

    assert fleet.poll(job_id).error == "own"
