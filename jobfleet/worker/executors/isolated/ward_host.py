"""What a ward does: it runs several suspects side by side, as a child runs its jobs, on its loop and in threads.

One thread hears the line. Whatever ends this process ends it for these jobs only.
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
from jobfleet.codec import Limits, encode, open_envelope
from jobfleet.config import JobConfig
from jobfleet.errors import JobCancelled
from jobfleet.model import split_id
from jobfleet.outcome import Interrupted
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.isolated.channel import ChannelEnd
from jobfleet.worker.executors.isolated.loading import find, flush, loop_factory, missing
from jobfleet.worker.executors.isolated.process_group import end_group
from jobfleet.worker.executors.isolated.remote_error import Told, tell
from jobfleet.worker.executors.isolated.remote_run import IsolatedRun
from jobfleet.worker.executors.loop import LoopExecutor
from jobfleet.worker.executors.thread import ThreadExecutor
from jobfleet.worker.run.executor import Executor
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.resources import CLOSING, Resources
from jobfleet.worker.run.stop_state import Stage

log = logging.getLogger("jobfleet.worker")


class Ward:
    """Runs the suspects of one ward.

    Args:
        frames: What comes down the line.
        talker: The way up.
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
        self._limits = Limits(max_bytes=config.max_payload, max_depth=config.max_depth)
        self._runs: dict[int, IsolatedRun] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    def serve(self) -> None:
        """Run jobs until this process is told to leave; it ends with the worker's process in any case."""
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
        executors: dict[str, Executor] = {"async": LoopExecutor(), "thread": ThreadExecutor()}
        self._around = MiddlewareChain(self._handlers.hooks, self._handlers.around, executors, resources)
        self._turn()
        threading.Thread(target=self._hear, name="jobfleet-hearer", daemon=True).start()
        await self._over.wait()
        await resources.close(CLOSING)

    def _turn(self) -> None:
        """Show the child that the loop turns; the number 0 is no run's."""
        self._talker.report("turn", 0)
        self._loop.call_later(self._config.hang_after / 4, self._turn)

    def _hear(self) -> None:
        try:
            for word, *rest in self._frames:
                if word == "run":
                    number, order = rest
                    self._runs[number] = run = self._run(number, order)
                    self._loop.call_soon_threadsafe(self._begin, run, order)
                elif word == "leave":
                    self._loop.call_soon_threadsafe(self._over.set)
                elif (heard := self._runs.get(rest[0])) is not None:
                    self._take(heard, word, *rest[1:])
        finally:  # also when hearing fails: a process that can't be told to stop must not stay
            end_group()

    def _run(self, number: int, order: dict[str, Any]) -> IsolatedRun:
        grant = Grant(*order["grant"])
        place = split_id(grant.id)
        run = IsolatedRun(number, self._keys.lane(place.queue, place.lane), grant, self._talker, self._limits)
        run.parents = [tuple(row) for row in order["parents"]]
        return run

    def _take(self, run: IsolatedRun, word: str, *rest: Any) -> None:
        """Take what concerns a run, at once even where a job blocks the loop."""
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
            self._tell(run, missing(order, error))
            return
        run.handler = handler
        if boottime() < order["until"]:
            self._launch(run, handler)
        else:  # the modules took long to load, or this process, or the worker's, was frozen
            task = self._loop.create_task(self._launch_once_it_stands(run, handler))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _launch_once_it_stands(self, run: IsolatedRun, handler: Handler) -> None:
        await run.lease_confirmed()
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
            self._around.launch(run, handler, self._child, opened.args, opened.kwargs, ended)
        except Exception as error:  # noqa: BLE001 - whatever the envelope says, it must not end the ward
            self._ended(run, None, error)

    def _ended(self, run: IsolatedRun, value: Any, error: BaseException | None) -> None:
        if error is None:
            try:
                self._tell(run, {"how": "value", "value": encode(value, limits=self._limits, what="result")})
                return
            except BaseException as unreadable:  # noqa: BLE001 - what it returned may raise anything
                error = unreadable
        assert run.handler is not None, "it has begun"  # noqa: S101 - for the type checker
        self._tell(run, tell(error, run.handler.policy, traceback_bytes=self._config.traceback_bytes))

    def _tell(self, run: IsolatedRun, told: Told) -> None:
        del self._runs[run.number]
        flush()
        self._talker.send("ended", run.number, told, True)
