"""`POST /api/v1/jobs`: only published functions, arguments that fit, and one job per id and request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobStatus, Priority
from jobfleet.codec import encode
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.presence import beat
from jobfleet.web.pages.job import ENQUEUE_FIELDS as FIELDS
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.each import each
from tests.support.waiting import wait_until
from tests.web.conftest import PASSWORD
from tests.web.site import Answer, Browser, Site


def ship(order: int, region: str = "eu") -> str:
    return f"{order} {region}"


def done() -> None: ...


def last(key: str) -> None: ...


def later(key: str) -> None: ...


@dataclass
class Parcel:
    weights: list[Decimal]
    sent: date | None = None


def weigh(parcel: Parcel) -> Decimal:
    return sum(parcel.weights, Decimal(0))


@pytest.fixture(autouse=True)
def published(fleet: Fleet, hand: Hand) -> None:
    """A worker has published three functions; it has never seen a job."""
    registry = Registry()
    functions = [
        registry.register(ship, name="shop.ship", queue="orders"),
        registry.register(done, name="shop.done"),
        registry.register(last, name="shop.last", queue="orders", unique="last-{0}", on_conflict="replace"),
        registry.register(
            later,
            name="shop.later",
            queue="orders",
            unique="later-{0}",
            unique_for="queued",
            on_conflict="debounce",
            delay=5,
        ),
        registry.register(weigh, name="shop.weigh"),
    ]
    account = encode({"queues": ["orders"], "state": "running"})
    records = {one.name: function_record(one) for one in functions}
    hand.run(beat(fleet.context.keys, "w2", account=account, gone_us=20_000_000, functions=records))


class Producer:
    def __init__(self, site: Site, token: str) -> None:
        self._browser, self._token = site.browser(), token

    def sends(self, **body: Any) -> Answer:
        return self._browser.call("/jobs", self._token, **body)


@pytest.fixture
def producer(site: Site, tokens: dict[Role, str]) -> Producer:
    return Producer(site, tokens[Role.PRODUCER])


def state(fleet: Fleet) -> object:
    return [one.id for one in fleet.newest()], [one.name for one in fleet.queues()]


def test_a_job_goes_to_the_queue_of_its_function(producer: Producer, fleet: Fleet, hand: Hand) -> None:
    answer = producer.sends(function="shop.ship", args=[7], kwargs={"region": "us"})

    assert answer.status == 200, answer.text
    job_id = answer.json["id"]
    assert answer.json == {"id": job_id, "created": True, "status": "queued", "durability": "fast", "callbacks": {}}
    details = fleet.details(job_id)
    assert (details.job.queue, details.job.function, details.args, details.kwargs) == (
        "orders", "shop.ship", (7,), {"region": "us"},
    )  # fmt: skip
    assert hand.claims(job_id).id == job_id


def test_it_has_the_options_of_the_command_line(producer: Producer, fleet: Fleet, hand: Hand) -> None:
    parent = producer.sends(function="shop.done", id="parent").json["id"]
    answer = producer.sends(
        function="shop.ship", args=[7], id="all", name="Ship it", priority="high", delay="1h", max_retries=5,
        retry_delay=["10s", 20], retry_for="1d", retry_backoff=3, retry_jitter=False, max_crashes=2, timeout=10,
        hard_timeout="30s", expires_in="2d", tags=["a", "b"], metadata={"k": [1]}, user="ann", session="s",
        correlation_id="c", result_ttl="1h", unique="ship-{0}", unique_for="queued", on_conflict="raise",
        depends_on=[parent], on_success="shop.done", on_failure="shop.done", durability="fast",
    )  # fmt: skip

    assert answer.status == 200, answer.text
    assert set(answer.json["callbacks"]) == {"on_success", "on_failure"}
    found = fleet.details(answer.json["id"])
    job = found.job
    assert (job.name, job.user, job.session, job.correlation_id) == ("Ship it", "ann", "s", "c")
    assert (job.tags, job.metadata, job.unique, job.status) == (("a", "b"), {"k": [1]}, "ship-7", "blocked")
    assert (found.priority, found.max_retries, [one.id for one in found.parents]) == (Priority.HIGH, 5, [parent])
    assert producer.sends(function="shop.ship", args=[1], at="2100-01-01T00:00:00Z").json["status"] == "scheduled"
    assert producer.sends(function="shop.ship", args=[2], group="acme", queue="orders").status == 200


def test_json_becomes_the_object_of_its_annotation_in_a_fleet_that_knows_the_function(
    producer: Producer, fleet: Fleet, browser: Browser
) -> None:
    parcel = {"weights": ["1.5", 2], "sent": "2026-01-01"}
    by_name = producer.sends(function="shop.weigh", args=[parcel], id="known").json["id"]
    fleet.context.registry.register(weigh, name="shop.weigh")

    known = producer.sends(function="shop.weigh", kwargs={"parcel": parcel}).json["id"]
    wrong = producer.sends(function="shop.weigh", args=[{"weights": [[]]}])
    fleet.run_worker(burst=True)

    assert [fleet.poll(one).result for one in (by_name, known)] == [Decimal("3.5")] * 2
    assert browser.get(f"/api/v1/jobs/{known}").json["job"]["result"] == "3.5"
    assert (wrong.status, wrong.code) == (400, "type-mismatch")


def test_the_same_request_again_returns_the_same_job(producer: Producer, fleet: Fleet, hand: Hand) -> None:
    body: dict[str, Any] = {"function": "shop.ship", "args": [7], "id": "order-7", "delay": 0, "tags": None}
    first = producer.sends(**body)
    again = producer.sends(**dict(reversed(body.items())))

    assert (first.json["created"], again.json["created"]) == (True, False)
    assert again.json == {**first.json, "created": False}
    grant = hand.claims(first.json["id"])
    assert producer.sends(**body).json == {**first.json, "created": False, "status": "running"}
    hand.completes(grant, "sent")
    assert len(fleet.newest()) == 1


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
def test_the_end_of_a_job_does_not_forget_its_request(
    producer: Producer, fleet: Fleet, ending: str, real_worker: Any
) -> None:
    body: dict[str, Any] = {"function": f"shop.{ending}", "id": "one"}
    real_worker(ending)
    first = producer.sends(**body)
    if ending == "cancelled":
        fleet.cancel(first.json["id"])
    else:
        real_worker.runs()

    again = producer.sends(**body)
    other = producer.sends(**body, tags=["x"])

    assert (again.status, again.json["id"], again.json["created"]) == (200, first.json["id"], False)
    assert again.json["status"] == ending
    assert (other.status, other.code) == (409, "id-conflict")


@pytest.fixture
def real_worker(fleet: Fleet, hand: Hand) -> Any:
    """A worker that publishes a function which ends in a way, and runs its jobs with the code of workers."""

    class RealWorker:
        registry = Registry()

        def __call__(self, ending: str) -> None:
            def complete() -> None: ...

            def fail() -> None:
                raise ValueError

            made = self.registry.register(
                fail if ending == "failed" else complete, name=f"shop.{ending}", max_retries=0
            )
            call = beat(
                fleet.context.keys, "w3", account=encode({}), gone_us=20_000_000,
                functions={made.name: function_record(made)},
            )  # fmt: skip
            hand.run(call)

        def runs(self) -> None:
            with Fleet(fleet.config.url, registry=self.registry) as worker:
                worker.run_worker(burst=True)

    return RealWorker()


def test_another_request_with_a_known_id_is_refused(producer: Producer, fleet: Fleet) -> None:
    job_id = producer.sends(function="shop.ship", args=[7], id="order-7").json["id"]
    fleet.enqueue(Job("x", "shop.ship", (8,), id="python", queue="orders"))

    other = producer.sends(function="shop.ship", args=[8], id="order-7")
    of_python = producer.sends(function="shop.ship", args=[8], id="python")

    assert (other.status, other.code) == (409, "id-conflict")
    assert job_id in other.json["error"]["message"]
    assert (of_python.status, of_python.code) == (409, "id-conflict")
    assert fleet.details(job_id).args == (7,)


def test_of_requests_at_the_same_time_one_makes_the_job(producer: Producer, fleet: Fleet) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: producer.sends(function="shop.ship", args=[n % 2], id="one"), range(16)))

    assert sum(one.status == 200 and one.json["created"] for one in answers) == 1
    assert sorted({one.status for one in answers}) == [200, 409]
    won = fleet.details("orders.0.one").args
    assert won is not None
    assert all((one.status == 200) == (number % 2 == won[0]) for number, one in enumerate(answers))


def test_without_an_id_each_request_makes_a_job(producer: Producer, fleet: Fleet) -> None:
    ids = {producer.sends(function="shop.ship", args=[7]).json["id"] for _ in range(2)}
    assert len(ids) == 2


def test_the_holder_of_a_unique_key_is_returned(producer: Producer) -> None:
    first = producer.sends(function="shop.ship", args=[7], unique="ship-{0}").json
    second = producer.sends(function="shop.ship", args=[7], unique="ship-{0}").json
    refused = producer.sends(function="shop.ship", args=[7], unique="ship-{0}", on_conflict="raise")

    assert (second["id"], second["created"]) == (first["id"], False)
    assert (refused.status, refused.code) == (409, "duplicate-job")


def test_a_producer_changes_no_job_of_others(
    producer: Producer, site: Site, fleet: Fleet, tokens: dict[Role, str]
) -> None:
    """Replacing cancels the holder of the key, and debouncing gives it another call; a producer may do neither."""
    wanted = {"function": "shop.ship", "args": [7], "unique": "ship", "unique_for": "open", "delay": "1h"}
    later = {**wanted, "args": [8]}
    first = producer.sends(**wanted).json["id"]

    for mode in ("debounce", "replace"):
        refused = producer.sends(**later, on_conflict=mode)
        assert (refused.status, refused.code, refused.json["error"]["field"]) == (403, "forbidden", "on_conflict")
    assert fleet.details(first).args == (7,)

    operator = site.browser()
    debounced = operator.call("/jobs", tokens[Role.OPERATOR], **later, on_conflict="debounce")
    assert (debounced.status, debounced.json["id"], fleet.details(first).args) == (200, first, (8,))
    replaced = operator.call("/jobs", tokens[Role.OPERATOR], **wanted, on_conflict="replace")
    assert (replaced.status, replaced.json["created"]) == (200, True)
    assert replaced.json["id"] != first


def test_a_producer_chooses_no_key_for_a_function_that_replaces(
    producer: Producer, site: Site, fleet: Fleet, tokens: dict[Role, str]
) -> None:
    """A function may displace the holder of the key that it declares. With another key it would reach foreign jobs."""
    foreign = fleet.enqueue(Job("x", "shop.ship", (1,), queue="orders", unique="of others", delay=3600))
    for function in ("shop.last", "shop.later"):
        for field, value in {"unique": "of others", "debounce_max": "9d", "queue": "default"}.items():
            refused = producer.sends(function=function, args=["a"], delay="1h", **{field: value})
            assert (refused.status, refused.code, refused.json["error"]["field"]) == (403, "forbidden", field)
        kept = producer.sends(function=function, args=["a"], unique="of others", on_conflict="existing").json
        assert (kept["id"], kept["created"]) == (foreign, False)
    assert fleet.details(foreign).args == (1,)

    own = [producer.sends(function="shop.last", args=["a"], delay="1h").json for _ in range(2)]
    assert [one["created"] for one in own] == [True, True]
    assert fleet.poll(own[0]["id"]).status is JobStatus.CANCELLED
    later = [producer.sends(function="shop.later", args=["a"], queue="orders", delay="1h").json for _ in range(2)]
    assert later[0]["id"] == later[1]["id"]

    mine = site.browser().call(
        "/jobs", tokens[Role.OPERATOR], function="shop.last", args=["a"], unique="of others", delay="1h"
    )
    assert (mine.status, mine.json["created"]) == (200, True)
    assert fleet.poll(foreign).status is JobStatus.CANCELLED


WRONG: list[tuple[dict[str, Any], int, str, str, str]] = [
    ({"function": None}, 400, "invalid-job", "function", "function is missing"),
    ({"function": "shop.shop"}, 400, "invalid-job", "function", "which no worker has published; did you mean 'shop.s"),
    ({"function": "os.system", "args": ["id"]}, 400, "invalid-job", "function", "no worker has published"),
    ({"function": "a b"}, 400, "invalid-job", "function", "use 1 to 128 letters"),
    ({"function": 5}, 400, "invalid-job", "function", "function is a whole number; give a text."),
    ({"args": None}, 400, "invalid-job", "args", "missing a required argument: 'order'"),
    ({"args": ["7"]}, 400, "invalid-job", "args", "order of shop.ship is a text"),
    ({"kwargs": {"colour": 1}}, 400, "invalid-job", "args", "'colour'"),
    ({"args": {"order": 7}}, 400, "invalid-job", "args", "args is an object; give a list."),
    ({"queue": "orderz"}, 404, "unknown-queue", "", "No queue 'orderz'"),
    ({"queue": "a b"}, 400, "invalid-job", "queue", "use 1 to 32 letters"),
    ({"prioritty": "high"}, 400, "invalid-job", "prioritty", "'priority'?"),
    ({"priority": "urgent"}, 400, "invalid-job", "priority", "use critical, high"),
    ({"delay": -1}, 400, "invalid-job", "delay", "give seconds"),
    ({"delay": "soon"}, 400, "invalid-job", "delay", "give seconds"),
    ({"delay": True}, 400, "invalid-job", "delay", "delay is true or false"),
    ({"at": "2100-01-01T00:00:00"}, 400, "invalid-job", "at", "has no zone"),
    ({"at": "noon"}, 400, "invalid-job", "at", "give an ISO time"),
    ({"delay": 1, "at": "2100-01-01T00:00:00Z"}, 400, "invalid-job", "at", "both"),
    ({"tags": "eu"}, 400, "invalid-job", "tags", "give a list"),
    ({"tags": [1]}, 400, "invalid-job", "tags", "give a list of texts"),
    ({"id": "a b"}, 400, "invalid-job", "id", "use 1 to 64 letters"),
    ({"on_success": "shop.nope"}, 400, "invalid-job", "on_success", "published"),
    ({"on_success": "shop.ship"}, 400, "invalid-job", "args", "missing a req"),
    ({"depends_on": ["orders.0.nope"]}, 400, "unknown-parent", "depends_on", "nope"),
    ({"unique_for": "open"}, 400, "invalid-job", "unique_for", "no key"),
    ({"unique": "{0:>1000000000}"}, 400, "invalid-job", "unique", "a precision of at most 100"),
    ({"unique": "{0:%>+#0101,d}"}, 400, "invalid-job", "unique", "a precision of at most 100"),
    ({"unique": "{0:.999999999f}"}, 400, "invalid-job", "unique", "a precision of at most 100"),
    ({"args": [10**400]}, 400, "encoding-error", "args", "args[0]"),
    ({"function": "shop.weigh", "args": [{}]}, 400, "type-mismatch", "args",
     "parcel.weights of shop.weigh is missing."),
    ({"function": "shop.weigh", "args": [{"weights": ["1", "x"]}]}, 400, "type-mismatch", "args",
     "parcel.weights[1] of shop.weigh is not a number."),
    ({"function": "shop.weigh", "args": [], "kwargs": {"parcel": {"weights": [], "sent": "soon"}}}, 400,
     "type-mismatch", "kwargs", "parcel.sent of shop.weigh is not an ISO date"),
    ({"metadata": {"a": "x" * 20_000}}, 400, "encoding-error", "metadata", ""),
]  # fmt: skip


@each("body, status, code, field, message", WRONG)
def test_a_wrong_request_names_the_field_and_changes_nothing(
    producer: Producer, fleet: Fleet, body: dict[str, Any], status: int, code: str, field: str, message: str
) -> None:
    before = state(fleet)
    answer = producer.sends(**{"function": "shop.ship", "args": [7], **body})

    assert (answer.status, answer.code) == (status, code), answer.text
    error = answer.json["error"]
    assert error.get("field", "") == field
    assert message in error["message"]
    assert state(fleet) == before


@each("body", [b"[]", b'"x"', b"{", b'{"function": NaN}', b'{"args": [' + b"[" * 9000])
def test_a_body_of_another_kind_is_refused(site: Site, tokens: dict[Role, str], body: bytes) -> None:
    headers = {"Authorization": f"Bearer {tokens[Role.PRODUCER]}", "Content-Type": "application/json"}
    answer = site.browser().send("POST", "/api/v1/jobs", headers, body)
    assert (answer.status, answer.code) == (400, "invalid-request")


def test_hostile_texts_are_kept_or_refused(producer: Producer, fleet: Fleet) -> None:
    for text in ("\ud800", "\0", "\u202e", "<script>", "\x1b[2J", "'; DROP"):
        for name, field in FIELDS.items():
            if "string" in field.schema["type"] and name != "function":
                answer = producer.sends(function="shop.ship", args=[7], **{name: text})
                assert answer.status in (200, 400, 404), (name, answer.text)
        assert producer.sends(function="shop.ship", args=[7], kwargs={"region": text}).status in (200, 400)


def test_a_viewer_may_not_enqueue(site: Site, tokens: dict[Role, str], fleet: Fleet) -> None:
    answer = site.browser().call("/jobs", tokens[Role.VIEWER], function="shop.ship", args=[7])
    assert (answer.status, answer.code) == (403, "forbidden")
    assert fleet.newest() == []


# ------------------------------------------------------------------------------------------- events


def test_the_events_of_a_job_follow_it_to_its_end(producer: Producer, browser: Browser, hand: Hand) -> None:
    job_id = producer.sends(function="shop.ship", args=[7]).json["id"]
    with browser.stream(f"/jobs/{job_id}/events", "/api/v1") as stream:
        first = next(stream)
        grant = hand.claims(job_id)
        hand.reports(grant, 0.5, "half")
        half = next(one for one in stream if '"half"' in one["data"])
        hand.completes(grant, {"token": "geheim", "sum": 3})
        rest = list(stream)

    assert json.loads(first["data"])["job"]["status"] == "queued"
    assert json.loads(half["data"])["job"]["progress"] == 0.5
    last = json.loads(rest[-2]["data"])["job"]
    assert (last["status"], last["result"]) == ("completed", {"token": "***", "sum": 3})
    assert (rest[-1]["event"], rest[-1]["id"]) == ("end", "end")
    assert browser.get(f"/api/v1/jobs/{job_id}/events", Last_Event_ID="end").status == 204


def test_a_change_of_the_duration_alone_sends_no_event(producer: Producer, site: Site, hand: Hand) -> None:
    job_id = producer.sends(function="shop.ship", args=[7]).json["id"]
    grant = hand.claims(job_id)
    with site.browser().stream(f"/jobs/{job_id}/events", "/api/v1") as stream:
        first = next(stream)
        (reader,) = site.application.dashboard.hub._readers.values()  # type: ignore[union-attr]  # it is ours
        before = reader.reads
        wait_until(lambda: reader.reads > before + 2, why="the job is read again")
        hand.reports(grant, 0.5, "half way")
        second = next(stream)

    assert "running" in first["data"]
    assert "half way" in second["data"]
    assert int(second["id"].rpartition("-")[2]) == int(first["id"].rpartition("-")[2]) + 1


def test_the_events_of_a_job_that_has_ended_are_its_end(producer: Producer, browser: Browser, fleet: Fleet) -> None:
    job_id = producer.sends(function="shop.ship", args=[7]).json["id"]
    fleet.cancel(job_id)
    with browser.stream(f"/jobs/{job_id}/events", "/api/v1") as stream:
        found = list(stream)
    assert [one.get("event") for one in found] == [None, "end"]


def test_a_job_that_is_forgotten_meanwhile_is_a_problem_event(
    producer: Producer, browser: Browser, fleet: Fleet
) -> None:
    assert browser.get("/api/v1/jobs/orders.0.nope/events").code == "job-not-found"
    job_id = producer.sends(function="shop.ship", args=[7]).json["id"]
    with browser.stream(f"/jobs/{job_id}/events", "/api/v1") as stream:
        next(stream)
        fleet.cancel(job_id)
        fleet.forget(job_id)
        rest = list(stream)
    assert rest[-1]["event"] == "end"


def sends(browser: Browser, function: str, options: Mapping[str, str] = {}, /, **arguments: str) -> Answer:
    """Send the form of a function."""
    page = f"/enqueue?function={function}"
    fields = {**options, "function": function, **{f"arg.{name}": text for name, text in arguments.items()}}
    return browser.post("/enqueue/send", browser.csrf(page), {"Referer": f"{browser.origin}{page}"}, **fields)


def test_the_form_has_a_field_per_parameter_and_comes_back_with_what_was_typed(browser: Browser, fleet: Fleet) -> None:
    page = browser.get("/enqueue?function=shop.ship").text
    wrong = sends(browser, "shop.ship", order="seven", region="us")
    sent = sends(browser, "shop.ship", {"priority": "high", "name": "Order 7"}, order="7", region="12")
    job_id = str(sent.headers["Location"]).partition("?")[0].rpartition("/")[2]
    details = fleet.details(job_id)

    assert ('name="arg.order"' in page, 'name="arg.region"' in page) == (True, True)
    assert '<option value="shop.done">' in page
    assert (wrong.status, sent.status) == (400, 303)
    assert "seven" in wrong.text
    assert 'value="us"' in wrong.text
    assert (details.job.name, details.job.queue, details.priority) == ("Order 7", "orders", Priority.HIGH)
    assert (details.args, dict(details.kwargs or {})) == ((), {"order": 7, "region": "12"})
    assert browser.get("/enqueue?function=no.such").status == 400


def test_a_producer_cannot_displace_a_job_with_the_form(site: Site, users: None, fleet: Fleet, published: None) -> None:
    producer, viewer = site.browser(), site.browser()
    producer.log_in("producer", PASSWORD)
    viewer.log_in("viewer", PASSWORD)

    assert viewer.get("/enqueue").status == 403
    assert sends(producer, "shop.ship", order="1").status == 303
    fleet.pause("orders2")
    refused = sends(producer, "shop.last", {"queue": "orders2"}, key="k")
    assert (refused.status, "needs the role operator" in refused.text) == (403, True)
