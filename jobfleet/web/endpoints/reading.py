"""Pages, their live updates, reads of the API, and the output stream of a job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jobfleet.client.output_events import END as OUTPUT_END
from jobfleet.client.output_events import is_stopping, output_events
from jobfleet.web.display import shown
from jobfleet.web.endpoints.request import Context, Endpoint, Sent, entered_into, json_response, path_of, root_of
from jobfleet.web.errors import Problem, problem_of, refusal
from jobfleet.web.live import Snapshot, everything
from jobfleet.web.route import Page
from jobfleet.web.safety.access import Caller
from jobfleet.web.safety.identity import csrf_token, signed

BEAT_LINE = ": beat\n\n"
END = "end"
"""The id of the last event of a stream that ends; a client that comes back with it gets an empty answer."""
_GONE = Snapshot(-1)
"""In place of a snapshot, when there will be no more."""
BEAT = 10.0
"""Seconds without a change after which a line is sent, so that a connection that is gone is noticed."""


def _asked(context: Context, page: Page, request: Request) -> tuple[Caller, dict[str, Any]]:
    """Who asks, and for what."""
    caller = context.caller(request, page.role)
    return caller, page.values(request.path_params, dict(request.query_params))


def asked_exactly(context: Context, page: Page, request: Request) -> tuple[Caller, dict[str, Any]]:
    """The same for a program. An unknown parameter is refused, because a misspelled filter would match everything."""
    asked = _asked(context, page, request)
    known = [one.name for one in page.parameters if one.place == "query"]
    for name in request.query_params:
        if name not in known:
            there_are = f"there are: {', '.join(known)}." if known else "there are none."
            raise refusal("invalid-request", f"There is no parameter {name!r:.100}; {there_are}", field=name)
    return asked


def _key(page: Page, values: dict[str, Any]) -> tuple[object, ...]:
    return (page.path, *sorted((name, str(value)) for name, value in values.items()))


async def read(context: Context, page: Page, values: dict[str, Any]) -> dict[str, Any]:
    """Read the data of a page; pages with the same address share a read."""
    dashboard = context.dashboard
    return await dashboard.hub.once(_key(page, values), lambda: page.data(dashboard.reading, values))


def api(context: Context, page: Page) -> Endpoint:
    """The endpoint of the API for the data of a page. It shares no read, so a program sees what it has just changed."""

    async def answer(request: Request) -> Response:
        _, values = asked_exactly(context, page, request)
        return json_response(await page.data(context.dashboard.reading, values))

    return context.handled("json", answer)


def html(context: Context, page: Page) -> Endpoint:
    """The endpoint of a page."""

    async def answer(request: Request) -> Response:
        caller, values = _asked(context, page, request)
        data = await read(context, page, values)
        return shown_page(
            context, request, caller, page, values, data, path=path_of(request).partition("?")[0],
            query=request.url.query, note=_note(request, caller),
        )  # fmt: skip

    return context.handled("html", answer)


def shown_page(
    context: Context,
    request: Request,
    caller: Caller,
    page: Page,
    values: dict[str, Any],
    data: dict[str, Any],
    *,
    path: str,
    query: str,
    status: int = 200,
    note: str = "",
    sent: Sent | None = None,
) -> Response:
    """A page with its data.

    Args:
        context: What the endpoints work with.
        request: The request.
        caller: Who sees it.
        page: The page.
        values: The values of its parameters.
        data: What it shows.
        path: Its path, quoted.
        query: Its query.
        status: The status of the answer.
        note: What an action has done.
        sent: The form of the page that was refused.
    """
    root = root_of(request)
    live = context.renderer.live(page.template, data, None, root=root, role=caller.role, csrf=csrf_token(caller.key))
    return context.page(
        request, f"{page.template}.html", caller, status=status, title=page.title, values=values, data=data,
        here=page.path, has_archive=context.dashboard.config.archive_url is not None, note=note, live=live,
        stream=f"{root}/live{path}" + (f"?{query}" if query else ""), entered=entered_into(sent),
        problem=sent and sent.problem,
    )  # fmt: skip


def _note(request: Request, caller: Caller) -> str:
    """What an action has done, as far as this dashboard has signed it."""
    note, mark = request.query_params.get("note", ""), request.query_params.get("mark", "")
    return note if note and signed(caller.key, note) == mark else ""


def live(context: Context, page: Page) -> Endpoint:
    """The endpoint of the live updates of a page: server-sent events, each with the whole live part.

    A fault is an event `problem` with its message.
    """

    async def answer(request: Request) -> Response:
        context.entrance.check_stream(request)
        caller, values = _asked(context, page, request)
        hub, key = context.dashboard.hub, _key(page, values)
        snapshots = hub.watch(
            key, lambda: page.data(context.dashboard.reading, values), page.every,
            seen=request.headers.get("last-event-id", ""), beat=BEAT, compared=page.compared or everything,
            owner=owner_of(caller),
        )  # fmt: skip
        first = await anext(snapshots, None)  # too many streams are refused before the answer begins
        root = root_of(request)

        async def events() -> AsyncGenerator[str, None]:
            yield BEAT_LINE if first is None else _event(context, page, key, first, root, caller)
            async for snapshot in snapshots:
                if not is_known(context, request, page):
                    return
                yield BEAT_LINE if snapshot is None else _event(context, page, key, snapshot, root, caller)

        return EventStream(events(), snapshots, until_unknown(context, request, page))

    return context.handled("json", answer)


def events(context: Context, page: Page, ends: Callable[[dict[str, Any]], bool]) -> Endpoint:
    """The endpoint of the API that sends the data of a page at each change, as server-sent events, until the last.

    Args:
        context: What the endpoints work with.
        page: The page.
        ends: Whether data are the last ones.
    """

    async def answer(request: Request) -> Response:
        context.entrance.check_stream(request)
        caller, values = asked_exactly(context, page, request)
        seen = request.headers.get("last-event-id", "")
        if seen == END:
            return Response(status_code=204)
        hub = context.dashboard.hub
        snapshots = hub.watch(
            ("events", *_key(page, values)), lambda: page.data(context.dashboard.reading, values), page.every,
            seen=seen, beat=BEAT, compared=page.compared or everything, owner=owner_of(caller),
        )  # fmt: skip
        first = await anext(snapshots, None)
        if first is not None and first.problem is not None:
            await snapshots.aclose()
            raise first.problem

        async def texts() -> AsyncGenerator[str, None]:
            snapshot = first
            while snapshot is not _GONE and is_known(context, request, page):
                yield BEAT_LINE if snapshot is None else _data_event(hub.epoch, snapshot)
                if snapshot is not None and _is_last(ends, snapshot):
                    yield f"id: {END}\nevent: end\ndata: {{}}\n\n"
                    return
                snapshot = await anext(snapshots, _GONE)

        return EventStream(texts(), snapshots, until_unknown(context, request, page))

    return context.handled("json", answer)


def _data_event(epoch: str, snapshot: Snapshot) -> str:
    problem = snapshot.problem
    head = f"id: {epoch}-{snapshot.number}\n" + ("" if problem is None else "event: problem\n")
    text = json.dumps(snapshot.data if problem is None else problem.data, allow_nan=False)
    return f"{head}data: {text}\n\n"


def _is_last(ends: Callable[[dict[str, Any]], bool], snapshot: Snapshot) -> bool:
    """Whether nothing will follow: it has ended, or does not exist any more."""
    if snapshot.problem is not None:
        return snapshot.problem.status < 500
    return snapshot.data is not None and ends(snapshot.data)


def is_known(context: Context, request: Request, page: Page) -> bool:
    """Whether who has opened a page may still see it: a session may have ended, or a user may have been removed."""
    try:
        caller = context.dashboard.identity.caller(request)
    except Problem:  # its token was revoked
        return False
    return caller is not None and caller.role.permits(page.role)


async def until_unknown(context: Context, request: Request, page: Page) -> None:
    """Wait until who has opened a page may no longer see it. Each change of users, tokens and sessions is looked at."""
    while is_known(context, request, page):
        await context.dashboard.hub.access_changed()


def owner_of(caller: Caller) -> str:
    """Whose streams are counted together."""
    return f"{'user' if caller.is_ambient else 'token'} {caller.name}"


def _event(context: Context, page: Page, key: tuple[object, ...], snapshot: Snapshot, root: str, caller: Caller) -> str:
    number = f"{context.dashboard.hub.epoch}-{snapshot.number}"
    if (problem := snapshot.problem) is not None and problem.status >= 500:  # what the page shows stays
        return f"id: {number}\nevent: problem\ndata: {shown(problem.message)}\n\n"
    text = context.renderer.live(
        page.template, snapshot.data, snapshot.problem, root=root, role=caller.role, csrf=csrf_token(caller.key),
        key=(*key, number),
    )  # fmt: skip
    lines = "\n".join(f"data: {line}" for line in text.split("\n"))
    return f"id: {number}\n{lines}\n\n"


def job_output(context: Context, page: Page) -> Endpoint:
    """The endpoint of the API that sends the chunks of a job's output, each as an event with its position as the id."""

    async def answer(request: Request) -> Response:
        context.entrance.check_stream(request)
        caller, values = asked_exactly(context, page, request)
        seen = request.headers.get("last-event-id") or None
        if seen == OUTPUT_END:
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


class EventStream(Response):
    """Sends texts as they come, until the source or the connection ends.

    Args:
        source: The texts; it is closed at the end.
        feed: What the source reads; it is closed too, also if the source has not begun.
        end: Ends once the client may not read on; then the answer ends at once.
    """

    media_type = "text/event-stream"

    def __init__(
        self, source: AsyncGenerator[str, None], feed: AsyncGenerator[Any, None], end: Coroutine[Any, Any, None]
    ) -> None:
        self._source = source
        self._feed = feed
        self._end = end
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI has it
        """Send the answer."""
        sending = asyncio.ensure_future(self._send(send))
        others = asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._end)
        try:
            await asyncio.wait((sending, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_cut = others[1].done() and not sending.done()
            for task in (sending, *others):
                task.cancel()
            (outcome, *_) = await asyncio.gather(sending, *others, return_exceptions=True)
            await self._source.aclose()
            await self._feed.aclose()
        if is_cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif isinstance(outcome, Exception):
            raise outcome

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for text in self._source:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
