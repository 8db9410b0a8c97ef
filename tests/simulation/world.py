"""Runs a plan: the real code of a fleet in one process, in virtual time, from one seed.

Real: the supervisor (heartbeat, renewals, burials, crash recovery, ticks, relay, commands, hangs, stops), the children
(main program, engine, claimer, gates, settling, steps, waits, streams), the reapers with all their duties, the clients,
the stores with their pools and channels, and the scripts on a real Valkey.

Replaced: processes, signals, pipes and shared memory (`machines`), connections and the network (`network`), the clock
of the server and the ends of keys (`server`), the payload store and the database of the outbox (`beside`), clocks and
randomness (`reality`), threads (greenlets).

Not there: isolated and quarantine processes, imports of users' modules, signals of terminals, logs of jobs, metrics
endpoints, the archive, notifications, Sentinel and clusters.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from jobfleet.config import JobConfig
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.functions.context import JobContext
from jobfleet.store.script import Script
from jobfleet.store.target import target_of
from tests.simulation import beside, jobs, machines, reality
from tests.simulation.loop import PROCESS, START_US, Machine, Process, SimLoop
from tests.simulation.machines import Machines
from tests.simulation.network import Network
from tests.simulation.plan import FAULTS, REPLICATED, Outcome, Plan, Run, Step
from tests.simulation.server import PREFIX, Server, Texts, valkey
from tests.simulation.verbs import Client, Faults
from tests.support.state import exact

Observer = Callable[[int, str, Sequence[Any], Sequence[Any], Any], None]
"""Called after each script with: virtual µs since the start, script, KEYS, ARGV, reply."""
NAMESPACE = "sim"
URL = "redis://sim:6379/0"
SETTINGS: dict[str, Any] = {"slots": 4, "lease": 10.0, "grace": 10.0, "samples": False, "busy_poll": 0}
"""Settings of all runs; a plan may override them."""
LOOK_EVERY, QUIET_FOR, QUIET_MOST = 2.0, 20.0, 1800.0
"""Seconds of the time after the last step: between looks, in which nothing may be open, and at most."""
PLACES_WITHIN = 75.0
"""Seconds of quiet after which no dead run has a place within a limit or a breaker."""
COLLECTED_EVERY = 20_000
"""Exchanges between two collections of garbage, so that finalizers run at the same moment in each run."""
real_seconds = time.perf_counter


class _Run:
    """A run that is open, see `plan.Run`."""

    def __init__(self, ctx: JobContext, function: str, process: Process, us: int) -> None:
        self.job, self.attempt, self.fence, self.function = ctx.job_id, ctx.attempt, ctx.fence, function
        self.process, self.started_us = process, us
        self.ended_us: int | None = None
        self.ended = "died"
        self.effects: list[tuple[int, str]] = []

    def made(self) -> Run:
        """The value for the outcome."""
        return Run(
            self.job, self.attempt, self.process.machine.name, self.process.name, self.started_us, self.ended_us,
            self.ended, self.fence, self.function, tuple(self.effects),
        )  # fmt: skip


class World:
    """One run.

    Args:
        plan: What happens.
        loop: The loop.
        dice: The dice of the simulator.
        trace: Gets the lines.
        quiet: Seconds in which nothing may be open before the end, and at most.
    """

    def __init__(self, plan: Plan, loop: SimLoop, dice: Any, trace: list[str], quiet: tuple[float, float]) -> None:
        self.plan, self.loop = plan, loop
        self._quiet_for, self._quiet_most = quiet
        self.trace = trace
        self.network = Network(loop, dice, self.note, plan.travel_us)
        self.machines = Machines(loop, dice)
        self.server: Server
        self.mains: dict[str, Process] = {}
        self.acknowledged: dict[str, list[Any]] = {}
        self.runs: list[_Run] = []
        self._machines: dict[str, Machine] = {}
        self.beside = beside.Beside(plan.settings, lambda: loop.us)
        self._ids: dict[str, str] = {}
        self._clients: dict[str, Client] = {}
        self._faults = Faults(self)
        self._pending: dict[asyncio.Task[Any], None] = {}
        self.is_quiet = False

    def note(self, line: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.loop.us} {line}")

    # --- machines --------------------------------------------------------------------------------

    def machine(self, name: str) -> Machine:
        """A machine by its name."""
        if name not in self._machines:
            self._machines[name] = Machine(self.loop, name)
        return self._machines[name]

    def processes(self, actor: str) -> list[Process]:
        """All processes of a machine that live."""
        return [one for one in self.loop.processes.values() if one.machine.name == actor and not one.is_dead]

    def config(self, **more: Any) -> JobConfig:
        """The settings of a process."""
        own = {"processes": self.plan.children, **SETTINGS, **self.plan.settings, **more}
        return JobConfig(url=URL, namespace=NAMESPACE, **own)

    def start(self, actor: str) -> None:
        """Start a worker or a reaper, unless it lives."""
        if actor in self.mains and not self.mains[actor].is_dead:
            return
        process = self.mains[actor] = Process(self.loop, self.machine(actor), actor)
        process.context.run(process.run, self._until_started(actor))

    async def _until_started(self, actor: str) -> int:
        """Run a main program; start it again when it fails, as systemd does."""
        await asyncio.sleep(0.2)
        while True:
            config = self.config()
            try:
                if actor.startswith("reaper"):
                    return await machines.reap(config)
                return await machines.supervise(config, target_of(config))
            except Exception as error:  # the server is away, for instance
                self.note(f"{actor} failed {type(error).__name__}")
            await asyncio.sleep(1.0)

    def client(self, actor: str) -> Client:
        """A producer or an operator."""
        if actor not in self._clients:
            process = self.mains[actor] = Process(self.loop, self.machine(actor), actor)
            config = {**SETTINGS, **self.plan.settings}
            fleet = process.context.copy().run(
                lambda: AsyncFleet(url=URL, namespace=NAMESPACE, registry=jobs.registry, **config)
            )
            self._clients[actor] = Client(self, actor, fleet)
        return self._clients[actor]

    # --- ids and answers -------------------------------------------------------------------------

    def name(self, own: str, job_id: str) -> None:
        """Remember the job that a plan calls by its own id."""
        self._ids[own] = str(job_id)

    def id_of(self, own: str) -> str:
        """The id of a job that a plan has named."""
        return self._ids.get(own) or (own if own.count(".") >= 2 else f"default.0.{own}")

    def acknowledge(self, subject: str, actor: str, verb: str, answer: Any) -> None:
        """Note an answer."""
        self.acknowledged.setdefault(subject, []).append([self.loop.us, actor, verb, answer])
        self.note(f"{actor} {verb} {subject} -> {answer}")

    # --- what jobs tell: `jobs.Stage` --------------------------------------------------------------

    def begin(self, ctx: JobContext, function: str) -> _Run:
        """Code of a job begins."""
        run = _Run(ctx, function, self._process(), self.loop.us)
        self.runs.append(run)
        self.note(f"{run.process.name} run {run.job} attempt={run.attempt}")
        return run

    def effect(self, run: _Run, what: str) -> None:
        """It did something outside jobfleet."""
        if run.process.is_dead:
            return
        run.effects.append((self.loop.us, what))
        self.note(f"{run.process.name} effect {run.job} {what}")

    def end(self, run: _Run, how: str) -> None:
        """It has ended; a process that is dead tells nothing."""
        if not self.loop.is_over and not run.process.is_dead:
            run.ended, run.ended_us = how, self.loop.us
            self.note(f"{run.process.name} ended {run.job} {how}")

    def die(self) -> None:
        """End the process whose code runs."""
        self._process().signal(9)

    def sleep(self, seconds: float) -> None:
        """Sleep in a plain function."""
        machines.green_sleep(seconds)

    def runs_of(self, job_id: str) -> int:
        """How many runs of a job have begun."""
        return sum(run.job == job_id for run in self.runs)

    def producer(self) -> Any:
        """A client in the process whose code runs."""
        process: Any = self._process()
        if not hasattr(process, "fleet"):
            process.fleet = AsyncFleet(url=URL, namespace=NAMESPACE, registry=jobs.registry, **SETTINGS)
        return process.fleet

    def _process(self) -> Process:
        process = PROCESS.get()
        assert process is not None
        return process

    # --- the run ---------------------------------------------------------------------------------

    async def main(self) -> None:
        """Perform the plan, end all faults, and wait until nothing is open."""
        for number in range(self.plan.workers):
            self.start(f"worker.{number + 1}")
        for number in range(self.plan.reapers):
            self.start(f"reaper.{number + 1}")
        for step in sorted(self.plan.steps, key=lambda one: one.at_us):
            self.loop.call_at(step.at_us / 1e6, self._perform, step)
        while self.loop.us < self.plan.ends_us:
            await asyncio.sleep(min(1.0, (self.plan.ends_us - self.loop.us) / 1e6))
        self._heal()
        quiet_since = began = self.loop.us
        while self.loop.us - began < self._quiet_most * 1e6:
            await asyncio.sleep(LOOK_EVERY)
            if self._pending or self._open():
                quiet_since = self.loop.us
            elif self.loop.us - quiet_since >= self._quiet_for * 1e6 and self._is_swept(self.loop.us - quiet_since):
                self.is_quiet = True
                break

    def _perform(self, step: Step) -> None:
        if step.verb in FAULTS:
            self._faults.perform(step)
            return
        client = self.client(step.actor)
        context = self.mains[step.actor].context.copy()
        task = self.loop.create_task(client.perform(step), context=context)
        self._pending[task] = None
        task.add_done_callback(self._performed)

    def _performed(self, task: asyncio.Task[Any]) -> None:
        self._pending.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.broken.append(error)

    def _heal(self) -> None:
        self.note("world heals")
        network = self.network
        network.armed.clear()
        network.delays.clear()
        for name in sorted(network.cut):
            network.mend(name, is_reset=False)
        self.server.refusal = ""
        self.server.resume_replication()
        self.beside.heal()
        if not self.server.has_memory:
            self.server.limit_memory(is_full=False)
        for process in list(self.loop.processes.values()):
            process.thaw()
        for machine in self._machines.values():
            machine.set_drift(0.0)
        for kind, count in (("worker", self.plan.workers), ("reaper", max(1, self.plan.reapers))):
            for number in range(count):
                self.start(f"{kind}.{number + 1}")
        self._resume_all()

    def _resume_all(self) -> None:
        """Let the operator resume what is paused, and remove the recurring jobs, or nothing would become quiet."""
        paused: dict[str, dict[str, Any]] = {}
        entries: dict[str, None] = {}
        for step in sorted(self.plan.steps, key=lambda one: one.at_us):
            if step.verb == "pause":
                paused[repr(sorted(step.args.items()))] = step.args
            elif step.verb == "cron":
                entries[step.args["name"]] = None
        for args in paused.values():
            place = {name: value for name, value in args.items() if name in ("queue", "group", "function")}
            self._perform(Step(self.loop.us, "operator", "resume", place))
        for name in entries:
            self._perform(Step(self.loop.us, "operator", "cron", {"name": name, "remove": True}))

    def _is_swept(self, quiet_us: int) -> bool:
        """Whether the places of dead runs are free, or should be; the duty `retention` frees them once per minute."""
        return quiet_us >= PLACES_WITHIN * 1e6 or not self.server.count_inside()

    def _open(self) -> bool:
        return bool(self.server.count_open()) or self.beside.is_open


def simulate(
    plan: Plan,
    *,
    mutants: Mapping[str, Script | str] | None = None,
    observer: Observer | None = None,
    quiet_for: float = QUIET_FOR,
    quiet_most: float = QUIET_MOST,
) -> Outcome:
    """Run a plan to its end.

    Args:
        plan: What happens.
        mutants: Scripts, or texts of scripts, that replace those of a name.
        observer: Called after each script. If it has these methods, they are called, too: `begin(world)`; `after(us)`
            after each exchange; and `afterwards()`, a coroutine, when all is quiet.
        quiet_for: Seconds in which nothing may be open before the end.
        quiet_most: Seconds after which the run ends though something is open.

    Raises:
        AssertionError: The simulator, or code of the product outside its error handling, has failed.
    """
    valkey()  # before the clocks are replaced
    began = real_seconds()
    trace: list[str] = []
    loop = SimLoop(lambda line: trace.append(f"{loop.us} {line}"))
    clocks = reality.Clocks(loop, Machine(loop, "world"))
    logs = _Logs(loop, trace)
    gc.collect()  # what earlier runs have left, which would be frozen for good
    gc.disable()
    gc.freeze()  # what was there before is not looked at by the collections of the run
    try:
        with logs, reality.replaced(clocks, plan.seed) as dice:
            world = World(plan, loop, dice, trace, (quiet_for, quiet_most))
            world.server = Server(Texts(mutants or {}), lambda: loop.us, observer, world.network.publish)
            world.server.keeps_log = any(step.args.get("lost") for step in plan.steps)
            if REPLICATED.items() <= plan.settings.items():
                world.server.add_replica()
            world.server.every(COLLECTED_EVERY, gc.collect)
            world.network.server = world.server
            jobs.stage = world
            if (begin := getattr(observer, "begin", None)) is not None:
                begin(world)
            asyncio.set_event_loop(loop)
            try:
                with world.beside.replaced(), world.machines.replaced(world.network):
                    loop.run_until_complete(world.main())
                    state, ends = _state(world.server)
                    found = world.beside.found()
                    if (afterwards := getattr(observer, "afterwards", None)) is not None:
                        loop.run_until_complete(afterwards())
                    world.beside.close()
                exchanges = world.server.exchanges
            finally:
                _end(loop, world.server)
            us = loop.us
    finally:
        gc.unfreeze()
        gc.enable()
    if loop.broken:
        raise AssertionError(f"seed {plan.seed}: {loop.broken[0]!r}") from loop.broken[0]
    return Outcome(
        trace, [run.made() for run in world.runs], world.acknowledged, state, us, real_seconds() - began, exchanges,
        world.is_quiet, logs.lines, ends, found,
    )  # fmt: skip


def _state(server: Server) -> tuple[dict[str, Any], dict[str, int | None]]:
    """The whole state, and the virtual seconds after which each key ends."""
    client: Any = server.raw_client()
    state = {name: value for name, value in exact(client).items() if not name.startswith(PREFIX)}
    now_ms = server.us() // 1000
    ends = {}
    with client.pipeline(transaction=False) as pipe:
        for name in state:
            pipe.pexpiretime(name.encode())
        times = pipe.execute()
    for name, at_ms in zip(state, times, strict=True):
        if 0 <= at_ms < START_US // 1000:
            raise AssertionError(f"the key {name} ends by the clock of the server")
        ends[name] = None if at_ms < 0 else max(0, -(-(at_ms - now_ms) // 1000))
        if isinstance(state[name], tuple):  # the server has counted from its own clock
            state[name] = (state[name][0], ends[name])
    return state, ends


def _end(loop: SimLoop, server: Server) -> None:
    """Forget all processes: what is left of their code must not run."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        loop.clear()
        server.close()
        with warnings.catch_warnings(action="ignore"):
            gc.collect()
        loop.close()
        asyncio.set_event_loop(None)
    finally:
        sys.unraisablehook = hook


class _Logs(logging.Handler):
    """Takes the warnings of the product during a run, instead of all other handlers."""

    def __init__(self, loop: SimLoop, trace: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._loop, self._trace = loop, trace
        self.lines: list[str] = []
        self._log = logging.getLogger("jobfleet")

    def __enter__(self) -> Self:
        self._before = self._log.level, self._log.propagate, self._log.handlers[:]
        self._log.setLevel(logging.WARNING)
        self._log.propagate, self._log.handlers[:] = False, [self]
        logging.disable(logging.NOTSET)
        return self

    def __exit__(self, *_: object) -> None:
        level, self._log.propagate, self._log.handlers[:] = self._before
        self._log.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        if self._loop.is_over:
            return
        process = PROCESS.get()
        error = f" {record.exc_info[1]!r}" if record.exc_info else ""
        line = f"{self._loop.us} {process.name if process else '-'} log {record.getMessage()}{error}"
        self.lines.append(line)
        self._trace.append(line)
