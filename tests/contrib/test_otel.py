"""`jobfleet.contrib.otel`: which spans there are, how they hang together, and what is left alone."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace

from jobfleet import AsyncFleet, Discard, Fleet, Flow, InvalidJob, Job, JobContext
from jobfleet.codec import read_header
from jobfleet.contrib.otel import TraceIds, instrument, uninstrument
from jobfleet.functions.port import RunFacts, RunSpan
from jobfleet.functions.registry import Registry
from jobfleet.retry.tries import Tries
from jobfleet.store.calls import inspect
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.run import Run
from tests.support.spans import KINDS, Spans, id_of, links, named_as, own, within


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def fleet(redis_url: str, spans: Spans) -> Iterator[Fleet]:
    """A fleet that is traced, with functions of its own."""
    with Fleet(redis_url, registry=Registry()) as fleet:
        instrument(fleet, tracer_provider=spans.provider)
        yield fleet


def test_an_enqueue_and_a_run_are_one_trace_with_the_attributes_of_the_conventions(fleet: Fleet, spans: Spans) -> None:
    send = fleet.job(queue="mail")(named_as(lambda n: n, "mail.send"))

    job_id = fleet.enqueue(Job("mail.send", send, (7,), correlation_id="request-1"))
    fleet.run_worker(burst=True)

    sent, ran = spans.one("enqueue mail"), spans.one("process mail")
    assert own(sent) == {
        "messaging.system": "jobfleet",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": "mail",
        "messaging.message.id": job_id,
        "messaging.jobfleet.function": "mail.send",
        "messaging.jobfleet.created": True,
    }
    assert own(ran) == {
        "messaging.system": "jobfleet",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
        "messaging.message.id": job_id,
        "messaging.message.conversation_id": "request-1",
        "messaging.jobfleet.function": "mail.send",
        "messaging.jobfleet.attempt": 1,
        "messaging.jobfleet.outcome": "completed",
    }
    assert (KINDS[sent.kind], KINDS[ran.kind], ran.status.status_code) == (
        "producer",
        "consumer",
        trace.StatusCode.UNSET,
    )
    assert within(ran, sent)
    assert links(ran) == {"enqueue": id_of(sent)}


async def test_an_awaited_enqueue_continues_the_trace_of_the_caller(redis_url: str, spans: Spans) -> None:
    async with AsyncFleet(redis_url, registry=Registry()) as fleet:
        instrument(fleet, tracer_provider=spans.provider)

        @fleet.job(name="test.send", queue="mail")
        async def send() -> str:
            return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)

        with spans.provider.get_tracer("web").start_as_current_span("POST /order"):
            first, second = await asyncio.gather(*(fleet.enqueue(Job("x", send)) for _ in range(2)))
        await fleet.run_worker(burst=True)
        seen = {(await fleet.poll(job_id)).result for job_id in (first, second)}

    request = spans.one("POST /order")
    assert request.context is not None
    assert seen == {trace.format_trace_id(request.context.trace_id)}
    assert [within(span, request) for span in spans.named("enqueue mail")] == [True, True]


def test_many_jobs_share_the_span_of_their_chunk(fleet: Fleet, spans: Spans) -> None:
    add = fleet.job(named_as(lambda n: n, "sums.add"))
    other = fleet.job(queue="other")(named_as(lambda: 0, "sums.other"))

    list(fleet.enqueue_many((add.job(n) for n in range(3)), chunk=2))
    list(fleet.enqueue_many([add.job(1), other.job()]))
    fleet.run_worker(burst=True)

    first, second, mixed = [span for span in spans.exporter.get_finished_spans() if span.name.startswith("enqueue")]
    assert [own(span).get("messaging.batch.message_count") for span in (first, second, mixed)] == [2, None, 2]
    assert (second.name, mixed.name) == ("enqueue default", "enqueue")
    runs = spans.named("process default")
    assert [sum(within(run, chunk) for run in runs) for chunk in (first, second, mixed)] == [2, 1, 1]


def test_what_map_enqueues_has_a_span(fleet: Fleet, spans: Spans) -> None:
    add = fleet.job(named_as(lambda n: n, "sums.add"))
    mapped = fleet.map(add, [1, 2])
    worker = threading.Thread(target=fleet.run_worker, kwargs={"stop": (stop := threading.Event())})
    worker.start()

    assert list(mapped) == [1, 2]

    stop.set()
    worker.join()
    (sent,) = spans.named("enqueue default")
    assert [within(run, sent) for run in spans.named("process default")] == [True, True]


def test_a_retry_is_linked_to_the_attempt_before_and_steps_are_spans(fleet: Fleet, spans: Spans) -> None:
    @fleet.job(name="test.charge", max_retries=1, retry_delay=0)
    async def charge(ctx: JobContext) -> int:
        await ctx.step("pay", lambda: 5)
        if ctx.attempt == 1:
            raise ConnectionError("no bank")
        return 5

    fleet.enqueue(Job("charge", charge))
    fleet.run_worker(burst=True)

    sent, (first, second) = spans.one("enqueue default"), spans.named("process default")
    assert links(second) == {"enqueue": id_of(sent), "previous_attempt": id_of(first)}
    assert (within(first, sent), within(second, sent)) == (True, True)
    assert (first.status.status_code, first.status.description) == (trace.StatusCode.ERROR, "ConnectionError: no bank")
    assert own(first)["messaging.jobfleet.outcome"] == "retried"
    assert own(first)["messaging.jobfleet.retry_delay"] == 0
    assert own(first)["error.type"] == "ConnectionError"
    assert [(event.name, (event.attributes or {})["exception.message"]) for event in first.events] == [
        ("exception", "no bank")
    ]
    assert within(spans.one("step pay"), first)
    assert [(event.name, dict(event.attributes or {})) for event in second.events] == [
        ("step kept", {"messaging.jobfleet.step": "pay"})
    ]
    assert own(second)["messaging.jobfleet.attempt"] == 2


def test_a_job_that_fails_for_good_says_why_and_its_replay_is_linked(fleet: Fleet, spans: Spans) -> None:
    @fleet.job(name="test.charge")
    def charge() -> None:
        raise Discard("no card")

    job_id = fleet.enqueue(Job("charge", charge))
    fleet.run_worker(burst=True)

    failed = spans.one("process default")
    assert own(failed)["messaging.jobfleet.outcome"] == "failed"
    assert (own(failed)["messaging.jobfleet.reason"], own(failed)["error.type"]) == ("discarded", "Discard")
    assert fleet.replay(job_id)
    fleet.run_worker(burst=True)
    assert within(spans.named("process default")[1], spans.one("enqueue default"))


def test_a_flow_is_one_trace_and_each_job_is_linked_to_those_that_it_waited_for(fleet: Fleet, spans: Spans) -> None:
    load = fleet.job(queue="load")(named_as(lambda n: n, "flows.load"))

    @fleet.job(name="test.total", queue="sum")
    async def total(ctx: JobContext) -> int:
        await ctx.flow.add(last.job())
        return sum(int(parent.result or 0) for parent in ctx.parents.values())

    last = fleet.job(queue="last")(named_as(lambda: 0, "flows.last"))
    flow = Flow("sums")
    nodes = [flow.add(Job("load", load, (n,))) for n in (1, 2)]
    flow.add(Job("total", total), after=nodes)

    info = fleet.flows.enqueue(flow)
    fleet.run_worker(burst=True, with_reaper=True)

    sent, summed = spans.one("enqueue"), spans.one("process sum")
    assert own(sent)["messaging.batch.message_count"] == 3
    assert own(sent)["messaging.jobfleet.flow.id"] == own(summed)["messaging.jobfleet.flow.id"] == info.id
    waited = {
        str((link.attributes or {}).get("messaging.message.id")): link.context.span_id
        for link in summed.links
        if (link.attributes or {})["messaging.jobfleet.link"] == "parent"
    }
    loads = spans.named("process load")
    assert waited == {str(own(span)["messaging.message.id"]): id_of(span) for span in loads}
    assert [within(span, sent) for span in (*loads, summed)] == [True] * 3
    assert within(spans.one("process last"), summed)  # the job that the flow got from a running job


def test_a_job_that_waits_for_another_is_linked_to_it(fleet: Fleet, spans: Spans) -> None:
    first = fleet.job(queue="a")(named_as(lambda: 1, "chain.first"))
    second = fleet.job(queue="b", on_success=Job("after", "chain.first", queue="c"))(
        named_as(lambda: 2, "chain.second")
    )

    parent = fleet.enqueue(Job("first", first))
    fleet.enqueue(Job("second", second, depends_on=[parent]))
    fleet.run_worker(burst=True, with_reaper=True, queues=["a", "b", "c"])

    assert links(spans.one("process b"))["parent"] == id_of(spans.one("process a"))
    assert links(spans.one("process c"))["parent"] == id_of(spans.one("process b"))


def test_each_fire_of_a_recurring_job_begins_a_trace(fleet: Fleet, spans: Spans) -> None:
    tidy = fleet.job(named_as(lambda: 0, "nightly.tidy"))
    with spans.provider.get_tracer("deploy").start_as_current_span("deploy"):
        words = [fleet.cron.add("tidy", "0 2 * * *", Job("tidy", tidy), replace=True) for _ in range(2)]

    fleet.cron.run("tidy")
    fleet.run_worker(burst=True)

    assert words == ["added", "unchanged"]  # the trace of the call is not a part of the entry
    ran = spans.one("process default")
    assert (ran.parent, links(ran)) == (None, {})


def test_threads_and_what_jobs_enqueue_belong_to_the_run(fleet: Fleet, spans: Spans) -> None:
    second = fleet.job(queue="second")(named_as(lambda: 0, "nested.second"))

    @fleet.job(name="test.first", queue="first")
    def first(ctx: JobContext) -> int:
        with spans.provider.get_tracer("mine").start_as_current_span("mine"):
            fleet.enqueue(Job("second", second))
        return ctx.step_sync("count", lambda: 3)

    fleet.enqueue(Job("first", first))
    fleet.run_worker(burst=True)

    ran, mine, sent = spans.one("process first"), spans.one("mine"), spans.one("enqueue second")
    assert (within(mine, ran), within(sent, mine), within(spans.one("step count"), ran)) == (True, True, True)
    assert within(spans.one("process second"), sent)


def test_a_batch_has_a_span_with_links_to_its_runs(fleet: Fleet, spans: Spans) -> None:
    @fleet.job(name="test.index", batch=10, batch_wait=0.05)
    def index(rows: list[int]) -> list[int]:
        with spans.provider.get_tracer("mine").start_as_current_span("bulk insert"):
            return rows

    list(fleet.enqueue_many(index.job(n) for n in range(3)))
    fleet.run_worker(burst=True, slots=5)

    runs = spans.named("process default")
    batches = [span for span in spans.exporter.get_finished_spans() if span.name.startswith("batch ")]
    linked = [link.context.span_id for span in batches for link in span.links]
    assert sorted(linked) == sorted(id_of(run) for run in runs)
    assert sum(own(span)["messaging.batch.message_count"] for span in batches) == 3
    assert all(any(within(span, batch) for batch in batches) for span in spans.named("bulk insert"))


def test_only_allowed_baggage_travels(redis_url: str, spans: Spans) -> None:
    with Fleet(redis_url, registry=Registry()) as fleet:
        read = fleet.job(named_as(lambda: dict(baggage.get_all()), "bags.read"))
        token = context.attach(baggage.set_baggage("tenant", "a", baggage.set_baggage("secret", "b")))
        try:
            ids = []
            for keys in ([], ["tenant"]):
                instrument(fleet, tracer_provider=spans.provider, baggage=keys)
                ids.append(fleet.enqueue(Job("read", read)))
        finally:
            context.detach(token)
        fleet.run_worker(burst=True)

        assert [fleet.poll(job_id).result for job_id in ids] == [{}, {"tenant": "a"}]


def test_without_a_tracer_nothing_is_added(redis_url: str, spans: Spans) -> None:
    with Fleet(redis_url, registry=Registry()) as fleet:
        add = fleet.job(named_as(lambda n: n, "plain.add"))
        instrument(fleet, tracer_provider=spans.provider)
        traced = fleet.enqueue(Job("plain.add", add, (1,)))
        uninstrument(fleet)
        plain = fleet.enqueue(Job("plain.add", add, (1,)))

        headers = [header_of(fleet, job_id) for job_id in (traced, plain)]
        fleet.run_worker(burst=True)

    assert list(headers[0]["trace"]) == ["traceparent"]
    assert headers[1] == {"function": "plain.add"}
    assert spans.names == ["enqueue default"]


def header_of(fleet: Fleet, job_id: str) -> dict[str, Any]:
    lane = fleet.context.keys.lane_of(job_id)
    _, (found,) = fleet.store.run(inspect.stored_status(lane, (job_id,)))
    return read_header(found.envelope)  # type: ignore[union-attr]  # it waits


def test_the_same_job_object_is_still_one_job(fleet: Fleet, spans: Spans) -> None:
    job = Job("x", fleet.job(named_as(lambda: 0, "once.only")))

    assert fleet.enqueue(job) == fleet.enqueue(job)
    fleet.run_worker(burst=True)

    assert spans.names == ["enqueue default", "enqueue default", "process default"]
    assert [own(span)["messaging.jobfleet.created"] for span in spans.named("enqueue default")] == [True, False]


def test_a_refused_enqueue_has_its_error(fleet: Fleet, spans: Spans) -> None:
    add = fleet.job(named_as(lambda n: n, "sums.add"))
    with pytest.raises(InvalidJob):
        fleet.enqueue(Job("x", add, (1, 2, 3)))
    (receipt,) = fleet.enqueue_many([Job("x", add, (object(),))])

    single, chunk = spans.named("enqueue default")
    assert receipt.error is not None
    assert (own(single)["error.type"], single.status.status_code) == ("InvalidJob", trace.StatusCode.ERROR)
    assert (own(chunk)["error.type"], chunk.status.status_code) == ("EncodingError", trace.StatusCode.ERROR)


def test_a_tracer_that_fails_costs_no_job(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty:
        def carrier(self) -> dict[str, str]:
            return {}

        def sending(self, facts: object) -> Any:
            raise AssertionError("it is not called: the job was enqueued before")

        def run(self, facts: RunFacts) -> RunSpan:
            raise RuntimeError("no span")

        def within(self, carrier: object) -> RunSpan:
            raise RuntimeError("no span")

    with Fleet(redis_url, registry=Registry()) as fleet:
        job_id = fleet.enqueue(Job("x", fleet.job(named_as(lambda: 3, "faulty.three"))))
        fleet.hooks.trace(Faulty())
        fleet.run_worker(burst=True)

        assert fleet.poll(job_id).result == 3
    assert f"job.untraced job_id={job_id}" in caplog.text


def test_log_lines_have_the_ids_of_their_span(fleet: Fleet, spans: Spans) -> None:
    seen: list[dict[str, object]] = []
    records: list[tuple[object, object]] = []

    @fleet.job(name="test.log")
    def log(ctx: JobContext) -> None:
        assert isinstance(ctx.port, Run)
        seen.append(dict(ctx.port.described()))
        record = logging.makeLogRecord({})
        TraceIds().filter(record)
        records.append((vars(record)["trace_id"], vars(record)["span_id"]))

    fleet.enqueue(Job("log", log))
    fleet.run_worker(burst=True)

    ran = spans.one("process default").context
    assert ran is not None
    ids = trace.format_trace_id(ran.trace_id), trace.format_span_id(ran.span_id)
    assert records == [ids]
    assert (seen[0]["trace_id"], seen[0]["span_id"]) == ids
    outside = logging.makeLogRecord({})
    assert TraceIds().filter(outside)
    assert (vars(outside)["trace_id"], vars(outside)["span_id"]) == ("", "")


def test_baggage_is_a_list_of_keys() -> None:
    with pytest.raises(InvalidJob, match="baggage is 'tenant'; give a list of keys"):
        instrument(baggage="tenant")


@pytest.mark.parametrize("end", ["01", "ff"])
def test_a_traceparent_is_stored_as_numbers(end: str) -> None:
    traceparent = f"00-00000000000000000000000000000001-ffffffffffffffff-{end}"

    assert telemetry.traceparent_of(telemetry.numbers_of(traceparent)) == traceparent
    numbers = telemetry.numbers_of(traceparent)
    assert re.fullmatch(r"\d{1,18}(:\d{1,18}){3}", numbers)  # as the check of tries asks
    tries = Tries(failures=1, history=("1 2 no luck",))
    assert telemetry.with_traceparent(tries.dump(), traceparent) == f"1:0:0:0:0:0:0:{numbers}\n1 2 no luck"
    assert Tries.parse(telemetry.with_traceparent(tries.dump(), traceparent)) == tries
    assert telemetry.traceparent_in(telemetry.with_traceparent(tries.dump(), traceparent)) == traceparent
    assert telemetry.with_traceparent(tries.dump(), "") == tries.dump()
    assert telemetry.traceparent_in(tries.dump()) == telemetry.traceparent_in("") == ""
    assert [telemetry.traceparent_of(text) for text in ("99:x", "1:2:3", f"1:2:3:{1 << 56}")] == [""] * 3
