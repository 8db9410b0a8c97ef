"""The state of a job for the users of an application: the same answers in Starlette, FastAPI and Litestar."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from fastapi import FastAPI
from litestar import Litestar, get
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from jobfleet import AsyncFleet, Fleet, Job, JobResult, JobStatus
from jobfleet.client.output_events import END
from jobfleet.codec import encode
from jobfleet.contrib import fastapi as of_fastapi
from jobfleet.contrib import job_status
from jobfleet.contrib import litestar as of_litestar
from jobfleet.contrib import starlette as of_starlette
from jobfleet.contrib.job_status import JobStatuses, everybody, owned_by
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.run import Emission, emit_chunks
from jobfleet.store.records import Grant
from tests.cli.hand import Hand
from tests.support.server import RedisServer
from tests.support.waiting import wait_until
from tests.web.site import Site

OWN = owned_by(lambda request: request.headers.get("x-user"))
STREAMS = 2


def starlette_app(fleet: Fleet) -> Any:
    async def enqueue(request: Request) -> JSONResponse:
        return JSONResponse({"id": await of_starlette.fleet_of(request).enqueue(Job("x", "demo.add", user="ann"))})

    jobs = of_starlette.job_routes(allow=OWN, streams=STREAMS, output=True)
    routes = [Route("/enqueue", enqueue), Mount("/jobs", routes=jobs)]
    handlers: Any = {StoreUnavailable: of_starlette.answer_unavailable}
    return Starlette(routes=routes, lifespan=of_starlette.fleet_lifespan(fleet), exception_handlers=handlers)


def fastapi_app(fleet: Fleet) -> Any:
    app = FastAPI(lifespan=of_fastapi.fleet_lifespan(fleet))

    @app.get("/enqueue")
    async def enqueue(fleet: of_fastapi.FleetDep) -> dict[str, str]:
        return {"id": await fleet.enqueue(Job("x", "demo.add", user="ann"))}

    app.add_exception_handler(StoreUnavailable, of_fastapi.answer_unavailable)
    app.include_router(of_fastapi.job_router(allow=OWN, streams=STREAMS, output=True, prefix="/jobs"))
    return app


def litestar_app(fleet: Fleet) -> Any:
    @get("/enqueue")
    async def enqueue(fleet: of_litestar.FleetDep) -> dict[str, str]:
        return {"id": await fleet.enqueue(Job("x", "demo.add", user="ann"))}

    return Litestar(
        [enqueue, of_litestar.job_router(allow=OWN, streams=STREAMS, output=True)],
        plugins=[of_litestar.JobfleetPlugin(fleet)],
    )


@pytest.fixture(params=[starlette_app, fastapi_app, litestar_app], ids=["starlette", "fastapi", "litestar"])
def site(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Site]:
    site = Site(request.param(fleet))
    yield site
    site.close()


def test_a_job_is_shown_to_its_user_and_followed_to_its_end(site: Site, hand: Hand) -> None:
    ann = site.browser()
    job_id = ann.get("/enqueue").json["id"]

    first = ann.get(f"/jobs/{job_id}", X_User="ann").json
    assert first.pop("enqueued_at").endswith("+00:00")
    assert first == {
        "id": job_id, "status": "queued", "progress": 0.0, "progress_message": "", "started_at": None,
        "completed_at": None, "result": None,
    }  # fmt: skip
    seen: list[dict[str, Any]] = []
    with ann.stream(f"/{job_id}/events", "/jobs", X_User="ann") as events:
        seen.append(json.loads(next(events)["data"]))
        grant = hand.claims(job_id)
        seen.append(json.loads(next(events)["data"]))
        hand.reports(grant, 0.5, "half")
        seen.append(json.loads(next(events)["data"]))
        hand.completes(grant, {"sum": 3, "password": "secret"}, user="ann")
        seen.append(json.loads(next(events)["data"]))
        assert list(events) == [{"id": END, "event": END, "data": "{}"}]

    assert [(one["status"], one["progress"], one["progress_message"]) for one in seen] == [
        ("queued", 0.0, ""), ("running", 0.0, ""), ("running", 0.5, "half"), ("completed", 1.0, "half"),
    ]  # fmt: skip
    assert seen[-1]["result"] == {"sum": 3, "password": "***"}
    again = ann.get(f"/jobs/{job_id}/events", X_User="ann", Last_Event_ID=END)
    assert (again.status, again.body) == (204, b"")


def test_the_output_of_a_job_is_sent_to_its_user_until_it_ends(site: Site, hand: Hand) -> None:
    ann = site.browser()
    grant = hand.claims(ann.get("/enqueue").json["id"])
    path = f"/{grant.id}/stream"
    emits(hand, grant, 1, "Hello", {"token": "secret"})
    with ann.stream(path, "/jobs", X_User="ann") as events:
        first = next(events)
        assert json.loads(next(events)["data"])["value"] == {"token": "***"}
        emits(hand, grant, 3, "world")
        assert json.loads(next(events)["data"])["value"] == "world"
        hand.completes(grant, 3, user="ann")
        assert list(events) == [{"id": END, "event": END, "data": "{}"}]

    assert json.loads(first["data"]) == {
        "value": "Hello", "position": first["id"], "epoch": grant.token, "number": 1, "is_restart": False,
        "dropped": 0,
    }  # fmt: skip
    with ann.stream(path, "/jobs", X_User="ann", Last_Event_ID=first["id"]) as events:
        assert len(list(events)) == 3
    for headers, status in (
        ({"X_User": "bob"}, 404), ({}, 404), ({"X_User": "ann", "Last_Event_ID": END}, 204),
        ({"X_User": "ann", "Last_Event_ID": "7"}, 400),
    ):  # fmt: skip
        assert ann.get(f"/jobs{path}", **headers).status == status
    refused = ann.get(f"/jobs{path}?tail=-1&after=foo", X_User="ann")
    assert (refused.status, "The stream has no parameter after, tail" in refused.text) == (400, True)


def emits(hand: Hand, grant: Grant, first: int, *values: Any) -> None:
    lane = hand.fleet.context.keys.lane_of(grant.id)
    emission = Emission(grant.id, grant.token, 60_000, first, [encode(value) for value in values])
    hand.run(emit_chunks(lane, [emission], most=100, most_bytes=10_000))


def test_without_a_request_for_it_no_route_sends_output(fleet: Fleet) -> None:
    paths = {route.path for route in of_starlette.job_routes(allow=everybody) if isinstance(route, Route)}
    assert paths == {"/{job_id}", "/{job_id}/events"}


@dataclass
class Account:
    user: str
    password: str


class Model(pydantic.BaseModel):
    user: str
    password: str
    age: int = 3

    @pydantic.field_validator("age")
    @classmethod
    def doubled(cls, value: int) -> int:
        return value * 2


class Struct(msgspec.Struct, rename="camel"):
    user: str
    api_key: str


def give_account() -> Account: ...  # type: ignore[empty-body]  # a hand plays the worker
def give_model() -> Model: ...  # type: ignore[empty-body]
def give_struct() -> Struct: ...  # type: ignore[empty-body]
def give_models() -> list[Model]: ...  # type: ignore[empty-body]


TYPED = [
    (give_account, {"user": "ann", "password": "hunter2"}, {"user": "ann", "password": "***"}),
    (give_model, {"user": "ann", "password": "hunter2", "age": 5}, {"user": "ann", "password": "***", "age": 5}),
    (give_struct, {"user": "ann", "apiKey": "hunter2"}, {"user": "ann", "apiKey": "***"}),
    (give_models, [{"user": "ann", "password": "hunter2"}], [{"user": "ann", "password": "***"}]),
]
"""Functions, the data that they store, and what is shown of it."""


def test_a_typed_result_is_shown_as_redacted_data_although_the_process_knows_its_class(
    site: Site, fleet: Fleet, hand: Hand
) -> None:
    ann = site.browser()
    for function, stored, shown in TYPED:
        name = fleet.context.registry.register(function, fleet=fleet).name
        hand.knows(name)
        job_id = fleet.enqueue(Job("x", name, user="ann"))
        with ann.stream(f"/{job_id}/events", "/jobs", X_User="ann") as events:
            next(events)
            hand.completes(hand.claims(job_id), stored, user="ann", function=name)
            last = [json.loads(one["data"]) for one in events if one["data"] != "{}"][-1]

        assert ann.get(f"/jobs/{job_id}", X_User="ann").json["result"] == shown
        assert last["result"] == shown
        assert not isinstance(fleet.poll(job_id).result, dict)


def test_who_decides_gets_the_object(fleet: Fleet, hand: Hand) -> None:
    fleet.context.registry.register(give_account, name="demo.add", fleet=fleet)
    job_id = fleet.enqueue(Job("x", "demo.add"))
    hand.completes(hand.claims(job_id), TYPED[0][1], function="demo.add")
    seen: list[object] = []

    def allow(request: object, job: JobResult[Any]) -> bool:
        seen.append(job.result)
        return True

    async def read() -> dict[str, object]:
        async with AsyncFleet(fleet.config.url, registry=fleet.context.registry) as own:
            return await JobStatuses(allow, shown=("result",)).read(own, None, job_id)

    shown = asyncio.run(read())

    assert (shown, seen) == ({"result": TYPED[0][2]}, [Account("ann", "hunter2")])


def test_a_job_of_another_user_looks_like_one_that_does_not_exist(site: Site, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", user="ann"))
    nobodys = fleet.enqueue(Job("x", "demo.add"))
    wrong = ["default.0.none", "nowhere.0.none", "x", "a" * 5000, job_id[-8:], f"{job_id}%00"]

    stranger = site.browser()
    answers = {
        (answer.status, answer.body, answer.headers.get("Cache-Control"))
        for path in [job_id, nobodys, *wrong]
        for tail in ("", "/events")
        for answer in [stranger.get(f"/jobs/{path}{tail}", X_User="bob"), stranger.get(f"/jobs/{path}{tail}")]
    }

    (status, body, _) = answers.pop()
    assert not answers
    assert (status, json.loads(body)["error"]["code"]) == (404, "job-not-found")
    assert fleet.queues()[0].name == "default"
    assert len(fleet.queues()) == 1


def test_more_streams_than_allowed_are_refused_until_one_ends(site: Site, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", user="ann"))
    ann = site.browser()
    with ann.stream(f"/{job_id}/events", "/jobs", X_User="ann") as first:
        next(first)
        with ann.stream(f"/{job_id}/events", "/jobs", X_User="ann") as second:
            next(second)
            refused = ann.get(f"/jobs/{job_id}/events", X_User="ann")
            assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "too-many-streams", "30")

    def is_free() -> bool:
        try:
            with ann.stream(f"/{job_id}/events", "/jobs", X_User="ann") as events:
                return "queued" in next(events)["data"]
        except AssertionError:
            return False

    wait_until(is_free, why="the streams of readers that are gone have ended")


def test_while_redis_is_away_a_stream_reports_it_once_and_continues(caplog: pytest.LogCaptureFixture) -> None:
    with (
        RedisServer("--appendonly", "yes", "--appendfsync", "always") as server,
        Fleet(server.url, patience=0.1) as fleet,
    ):
        hand = Hand(fleet)
        hand.knows("demo.add")
        job_id = fleet.enqueue(Job("x", "demo.add", user="ann"))
        site = Site(starlette_app(fleet))
        try:
            ann = site.browser()
            with ann.stream(f"/{job_id}/events", "/jobs", X_User="ann") as events:
                next(events)
                server.kill()
                problem = next(events)
                refused = ann.get(f"/jobs/{job_id}", X_User="ann")
                server.restart()
                assert json.loads(next(events)["data"])["status"] == "queued"
                hand.completes(hand.claims(job_id), None, user="ann")
                last = list(events)
        finally:
            site.close()

    assert (problem["event"], json.loads(problem["data"])["error"]["code"]) == ("problem", "unavailable")
    assert (refused.status, refused.code) == (503, "unavailable")
    lines = [one.getMessage() for one in caplog.records if one.name == "jobfleet.contrib"]
    assert [line.partition(" ")[0] for line in lines] == ["jobs.unavailable"] * 2  # of the stream, and of the request
    assert [one.get("event") for one in last][-1] == END
    assert json.loads(last[-2]["data"])["status"] == "completed"


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app])
def test_while_redis_is_away_a_handler_of_the_application_answers_503_and_the_log_says_why(
    make: Callable[[Fleet], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    log = logging.getLogger("jobfleet.contrib")  # Litestar replaces the handlers of the root
    monkeypatch.setattr(log, "error", lambda text, *values: lines.append(text % values))
    with Fleet("redis://127.0.0.1:1/0", registry=Registry(), patience=0.0) as fleet:
        site = Site(make(fleet))
        try:
            refused = site.browser().get("/enqueue")
        finally:
            site.close()

    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "unavailable", "5")
    (line,) = lines
    assert "No Redis at redis://127.0.0.1:1/0" in line


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app])
def test_a_web_application_waits_2_s_for_redis_unless_a_setting_says_otherwise(make: Callable[[Fleet], Any]) -> None:
    with Fleet("redis://127.0.0.1:1/0", registry=Registry()) as fleet, Fleet(patience=7.0) as patient:
        before = fleet.store.patience
        for one in (fleet, patient):
            Site(make(one)).close()
        bounds = [(one.config.patience, one.config.connect_timeout, one.store.patience) for one in (fleet, patient)]
        in_loop = asyncio.run(_patience_in_loop(fleet))

    assert (before, bounds, in_loop) == (10.0, [(2.0, 2.0, 2.0), (7.0, 2.0, 7.0)], 2.0)


async def _patience_in_loop(fleet: Fleet) -> float | None:
    return fleet.for_running_loop().store.patience


def test_a_user_who_may_no_longer_see_a_job_gets_no_further_state(fleet: Fleet, hand: Hand) -> None:
    allowed = {"ann"}
    app = Starlette(
        routes=of_starlette.job_routes(allow=lambda request, job: job.user in allowed),
        lifespan=of_starlette.fleet_lifespan(fleet),
    )
    job_id = fleet.enqueue(Job("x", "demo.add", user="ann"))
    site = Site(app)
    try:
        with site.browser().stream(f"/{job_id}/events", "") as events:
            next(events)
            allowed.clear()
            hand.claims(job_id)
            assert list(events) == []
    finally:
        site.close()


def test_a_stream_ends_when_its_server_stops(fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", user="ann"))
    site = Site(starlette_app(fleet))
    try:
        with site.browser().stream(f"/{job_id}/events", "/jobs", X_User="ann") as events:
            next(events)
            monkeypatch.setattr(job_status, "is_stopping", lambda: True)
            assert list(events) == []
    finally:
        site.close()


def test_an_application_without_the_lifespan_gets_an_error_with_the_remedy(fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match=r"lifespan=fleet_lifespan\(\)"):
        of_starlette.fleet_of(Request({"type": "http", "headers": []}))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: JobStatuses(None), "allow is None"),  # type: ignore[arg-type]
        (lambda: JobStatuses(everybody, shown=("id", "secret")), "shown has 'secret'"),
    ],
)
def test_a_wrong_argument_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make()


async def test_an_owner_is_asked_by_a_coroutine_too() -> None:
    async def user_of(request: dict[str, str]) -> str | None:
        return request.get("user")

    job = JobResult[Any](id="default.0.a", status=JobStatus.QUEUED, user="ann")
    nobodys = JobResult[Any](id="default.0.b", status=JobStatus.QUEUED)
    allow = owned_by(user_of)

    async def asks(request: dict[str, str], job: JobResult[Any]) -> bool:
        answer = allow(request, job)
        return answer if isinstance(answer, bool) else await answer

    answers = [await asks({"user": "ann"}, job), await asks({"user": "bob"}, job), await asks({}, job)]
    answers.append(await asks({}, nobodys))

    assert answers == [True, False, False, False]
