"""What the steps of a plan do.

Producers and operators (``producer.N``, ``operator``); a job is named by its own id, the one that its `enqueue` gave:

- enqueue: ``id``, ``function`` (of `jobs.FUNCTIONS`, default ``work``), ``acts`` (see `jobs`). Any other argument is an
  option of `Job`; ``priority`` is a name, and ``depends_on`` a list of own ids, or of ``[own id, otherwise]``.
- enqueue_many: ``jobs``, each as for enqueue. flow: ``name``; ``jobs`` with ``after`` (numbers), ``otherwise``.
- cron: ``name``, ``expression``, ``job`` (as for enqueue), and fields of `Cron`; or ``name``, ``remove``.
- signal: ``job``, ``name``, ``value``. wait: ``job``, ``timeout``. cancel, forget: ``job``. purge: ``job`` or
  ``queue``.
- pause, resume: ``queue``, ``group``, ``function``. move: ``job``, ``queue``. edit: ``job``, ``acts``. replay: ``job``.
- outbox: ``jobs``, each as for enqueue, and ``ends``: commit, rollback, die. Rows of a transaction.
- read: ``job``, ``pieces``: follow a stream; come back after each so many chunks (0: stay).
- rescue: options of `rescue`; the first group of dead letters. limit: ``name``, and what `limits.named` takes.

Machines (``worker.N``, ``reaper.N``):

- kill_child: ``child``. kill_worker: ``children`` (default true: as a machine that is lost).
- freeze, thaw: ``child``, or none for the supervisor; ``seen`` (default true; false: it hangs); ``whole``: the machine.
- start_worker, stop_worker: nothing.

``network``:

- partition: ``machine``, ``direction`` (up, down, both). mend: ``machine``, ``reset``.
- drop_reply, drop_request, late_request: ``machine``, ``script``, ``count``, ``silent``, ``by_us``, ``blocking``
  (waits and subscriptions, too). drop_reply: also ``word``, the first one that the reply must have.
- kill_at: ``machine``, ``script``, ``word``, ``count``, and ``when`` the process dies: ``sending`` (before the request
  leaves), ``sent`` (it is executed), ``replied`` (when the reply leaves).
- delay: ``machine``, ``least_us``, ``most_us``.

``server``:

- restart, failover: ``lost`` (writes), ``down_us``. script_flush: nothing.
- unreplicate: ``for_us``. The replica of a plan with `REPLICATED` gets no writes; a failover then loses those.
- readonly, loading, out_of_memory: ``for_us``. unready: ``word`` (of `server.REFUSALS`), ``for_us``.

``store``: unmount: ``machine``, ``how`` (away, empty), ``for_us``. ``database``: close_database: ``for_us``.

``clock``: jump: ``machine`` (or ``server``), ``by_us``. drift: ``machine``, ``rate``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from jobfleet.cron import Cron
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.model import After, Job, Priority
from jobfleet.model.flow import Flow, Node
from tests.simulation import jobs
from tests.simulation.beside import Reading
from tests.simulation.network import Armed
from tests.simulation.plan import Step

if TYPE_CHECKING:
    from tests.simulation.world import World


class Client:
    """What producers and operators do, and the answers.

    Args:
        world: The run.
        actor: Who it is.
        fleet: The product's client.
    """

    def __init__(self, world: World, actor: str, fleet: Any) -> None:
        self._world, self._actor, self.fleet = world, actor, fleet

    async def perform(self, step: Step) -> None:
        """Do a step; note the answer."""
        verb, args = step.verb, dict(step.args)
        work: Callable[..., Awaitable[Any]] = getattr(self, f"_{verb}")
        subjects = self._subjects(verb, args)
        try:
            answer = await work(**args)
        except StoreUnavailable:
            answer = "unknown StoreUnavailable"
        except JobfleetError as error:
            answer = f"refused {type(error).__name__}"
        for subject in subjects or [self._world.id_of(args["id"]) if args.get("id") else f"verb:{verb}"]:
            self._world.acknowledge(subject, self._actor, verb, answer)

    def _subjects(self, verb: str, args: dict[str, Any]) -> list[str]:
        if "job" in args and verb != "cron":
            return [self._world.id_of(args["job"])]
        if verb in ("cron", "rescue", "flow", "limit"):
            return [f"{verb}:{args.get('name', '')}"]
        if verb in ("pause", "resume", "purge"):
            return [f"queue:{args.get('queue', '')}"]
        return []

    def _job(self, args: dict[str, Any], *, in_flow: bool = False) -> Job:
        options = {
            name: value for name, value in args.items() if name not in ("function", "acts", "after", "otherwise")
        }
        parents = options.pop("depends_on", None)
        if parents is not None and not in_flow:
            options["depends_on"] = [
                self._world.id_of(one) if isinstance(one, str) else After(self._world.id_of(one[0]), one[1])
                for one in parents
            ]
        if "priority" in options:
            options["priority"] = Priority[options["priority"]]
        name = args.get("function", "work")
        acts = [[*act, "a" * act[1]] if act[0] == "large" else act for act in args.get("acts", [])]
        return Job(name, jobs.FUNCTIONS[name], (acts,), **options)

    async def _enqueue(self, **args: Any) -> Any:
        receipt = await self.fleet.submit(self._job(args))
        self._world.name(receipt.id.rpartition(".")[2], receipt.id)
        return {"id": receipt.id, "created": receipt.created}

    async def _enqueue_many(self, jobs: list[dict[str, Any]]) -> Any:
        ids = []
        for receipt in await self.fleet.enqueue_many([self._job(one) for one in jobs]):
            error = receipt.error
            answer = f"refused {type(error).__name__}" if error else {"id": receipt.id, "created": receipt.created}
            self._world.name(receipt.id.rpartition(".")[2], receipt.id)
            self._world.acknowledge(receipt.id, self._actor, "enqueue", answer)
            ids.append(receipt.id)
        return ids

    async def _flow(self, jobs: list[dict[str, Any]], name: str = "flow") -> Any:
        flow = Flow(name)
        nodes: list[Node] = []
        for args in jobs:
            after = [nodes[number] for number in args.get("after", ())]
            nodes.append(
                flow.add(self._job(args, in_flow=True), after=after, otherwise=args.get("otherwise", "cancel"))
            )
        info = await self.fleet.flows.enqueue(flow)
        ids = [str(one.id) for one in info.jobs]
        for job_id in ids:
            self._world.name(job_id.rpartition(".")[2], job_id)
            self._world.acknowledge(job_id, self._actor, "enqueue", {"id": job_id, "created": True})
        return {"flow": info.id, "ids": ids}

    async def _outbox(self, jobs: list[dict[str, Any]], ends: str = "commit") -> Any:
        database = self._world.beside.database
        if database is None or database.is_away:  # a smaller plan has left its setting out
            return "refused, there is no database"
        ids = database.write([self._job(args) for args in jobs], self.fleet, ends)
        for job_id in ids if ends == "commit" else ():
            self._world.name(job_id.rpartition(".")[2], job_id)
            self._world.acknowledge(job_id, self._actor, "enqueue", {"id": job_id, "created": True})
        return {"ids": ids, "ends": ends}

    async def _read(self, job: str, pieces: int = 0) -> Any:
        reading, position = Reading(self._world.id_of(job)), None
        self._world.beside.readings.append(reading)
        while not reading.is_over:
            try:
                async with aclosing(self.fleet.stream(reading.job_id, position)) as chunks:
                    async for one in chunks:
                        reading.rows.append((one.epoch, one.number, one.value, one.dropped, one.is_restart))
                        position = one.position
                        if pieces and len(reading.rows) % pieces == 0:
                            break
                    else:
                        reading.is_over = True
            except StoreUnavailable:
                await asyncio.sleep(1.0)
        return [list(row) for row in reading.rows]

    async def _cron(self, name: str, expression: str = "", job: Any = None, remove: bool = False, **fields: Any) -> Any:
        if remove:
            return await self.fleet.cron.remove(name)
        return await self.fleet.cron.add(name, Cron(expression, **fields), self._job(job or {}), replace=True)

    async def _signal(self, job: str, name: str, value: Any = None) -> Any:
        return await self.fleet.signal(self._world.id_of(job), name, value)

    async def _wait(self, job: str, timeout: float) -> Any:
        return (await self.fleet.wait(self._world.id_of(job), timeout=timeout)).status.value

    async def _cancel(self, job: str) -> Any:
        return await self.fleet.cancel(self._world.id_of(job))

    async def _forget(self, job: str) -> Any:
        return await self.fleet.forget(self._world.id_of(job))

    async def _purge(self, job: str | None = None, queue: str = "") -> Any:
        return await (self.fleet.purge_queue(queue) if job is None else self.fleet.purge(self._world.id_of(job)))

    async def _pause(self, **place: Any) -> Any:
        return await self.fleet.pause(**place)

    async def _resume(self, **place: Any) -> Any:
        return await self.fleet.resume(**place)

    async def _move(self, job: str, queue: str) -> Any:
        moved = str(await self.fleet.move(self._world.id_of(job), queue))
        self._world.name(job, moved)
        return {"id": moved}

    async def _edit(self, job: str, acts: Any) -> Any:
        return await self.fleet.edit(self._world.id_of(job), args=(acts,))

    async def _replay(self, job: str) -> Any:
        return str(await self.fleet.replay(self._world.id_of(job)))

    async def _rescue(self, **options: Any) -> Any:
        groups = await self.fleet.dead_groups()
        return str(await self.fleet.rescue(groups[0].fingerprint, **options)) if groups else None

    async def _limit(self, name: str, **options: Any) -> Any:
        return await self.fleet.limits.named(name, **options)


class Faults:
    """What happens to machines, the network, the server and clocks.

    Args:
        world: The run.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def perform(self, step: Step) -> None:
        """Do a step."""
        self._world.note(f"{step.actor} {step.verb} {sorted(step.args.items())}")
        act: Callable[..., None] = getattr(self, f"_{step.verb}")
        if step.actor.partition(".")[0] in ("worker", "reaper"):
            act(step.actor, **step.args)
        else:
            act(**step.args)

    # --- machines --------------------------------------------------------------------------------

    def _kill_child(self, actor: str, child: int = 0) -> None:
        process = self._world.machines.children.get(f"{actor}/{child}")
        if process is not None:
            process.signal(9)

    def _kill_worker(self, actor: str, children: bool = True) -> None:
        for process in self._world.processes(actor) if children else [self._world.mains[actor]]:
            process.signal(9)

    def _freeze(self, actor: str, child: int | None = None, seen: bool = True, whole: bool = False) -> None:
        for process in self._of(actor, child, whole):
            process.freeze(is_seen=seen)

    def _thaw(self, actor: str, child: int | None = None, whole: bool = False) -> None:
        for process in self._of(actor, child, whole):
            process.thaw()

    def _of(self, actor: str, child: int | None, whole: bool) -> list[Any]:
        if whole:
            return self._world.processes(actor)
        process = (
            self._world.mains.get(actor) if child is None else self._world.machines.children.get(f"{actor}/{child}")
        )
        return [] if process is None else [process]

    def _start_worker(self, actor: str) -> None:
        self._world.start(actor)

    def _stop_worker(self, actor: str) -> None:
        if actor in self._world.mains:
            self._world.mains[actor].signal(15)

    # --- the network -----------------------------------------------------------------------------

    def _partition(self, machine: str, direction: str = "both") -> None:
        self._world.network.partition(machine, direction)

    def _mend(self, machine: str, reset: bool = False) -> None:
        self._world.network.mend(machine, is_reset=reset)

    def _drop_reply(self, **args: Any) -> None:
        self._arm("drop_reply", **args)

    def _drop_request(self, **args: Any) -> None:
        self._arm("drop_request", **args)

    def _late_request(self, **args: Any) -> None:
        self._arm("late_request", **args)

    def _kill_at(self, when: str = "sent", **args: Any) -> None:
        self._arm(f"kill_{when}", **args)

    def _arm(
        self,
        kind: str,
        machine: str = "",
        script: str = "",
        word: str = "",
        count: int = 1,
        silent: bool = False,
        by_us: int = 8_000_000,
        blocking: bool = False,
    ) -> None:
        self._world.network.armed.append(
            Armed(
                kind,
                actor=machine,
                script=script,
                word=word,
                count=count,
                is_silent=silent,
                by_us=by_us,
                block=blocking,
            )
        )

    def _delay(self, machine: str = "", least_us: int = 0, most_us: int = 0) -> None:
        self._world.network.delays[machine] = (least_us, most_us)

    # --- the server ------------------------------------------------------------------------------

    def _restart(self, lost: int = 0, down_us: int = 500_000) -> None:
        self._down(self._world.server.lose, lost, down_us)

    def _failover(self, lost: int = 0, down_us: int = 500_000) -> None:
        self._down(self._world.server.fail_over, lost, down_us)

    def _unreplicate(self, for_us: int = 2_000_000) -> None:
        server = self._world.server
        server.stop_replication()
        self._world.loop.call_later(for_us / 1e6, server.resume_replication)

    def _down(self, lose: Callable[[int], int], lost: int, down_us: int) -> None:
        world = self._world
        world.network.is_up = False
        world.network.reset_all()
        gone = lose(lost)
        if gone and world.beside.store is not None:
            world.beside.store.can_be_empty = False
        world.note(f"server lost {gone} writes")
        world.loop.call_later(down_us / 1e6, self._up)

    def _up(self) -> None:
        self._world.network.is_up = True
        self._world.note("server is up")

    def _script_flush(self) -> None:
        self._world.server.forget_scripts()

    def _readonly(self, for_us: int = 2_000_000) -> None:
        self._refuse("readonly", for_us)

    def _loading(self, for_us: int = 2_000_000) -> None:
        self._refuse("loading", for_us)

    def _unready(self, word: str = "CLUSTERDOWN", for_us: int = 2_000_000) -> None:
        self._refuse(word.lower(), for_us)

    def _refuse(self, what: str, for_us: int) -> None:
        server = self._world.server
        server.refusal = what

        def end() -> None:
            if server.refusal == what:
                server.refusal = ""

        self._world.loop.call_later(for_us / 1e6, end)

    def _out_of_memory(self, for_us: int = 2_000_000) -> None:
        self._world.server.limit_memory(is_full=True)
        self._world.loop.call_later(for_us / 1e6, lambda: self._world.server.limit_memory(is_full=False))

    # --- beside it -------------------------------------------------------------------------------

    def _unmount(self, machine: str = "", how: str = "away", for_us: int = 2_000_000) -> None:
        store = self._world.beside.store
        if store is not None:
            store.away[machine] = how
            self._world.loop.call_later(for_us / 1e6, store.away.pop, machine, None)

    def _close_database(self, for_us: int = 2_000_000) -> None:
        database = self._world.beside.database
        if database is not None:
            database.is_away = True
            self._world.loop.call_later(for_us / 1e6, setattr, database, "is_away", False)

    # --- clocks ----------------------------------------------------------------------------------

    def _jump(self, machine: str, by_us: int) -> None:
        if machine == "server":
            self._world.server.ahead_us += by_us
        else:
            self._world.machine(machine).ahead_us += by_us

    def _drift(self, machine: str, rate: float) -> None:
        self._world.machine(machine).set_drift(rate)
