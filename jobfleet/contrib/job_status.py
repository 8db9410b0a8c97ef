"""The state of one job for the users of an application, whatever its framework: who may see it, and its live states.

An application that answers with this shows no more than it names: a job has arguments, errors and tracebacks that
concern its operators only.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from typing import Any

from jobfleet.client.json_form import JsonForm
from jobfleet.client.output_events import BEAT, BEAT_LINE, END, END_EVENT, STOP_SEEN_WITHIN, is_stopping, output_events
from jobfleet.clock import monotonic
from jobfleet.errors import ConfigError, InvalidJob, JobfleetError, JobNotFound
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.logs import contain_handler_errors
from jobfleet.model import JobResult
from jobfleet.operations.jobs.poll import plain_results, rebuilt_in
from jobfleet.secret import Redaction

_log = logging.getLogger("jobfleet.contrib")
Allow = Callable[[Any, JobResult[Any]], bool | Awaitable[bool]]
"""Decides whether who sends a request may see a job."""
SHOWN = (
    "id", "status", "progress", "progress_message", "enqueued_at", "started_at", "completed_at", "result",
)  # fmt: skip
"""The attributes of `JobResult` that are shown by default."""
NEVER_COMPARED = "duration"
"""An attribute that differs at each read of a running job, and so does not make a new state."""
POLL_EVERY = 1.0
"""Seconds after which a job is polled although no event has arrived; events may be missed."""
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The headers of a stream: nothing on its way may store or delay it."""


class Refusal(Exception):
    """A request that is not answered with a job.

    Attributes:
        status: The HTTP status.
        code: A stable word for programs.
        message: A sentence for people. It does not depend on the job.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = headers or {}

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """The JSON of the answer."""
        return {"error": {"code": self.code, "message": self.message}}


def not_found() -> Refusal:
    """The answer for a job that does not exist, and for one that the user may not see: they look the same."""
    return Refusal(404, "job-not-found", "There is no such job, or it is not yours.")


def refuse_query(names: Iterable[str]) -> None:
    """Refuse the parameters of a request for output, which has none: a reader continues with ``Last-Event-ID``.

    Raises:
        Refusal: There are some.
    """
    if given := ", ".join(sorted(map(str, names))):
        text = f"The stream has no parameter {given:.100}; continue with the header Last-Event-ID."
        raise Refusal(400, "invalid-request", text)


def unavailable() -> Refusal:
    """The answer while Redis does not reply."""
    return Refusal(503, "unavailable", "Jobs cannot be reached now; try again.", {"Retry-After": "5"})


def failed_request(error: Exception) -> Refusal:
    """Log why a request of the application has failed, and return the answer, which does not name the cause."""
    contain_handler_errors()  # a handler that raises must not make another answer
    _log.error("jobs.unavailable %s", error)
    return unavailable()


def shown_of(job: JobResult[Any], shown: Iterable[str], redact: Collection[str]) -> dict[str, object]:
    """The JSON of some attributes of a job.

    Args:
        job: The job.
        shown: The attributes.
        redact: The names of keys whose values are hidden.
    """
    whole = JsonForm(Redaction(redact)).job(job)
    return {name: whole[name] for name in shown}


def everybody(request: object, job: JobResult[Any]) -> bool:  # noqa: ARG001 - an `Allow` gets both
    """Let everybody who knows the id of a job see it."""
    return True


def owned_by(user_of: Callable[[Any], str | Awaitable[str | None] | None]) -> Allow:
    """Let users see the jobs that have their name as `user`; nobody sees a job without a user.

    Args:
        user_of: Returns the name of who sends a request, or None for a stranger. May be a coroutine function.
    """

    async def allow(request: Any, job: JobResult[Any]) -> bool:
        if job.user is None:
            return False
        user = user_of(request)
        if inspect.isawaitable(user):
            user = await user
        return user is not None and user == job.user

    return allow


class JobStatuses:
    """Reads the states of single jobs for the users of an application.

    Args:
        allow: Called with the request and the job; whether the user may see it. `owned_by` and `everybody` make one.
        shown: The attributes of `JobResult` that are shown. Values under keys such as ``password`` are hidden.
        streams: The most streams that are open at once in this process.

    Raises:
        ConfigError: `allow` cannot be called, or `shown` has a name that `JobResult` does not have.
    """

    def __init__(self, allow: Allow, *, shown: Iterable[str] = SHOWN, streams: int = 100) -> None:
        if not callable(allow):
            raise ConfigError(f"allow is {allow!r}; give a function of a request and a job, or owned_by(…).")
        self._allow = allow
        self._shown = tuple(shown)
        self._most = streams
        self._open = 0
        known = {each.name for each in fields(JobResult)}
        for name in self._shown:
            if name not in known:
                raise ConfigError(f"shown has {name!r}, which is not an attribute of JobResult: {', '.join(known)}.")

    async def read(self, fleet: AsyncFleet, request: Any, job_id: str) -> dict[str, object]:
        """What is shown of a job.

        Raises:
            Refusal: There is no such job, the user may not see it, or Redis does not reply.
        """
        return self._form(fleet, await self._permitted(fleet, request, job_id))

    async def stream(
        self, fleet: AsyncFleet, request: Any, job_id: str, *, last_seen: str = ""
    ) -> AsyncGenerator[str, None] | None:
        """The states of a job as server-sent events, from the present one to the last one.

        Each has the JSON of `read` as its data. After the last one an event ``end`` follows. While Redis does not
        reply, one event ``problem`` is sent.

        Args:
            fleet: The fleet.
            request: The request; `allow` is asked again for each state.
            job_id: The id of the job.
            last_seen: The header ``Last-Event-ID`` of a browser that has connected again.

        Returns:
            The texts, to be closed by the caller; None if the browser has seen everything, for an answer 204.

        Raises:
            Refusal: There is no such job, the user may not see it, Redis does not reply, or too many streams are open.
        """
        first = await self._permitted(fleet, request, job_id)
        if last_seen == END:
            return None
        self._check_room()
        return self._texts(fleet, request, first)

    async def output(
        self, fleet: AsyncFleet, request: Any, job_id: str, *, last_seen: str = ""
    ) -> AsyncGenerator[str, None] | None:
        """What a job emits as server-sent events, one per chunk, until the job ends.

        Each has the attributes of `Chunk` as its data, and `Chunk.position` as its id. After the last one an event
        ``end`` follows. While Redis does not reply, one event ``problem`` is sent.

        Args:
            fleet: The fleet.
            request: The request; `allow` is asked again every ten seconds.
            job_id: The id of the job.
            last_seen: The header ``Last-Event-ID`` of a browser that has connected again.

        Returns:
            The texts, to be closed by the caller; None if the browser has seen everything, for an answer 204.

        Raises:
            Refusal: There is no such job, the user may not see it, Redis does not reply, too many streams are open, or
                `last_seen` is not a position.
        """
        await self._permitted(fleet, request, job_id)
        if last_seen == END:
            return None
        self._check_room()
        form = JsonForm(Redaction(fleet.config.redact))
        try:
            fleet.stream(job_id, last_seen or None)
        except InvalidJob:
            raise Refusal(400, "invalid-position", "Last-Event-ID is not a position of this stream.") from None

        async def may_go_on() -> bool:
            try:
                await self._permitted(fleet, request, job_id)
            except Refusal as refusal:
                return refusal.status == unavailable().status
            return True

        return self._counted(
            output_events(
                lambda position: fleet.stream(job_id, position),
                last_seen or None,
                shown=form.chunk,
                may_go_on=may_go_on,
                is_stopping=is_stopping,
                problem=lambda _: unavailable().body,
            )
        )

    def _check_room(self) -> None:
        if self._open >= self._most:
            raise Refusal(503, "too-many-streams", "Too many jobs are followed at once.", {"Retry-After": "30"})

    async def _counted(self, texts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        self._open += 1
        try:
            async for text in texts:
                yield text
        finally:
            self._open -= 1
            await texts.aclose()

    async def _permitted(self, fleet: AsyncFleet, request: Any, job_id: str) -> JobResult[Any]:
        try:
            job = await _polled(fleet, job_id)
        except JobNotFound:
            raise not_found() from None
        except JobfleetError as error:
            raise failed_request(error) from None
        if not await self._is_allowed(fleet, request, job):
            raise not_found()
        return job

    async def _is_allowed(self, fleet: AsyncFleet, request: Any, job: JobResult[Any]) -> bool:
        answer = self._allow(request, rebuilt_in(fleet.context, job))
        return bool(await answer if inspect.isawaitable(answer) else answer)

    def _form(self, fleet: AsyncFleet, job: JobResult[Any]) -> dict[str, object]:
        return shown_of(job, self._shown, fleet.config.redact)

    async def _texts(self, fleet: AsyncFleet, request: Any, first: JobResult[Any]) -> AsyncGenerator[str, None]:
        self._open += 1
        states = job_states(fleet, first)
        seen: dict[str, object] | None = None
        is_away, is_over, sent = False, False, monotonic()
        try:
            async for state in states:
                if isinstance(state, Refusal):
                    text = "" if is_away else f"event: problem\ndata: {json.dumps(state.body)}\n\n"
                    is_away, seen = True, None
                elif not await self._is_allowed(fleet, request, state):
                    return
                else:
                    form, is_away = self._form(fleet, state), False
                    compared = {name: value for name, value in form.items() if name != NEVER_COMPARED}
                    text = "" if compared == seen else f"data: {json.dumps(form, allow_nan=False)}\n\n"
                    seen = compared
                is_over = states_end(state)
                if text or monotonic() - sent >= BEAT:
                    sent = monotonic()
                    yield text or BEAT_LINE
            if is_over:
                yield END_EVENT
        finally:
            self._open -= 1
            await states.aclose()


def states_end(state: JobResult[Any] | Refusal) -> bool:
    """Whether a state is the last one of a job."""
    return isinstance(state, JobResult) and state.status.is_final


async def job_states(fleet: AsyncFleet, first: JobResult[Any]) -> AsyncGenerator[JobResult[Any] | Refusal, None]:
    """Yield the states of a job from `first` to its end; some may be skipped, and some are yielded again.

    The states end when the job has ended or is not known any more, or when the server of this program stops.

    Args:
        fleet: The fleet.
        first: The present state.

    Yields:
        The state after each event and at least once per second; a `Refusal` while Redis does not reply.
    """
    yield first
    if first.status.is_final:
        return
    heard = asyncio.Event()
    follower = asyncio.create_task(_follow(fleet, first.id, heard), name="jobfleet-job-status")
    is_away, polled = False, monotonic()
    try:
        while not is_stopping():
            with suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), STOP_SEEN_WITHIN)
            if not heard.is_set() and monotonic() - polled < POLL_EVERY:
                continue
            heard.clear()
            state: JobResult[Any] | Refusal
            try:
                state = await _polled(fleet, first.id)
            except JobNotFound:
                return
            except JobfleetError as error:
                state = unavailable() if is_away else failed_request(error)  # it is logged once per absence
            is_away, polled = isinstance(state, Refusal), monotonic()
            yield state
            if states_end(state):
                return
            if follower.done() and isinstance(state, JobResult):  # it has ended by an error
                follower = asyncio.create_task(_follow(fleet, first.id, heard), name="jobfleet-job-status")
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def _polled(fleet: AsyncFleet, job_id: str) -> JobResult[Any]:
    """Read a job with its result as plain data, in which values are hidden by the names of their keys."""
    with plain_results():
        return await fleet.poll(job_id)


async def _follow(fleet: AsyncFleet, job_id: str, heard: asyncio.Event) -> None:
    """Set an event at each event of a job, and at their end. Polls find what it misses, so it may end by an error."""
    try:
        async for _ in fleet.events(job_id):
            heard.set()
    except JobfleetError:  # without an event, or it would be asked again at once
        return
    heard.set()


@asynccontextmanager
async def loop_fleet(fleet: Fleet | AsyncFleet | None) -> AsyncGenerator[AsyncFleet, None]:
    """Yield the fleet for the running loop, and close its connections at the end.

    Args:
        fleet: The fleet; None for the default fleet.
    """
    given = default_fleet() if fleet is None else fleet
    given.serve_requests()
    opened = given.for_running_loop()
    try:
        yield opened
    finally:
        await opened.aclose()
