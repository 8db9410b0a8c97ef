"""Litestar: a plugin with a fleet that opens and closes with the application, and routes for the state of jobs.

Extra ``litestar``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response, Router, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.plugins import InitPluginProtocol
from litestar.response import Stream

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
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.fleet.sync import Fleet

STATE = "jobfleet"
"""The name of the fleet in the state of the application."""

FleetDep = NamedDependency[AsyncFleet]
"""The type of a parameter ``fleet``, which receives the fleet: ``async def post(fleet: FleetDep)``."""

__all__ = ["FleetDep", "JobfleetPlugin", "everybody", "job_router", "owned_by"]


class JobfleetPlugin(InitPluginProtocol):
    """Has a fleet ready for requests, and closes its connections when the application stops.

    Handlers receive it in a parameter: ``async def post(fleet: FleetDep)``.

    Args:
        fleet: The fleet; default the default fleet, so that ``await send.aenqueue(…)`` shares its connections.
        name: The name of the parameter.
    """

    def __init__(self, fleet: Fleet | AsyncFleet | None = None, *, name: str = "fleet") -> None:
        self._fleet = fleet
        self._name = name

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the fleet to an application, and an answer 503 while Redis does not reply. Litestar calls it."""
        app_config.lifespan = [*app_config.lifespan, self._lifespan]
        app_config.dependencies = {**app_config.dependencies, self._name: Provide(_fleet_of, sync_to_thread=False)}
        app_config.exception_handlers = {StoreUnavailable: _unavailable, **app_config.exception_handlers}
        return app_config

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncGenerator[None, None]:
        async with loop_fleet(self._fleet) as opened:
            app.state[STATE] = opened
            yield


def _fleet_of(state: State) -> AsyncFleet:
    fleet = state.get(STATE)
    if not isinstance(fleet, AsyncFleet):
        raise ConfigError("The application has no fleet: give it plugins=[JobfleetPlugin()].")
    return fleet


def _refused(refusal: Refusal) -> Response[Any]:
    return Response(refusal.body, status_code=refusal.status, headers=refusal.headers)


def _unavailable(request: Request[Any, Any, Any], error: StoreUnavailable) -> Response[Any]:  # noqa: ARG001 - a handler gets both
    return _refused(failed_request(error))


def job_router(
    path: str = "/jobs",
    *,
    allow: Allow,
    shown: Iterable[str] = SHOWN,
    streams: int = 100,
    output: bool = False,
    **options: Any,
) -> Router:
    """Make a router with ``/{job_id}`` (JSON) and ``/{job_id}/events`` (server-sent events). It needs the plugin.

    Args:
        path: The path of the router.
        allow: Called with the request and the `JobResult`; whether the user may see the job. May be a coroutine
            function. A job that is refused is answered like one that does not exist.
        shown: The attributes of `JobResult` that are shown; errors, tags, users and metadata are not by default.
        streams: The most streams that are open at once in this process.
        output: Whether there is a route ``/{job_id}/stream``, too: what the job emits, as server-sent events.
        options: Further arguments of `Router`, such as ``guards``.

    Raises:
        ConfigError: An argument is wrong.
    """
    statuses = JobStatuses(allow, shown=shown, streams=streams)

    @get("/{job_id:str}", summary="State of a job")
    async def state_of_job(job_id: FromPath[str], request: Request[Any, Any, State], state: State) -> Response[Any]:
        try:
            shown = await statuses.read(_fleet_of(state), request, job_id)
        except Refusal as refusal:
            return _refused(refusal)
        return Response(shown, headers={"Cache-Control": "no-store"})

    @get("/{job_id:str}/events", summary="States of a job until its end")
    async def events_of_job(job_id: FromPath[str], request: Request[Any, Any, State], state: State) -> Response[Any]:
        return await _events(statuses.stream, request, state, job_id)

    @get("/{job_id:str}/stream", summary="Output of a job until its end")
    async def output_of_job(job_id: FromPath[str], request: Request[Any, Any, State], state: State) -> Response[Any]:
        return await _events(statuses.output, request, state, job_id, is_output=True)

    handlers: list[Any] = [state_of_job, events_of_job, *([output_of_job] if output else ())]
    return Router(path=path, route_handlers=handlers, **options)


async def _events(
    follow: Any, request: Request[Any, Any, State], state: State, job_id: str, *, is_output: bool = False
) -> Response[Any]:
    last_seen = request.headers.get("last-event-id", "")
    try:
        refuse_query(request.query_params if is_output else ())
        texts = await follow(_fleet_of(state), request, job_id, last_seen=last_seen)
    except Refusal as refusal:
        return _refused(refusal)
    if texts is None:
        return Response(None, status_code=204)
    return Stream(texts, media_type="text/event-stream", headers=STREAM_HEADERS)
