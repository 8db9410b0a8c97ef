"""FastAPI: a fleet that opens and closes with the application, as a dependency, and a router for the state of jobs.

Extra ``fastapi``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.requests import HTTPConnection
from starlette.responses import Response

from jobfleet.contrib.job_status import SHOWN, Allow, JobStatuses, everybody, owned_by
from jobfleet.contrib.starlette import answer_unavailable, fleet_lifespan, fleet_of, job_answer, job_events
from jobfleet.fleet.aio import AsyncFleet

__all__ = [
    "FleetDep",
    "answer_unavailable",
    "everybody",
    "fleet_lifespan",
    "fleet_of",
    "job_router",
    "owned_by",
]


def _fleet(connection: HTTPConnection) -> AsyncFleet:
    return fleet_of(connection)


FleetDep = Annotated[AsyncFleet, Depends(_fleet)]
"""The type of a parameter that receives the fleet: ``async def post(fleet: FleetDep)``."""

_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such job, or the user may not see it."},
    503: {"description": "Redis does not reply, or too many jobs are followed."},
}


def job_router(
    *,
    allow: Allow,
    shown: Iterable[str] = SHOWN,
    streams: int = 100,
    output: bool = False,
    dependencies: Sequence[Any] = (),
    **options: Any,
) -> APIRouter:
    """Make a router with ``/{job_id}`` (JSON) and ``/{job_id}/events`` (server-sent events).

    Args:
        allow: Called with the request and the `JobResult`; whether the user may see the job. May be a coroutine
            function. A job that is refused is answered like one that does not exist.
        shown: The attributes of `JobResult` that are shown; errors, tags, users and metadata are not by default.
        streams: The most streams that are open at once in this process.
        output: Whether there is a route ``/{job_id}/stream``, too: what the job emits, as server-sent events.
        dependencies: Dependencies of all routes, such as ``Depends(login)``.
        options: Further arguments of `APIRouter`, such as ``prefix`` and ``tags``.

    Raises:
        ConfigError: An argument is wrong.
    """
    statuses = JobStatuses(allow, shown=shown, streams=streams)
    router = APIRouter(dependencies=list(dependencies), **options)

    @router.get("/{job_id}", response_class=Response, responses=_REFUSALS, summary="State of a job")
    async def state(job_id: str, request: Request) -> Response:
        return await job_answer(statuses, request, job_id)

    @router.get(
        "/{job_id}/events", response_class=Response, responses=_REFUSALS, summary="States of a job until its end"
    )
    async def events(job_id: str, request: Request) -> Response:
        return await job_events(statuses, request, job_id)

    if output:

        @router.get(
            "/{job_id}/stream", response_class=Response, responses=_REFUSALS, summary="Output of a job until its end"
        )
        async def chunks(job_id: str, request: Request) -> Response:
            return await job_events(statuses, request, job_id, is_output=True)

    return router
