"""The output stream of a job, as server-sent events of the API."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from jobfleet.client.output_events import END, is_stopping, output_events
from jobfleet.web.endpoints.reading import asked_exactly, is_known, owner_of, until_unknown
from jobfleet.web.endpoints.request import Context, Endpoint
from jobfleet.web.endpoints.stream import EventStream
from jobfleet.web.errors import problem_of
from jobfleet.web.route import Page


def events(context: Context, page: Page) -> Endpoint:
    """The endpoint of the API that sends the chunks of a job's output, each as an event with its position as the id."""

    async def answer(request: Request) -> Response:
        context.entrance.check_stream(request)
        caller, values = asked_exactly(context, page, request)
        seen = request.headers.get("last-event-id") or None
        if seen == END:
            return Response(status_code=204)
        dashboard, hub = context.dashboard.reading, context.dashboard.hub
        # A wrong request is refused before the answer begins.
        begun = await page.read(dashboard, {"id": values["id"], "tail": 1, "after": seen})

        async def may_go_on() -> bool:
            return is_known(context, request, page)

        chunks = output_events(
            lambda position: dashboard.fleet.stream(
                begun["id"], position, tail=values["tail"] if position == seen else None
            ),
            seen,
            shown=dashboard.form.chunk,
            may_go_on=may_go_on,
            is_stopping=lambda: hub.is_closed or is_stopping(),
            problem=lambda error: problem_of(error).data,
        )

        async def texts() -> AsyncGenerator[str, None]:
            with hub.place(owner_of(caller)):
                yield ""
                async for text in chunks:
                    yield text

        source = texts()
        await anext(source)  # it has its place, or is refused
        return EventStream(source, chunks, until_unknown(context, request, page))

    return context.handled("json", answer)
