"""A plan says what happens in a simulated run, and an outcome what came of it.

A plan is JSON; equal plans give equal runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

WORK = (
    "enqueue", "enqueue_many", "flow", "cron", "signal", "wait", "cancel", "pause", "resume", "move", "edit", "replay",
    "rescue", "forget", "purge", "limit", "outbox", "read",
)  # fmt: skip
"""The verbs of producers and operators."""
FAULTS = (
    "kill_child", "kill_worker", "freeze", "thaw", "start_worker", "stop_worker", "partition", "mend", "drop_reply",
    "drop_request", "late_request", "kill_at", "delay", "restart", "failover", "script_flush", "readonly", "loading",
    "unready", "out_of_memory", "jump", "drift", "unmount", "close_database", "unreplicate",
)  # fmt: skip
"""The verbs of machines, the network, the server and clocks."""
VERBS = (*WORK, *FAULTS)
REPLICATED: dict[str, Any] = {"durability": "replicated"}
"""Settings of plans whose server has a replica that confirms writes."""


class Step(NamedTuple):
    """One thing that happens. `tests/simulation/verbs.py` describes the arguments of each verb.

    Attributes:
        at_us: When, in virtual µs since the start of the run.
        actor: Who does it, or to whom it happens: ``producer.1``, ``worker.2``, ``reaper.1``, ``operator``,
            ``network``, ``server`` or ``clock``.
        verb: One of `VERBS`.
        args: Its arguments; only what JSON can hold.
    """

    at_us: int
    actor: str
    verb: str
    args: dict[str, Any]


class Plan(NamedTuple):
    """What happens in a run.

    Attributes:
        seed: Of all randomness of the run.
        workers: How many workers there are at the start.
        children: How many children each worker has.
        reapers: How many reapers there are at the start.
        settings: Settings of jobfleet that differ from the simulation's.
        steps: What happens; in any order.
        ends_us: When the last step and fault is over. Then all faults end, and the run continues until it is quiet.
        travel_us: How long each message travels; 0 for a time of its own each. With one time for all, much happens in
            the same moment, so races within one turn of an event loop come up.
    """

    seed: int
    workers: int
    children: int
    reapers: int
    settings: dict[str, Any]
    steps: tuple[Step, ...]
    ends_us: int
    travel_us: int = 0

    def dumped(self) -> str:
        """The plan as JSON."""
        return json.dumps({**self._asdict(), "steps": [step._asdict() for step in self.steps]}, sort_keys=True)

    @classmethod
    def loaded(cls, text: str) -> Plan:
        """Read a plan from JSON."""
        fields = json.loads(text)
        return cls(**{**fields, "steps": tuple(Step(**step) for step in fields["steps"])})


class Run(NamedTuple):
    """A run of a job's code, as an observer outside jobfleet sees it.

    Attributes:
        job: The id of the job.
        attempt: Its attempt, as the code received it.
        worker: The worker's name in the plan, such as ``worker.1``.
        child: The child's number within the simulation, such as ``worker.1/0``.
        started_us: When its code began, virtual µs since the start.
        ended_us: When its code ended; None if the process died first.
        ended: How: ``returned``, ``raised <type>``, ``cancelled``, ``died``.
        fence: Its fencing token.
        function: The name of the function.
        effects: What the code did outside jobfleet, in order: ``[virtual µs, what]``.
    """

    job: str
    attempt: int
    worker: str
    child: str
    started_us: int
    ended_us: int | None
    ended: str
    fence: int
    function: str
    effects: tuple[tuple[int, str], ...]


class Outcome(NamedTuple):
    """What came of a plan.

    Attributes:
        trace: A line per exchange, start and end of a run, and fault; equal for equal plans and code.
        runs: The runs of jobs' code, in the order of their starts.
        acknowledged: The answers to producers and operators, per job id: a list of ``[virtual µs, actor, verb,
            answer]``. Steps without a job (pause …) stand under the name of what they name, such as ``queue:mail``.
        state: The whole state of Redis after a quiet period, as `tests.support.state.exact` says it.
        virtual_us: How long the run took in virtual time.
        real_s: How long it took in real time.
        exchanges: How many exchanges with the server there were.
        is_quiet: Whether nothing was open at the end; else the time for that was over.
        logs: What the product has logged as a warning or an error; also in the trace.
        ends: The virtual seconds after which each key ends at the end of the run; None for a key that stays.
        beside: What is beside Redis at the end: a `beside.Found`.
    """

    trace: list[str]
    runs: list[Run]
    acknowledged: dict[str, Any]
    state: dict[str, Any]
    virtual_us: int
    real_s: float
    exchanges: int
    is_quiet: bool = True
    logs: Sequence[str] = ()
    ends: Mapping[str, int | None] = MappingProxyType({})
    beside: Any = None
