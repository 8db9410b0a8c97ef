"""Starlette: a fleet that opens and closes with the application, and routes for the state of jobs. Extra ``web``.

``jobfleet.contrib.fastapi`` is made of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from jobfleet.contrib.job_status import (
    SHOWN,
    STREAM_HEADERS,
    Allow,
    JobStatuses,
    Refusal,
    everybody,
    failed_request,
    loop_fleet,
    owned_by,
    refuse_query,
)
from jobfleet.errors import ConfigError
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.fleet.sync import Fleet

STATE = "jobfleet"
"""The name of the fleet in the state of the application's lifespan."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]

__all__ = [
    "Lifespan",
    "answer_unavailable",
    "everybody",
    "fleet_lifespan",
    "fleet_of",
    "job_answer",
    "job_events",
    "job_routes",
    "owned_by",
]


def fleet_lifespan(fleet: Fleet | AsyncFleet | None = None) -> Lifespan:
    """Make a lifespan that has a fleet ready for requests, and closes its connections when the application stops.

    Args:
        fleet: The fleet; default the default fleet, so that ``await send.aenqueue(…)`` shares its connections.

    Returns:
        A function for ``lifespan=``. It yields the state of the application, so that a lifespan of your own can enter
        it and add to it.
    """

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[Mapping[str, Any], None]:
        async with loop_fleet(fleet) as opened:
            yield {STATE: opened}

    return lifespan


def fleet_of(connection: HTTPConnection) -> AsyncFleet:
    """The fleet that `fleet_lifespan` has opened for the application.

    Raises:
        ConfigError: The application has no such lifespan.
    """
    fleet = getattr(connection.state, STATE, None)
    if not isinstance(fleet, AsyncFleet):
        raise ConfigError("The application has no fleet: give it lifespan=fleet_lifespan().")
    return fleet


class _Events(StreamingResponse):
    """Server-sent events. Their source is closed at once, however the answer ends."""

    def __init__(self, source: AsyncGenerator[str, None]) -> None:
        super().__init__(source, media_type="text/event-stream", headers=STREAM_HEADERS)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._source.aclose()


def _refused(refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def answer_unavailable(request: Request, error: Exception) -> Response:  # noqa: ARG001 - a handler gets both
    """Answer with 503, as a handler of exceptions for `StoreUnavailable`, and log the cause: Redis does not reply."""
    return _refused(failed_request(error))


async def job_answer(statuses: JobStatuses, request: Request, job_id: str) -> Response:
    """Answer with the state of a job, as JSON."""
    try:
        return JSONResponse(
            await statuses.read(fleet_of(request), request, job_id), headers={"Cache-Control": "no-store"}
        )
    except Refusal as refusal:
        return _refused(refusal)


async def job_events(statuses: JobStatuses, request: Request, job_id: str, *, is_output: bool = False) -> Response:
    """Answer with the states of a job until it ends, or with its output, as server-sent events."""
    last_seen = request.headers.get("last-event-id", "")
    follow = statuses.output if is_output else statuses.stream
    try:
        refuse_query(request.query_params if is_output else ())
        texts = await follow(fleet_of(request), request, job_id, last_seen=last_seen)
    except Refusal as refusal:
        return _refused(refusal)
    return Response(status_code=204) if texts is None else _Events(texts)


def job_routes(
    *, allow: Allow, shown: Iterable[str] = SHOWN, streams: int = 100, output: bool = False
) -> list[BaseRoute]:
    """Make the routes ``/{job_id}`` (JSON) and ``/{job_id}/events`` (server-sent events), to mount under a path.

    Args:
        allow: Called with the request and the `JobResult`; whether the user may see the job. May be a coroutine
            function. A job that is refused is answered like one that does not exist.
        shown: The attributes of `JobResult` that are shown; errors, tags, users and metadata are not by default.
        streams: The most streams that are open at once in this process.
        output: Whether there is a route ``/{job_id}/stream``, too: what the job emits, as server-sent events.

    Raises:
        ConfigError: An argument is wrong.
    """
    statuses = JobStatuses(allow, shown=shown, streams=streams)

    async def state(request: Request) -> Response:
        return await job_answer(statuses, request, request.path_params["job_id"])

    async def events(request: Request) -> Response:
        return await job_events(statuses, request, request.path_params["job_id"])

    async def chunks(request: Request) -> Response:
        return await job_events(statuses, request, request.path_params["job_id"], is_output=True)

    routes: list[BaseRoute] = [Route("/{job_id}", state), Route("/{job_id}/events", events)]
    return [*routes, Route("/{job_id}/stream", chunks)] if output else routes
