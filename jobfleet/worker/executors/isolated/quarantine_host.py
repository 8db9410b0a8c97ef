"""The main program of a quarantine process: it runs several suspects, on its event loop and in threads.

One thread reads from the channel. If a job ends this process, only these jobs are affected.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from jobfleet.clock import boottime
from jobfleet.codec import encode, open_envelope
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import JobCancelled
from jobfleet.model import split_id
from jobfleet.outcome import Interrupted
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.isolated.channel import ChannelEnd, EndReport, describe_ending
from jobfleet.worker.executors.isolated.confinement import end_group
from jobfleet.worker.executors.isolated.loading import find, flush, loop_factory, missing, warm_up
from jobfleet.worker.executors.isolated.remote_run import IsolatedRun
from jobfleet.worker.executors.local import local_executors
from jobfleet.worker.run import hooks
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.resources import CLOSING, Resources
from jobfleet.worker.run.run import Stage

log = logging.getLogger("jobfleet.worker")


class QuarantineHost:
    """Runs the suspects of one quarantine process.

    Args:
        frames: The frames from the worker's process.
        talker: Sends frames to the worker's process.
        child: The child whose jobs it runs.
        config: The settings.
        handlers: The functions.
    """

    def __init__(
        self, frames: Iterator[list[Any]], talker: ChannelEnd, child: str, config: JobConfig, handlers: Handlers
    ) -> None:
        self._frames = frames
        self._talker = talker
        self._child = child
        self._config = config
        self._handlers = handlers
        self._keys = Keyspace(config.namespace)
        self._limits = limits_of(config)
        self._runs: dict[int, IsolatedRun] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    def serve(self) -> None:
        """Run jobs until the frame ``leave`` arrives. This process ends with the worker's process in any case."""
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            try:
                runner.run(self._live())
            except BaseException:  # a job has stopped the loop
                log.exception("ward.broken its event loop has ended")
                flush()
                os._exit(1)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        resources = Resources()
        executors = local_executors()
        self._middleware = MiddlewareChain(self._handlers.hooks, self._handlers.around, executors, resources)
        if not await warm_up(self._handlers, self._talker):
            return
        self._turn()
        threading.Thread(target=self._read, name="jobfleet-reader", daemon=True).start()
        await self._over.wait()
        await resources.close(CLOSING)
        await hooks.stop(self._handlers.hooks, CLOSING)

    def _turn(self) -> None:
        """Show the child that the event loop is alive. No run has the number 0."""
        self._talker.report("turn", 0)
        self._loop.call_later(self._config.hang_after / 4, self._turn)

    def _read(self) -> None:
        try:
            for word, *rest in self._frames:
                if word == "run":
                    number, order = rest
                    self._runs[number] = run = self._run(number, order)
                    self._loop.call_soon_threadsafe(self._begin, run, order)
                elif word == "leave":
                    self._loop.call_soon_threadsafe(self._over.set)
                elif (known := self._runs.get(rest[0])) is not None:
                    self._take(known, word, *rest[1:])
        finally:  # also when reading fails: a process that cannot be stopped must not stay
            end_group()

    def _run(self, number: int, order: dict[str, Any]) -> IsolatedRun:
        grant = Grant(*order["grant"])
        place = split_id(grant.id)
        run = IsolatedRun(number, self._keys.lane(place.queue, place.lane), grant, self._talker, self._limits)
        run.parents = [tuple(row) for row in order["parents"]]
        run.join_trace(self._handlers.hooks.tracer, order)
        return run

    def _take(self, run: IsolatedRun, word: str, *rest: Any) -> None:
        """Take a frame about a run, at once, even if a job blocks the event loop."""
        if word == "answer":
            number, value, error = rest
            run.answered(number, value, tuple(error) if error else None)
            return
        run.flag(*rest)
        if word == "stop":
            run.is_stopped = True
            self._loop.call_soon_threadsafe(self._stop, run)

    def _stop(self, run: IsolatedRun) -> None:
        run.stop.interrupt(Interrupted())
        if run.executor is not None:
            run.executor.stop(run, Stage.RAISED)

    def _begin(self, run: IsolatedRun, order: dict[str, Any]) -> None:
        try:
            handler = find(self._handlers, order)
        except Exception as error:  # noqa: BLE001 - whatever the user's module raises while it is imported
            self._report(run, missing(order, error))
            return
        run.handler = handler
        if boottime() < order["until"]:
            self._launch(run, handler)
        else:  # slow imports, or a frozen process
            task = self._loop.create_task(self._launch_when_confirmed(run, handler))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _launch_when_confirmed(self, run: IsolatedRun, handler: Handler) -> None:
        try:
            await run.lease_confirmed()
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the run must end
            self._ended(run, None, error)
            return
        if run.must_stop is None:
            self._launch(run, handler)
        else:
            why = f"{run.id} was not started: {run.must_stop}."
            self._ended(run, None, JobCancelled(why, job_id=run.id))

    def _launch(self, run: IsolatedRun, handler: Handler) -> None:
        try:
            opened = open_envelope(run.grant.envelope, limits=self._limits)
            run.header = opened.header
            ended = partial(self._ended, run)
            self._middleware.launch(run, handler, self._child, opened.args, opened.kwargs, ended)
        except Exception as error:  # noqa: BLE001 - whatever the envelope says, it must not end this process
            self._ended(run, None, error)

    def _ended(self, run: IsolatedRun, value: Any, error: BaseException | None) -> None:
        if error is None:
            try:
                self._report(run, {"how": "value", "value": encode(value, limits=self._limits, what="result")})
                return
            except BaseException as unreadable:  # noqa: BLE001 - what it returned may raise anything
                error = unreadable
        assert run.handler is not None, "it has begun"  # noqa: S101 - for the type checker
        self._report(run, describe_ending(run, run.handler, error, traceback_bytes=self._config.traceback_bytes))

    def _report(self, run: IsolatedRun, report: EndReport) -> None:
        del self._runs[run.number]
        flush()
        self._talker.send("ended", run.number, report, True)
