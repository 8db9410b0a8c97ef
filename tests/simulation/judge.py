"""Judges a simulated run: the ledger after each exchange, at the end the invariants of `scripts/chaos` and more.

A fault that loses writes excuses what it may have lost: jobs that were acknowledged shortly before it, and their ends.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model.spec import split_id
from tests.simulation import beside
from tests.simulation.afterwards import EXPLAINED, SHARE, Afterwards, not_gone
from tests.simulation.coverage import Coverage
from tests.simulation.ledger import FINAL, Ledger
from tests.simulation.plan import FAULTS, REPLICATED, Outcome, Plan
from tests.simulation.probe import IDLE, LATE_NEWS, LEASED, Probe
from tests.simulation.world import QUIET_MOST, World, simulate
from tests.support.chaos import judging
from tests.support.chaos.case import Case
from tests.support.chaos.history import Record
from tests.support.chaos.trail import Breach, Trail

LEFT, LATE, WAITING, STUCK = 42, 43, 44, 46
NAMES = {
    LATE: "late requests do nothing",
    WAITING: "what waits has a reason",
    STUCK: "the run becomes quiet",
    **beside.NAMES,
    LEASED: "a lease is there just as long as its run",
    IDLE: "an idle child claims at once",
    EXPLAINED: "explain says why a job waits",
    LATE_NEWS: "dependants are notified at once",
}
"""Invariants that `scripts/chaos` does not have."""
CHECKS: tuple[tuple[int, Callable[[Case], Iterator[str]]], ...] = (
    (1, judging.nothing_is_lost),
    (4, judging.fences_grow),
    (5, judging.fences_differ),
    (9, judging.counters_agree),
    (20, judging.parents_first),
    (25, judging.no_late_start),
    (28, judging.nothing_left),
    (29, judging.counters_agree_with_trail),
)
"""What is judged as `scripts/chaos` judges it."""
UNDISTURBING = frozenset({"jump", "drift", "kill_child", "kill_worker", "start_worker", "stop_worker", "script_flush"})
"""Faults after which those whom they do not hit go on at once."""
EXCUSED = 6
"""So many times the exchanges that a fault has lost, in scripts that write, are excused: one may have several."""
OPEN = ("lease", "runs", "tries", "meta", "unique", "expiry", "grouped", "ring", "gdue", "held")
"""Keys of a lane that are empty when nothing is open. Locks may be kept for a time."""
_TAG = re.compile(r"^\{[^{}:]+:([^{}:]+):(\d+)\}:(.*)$", re.DOTALL)


class Verdict(NamedTuple):
    """What came of a plan.

    Attributes:
        plan: The plan.
        outcome: Its outcome; None if the simulation itself ended with an error.
        ledger: What was followed.
        breaches: What was violated.
    """

    plan: Plan
    outcome: Outcome | None
    ledger: Ledger
    breaches: list[Breach]

    @property
    def coverage(self) -> Coverage:
        """What was met."""
        return self.ledger.coverage

    @property
    def invariants(self) -> frozenset[int]:
        """The numbers of the violated invariants."""
        return frozenset(breach.invariant for breach in self.breaches)

    @property
    def faults(self) -> int:
        """How many faults the plan has."""
        return sum(step.verb in FAULTS for step in self.plan.steps)


class Watch:
    """Observes a run: hands exchanges to the ledger, and notes the faults whose time has come.

    Args:
        plan: The plan that runs.
        stops: Whether to end the run with the first violation.
    """

    def __init__(self, plan: Plan, *, stops: bool = False) -> None:
        self.ledger = Ledger()
        self.probe = Probe(self.ledger)
        self.later = Afterwards(self.ledger)
        self._stops = stops
        self._lost = 0
        self._due = sorted((step for step in plan.steps if step.verb in FAULTS), key=lambda step: -step.at_us)

    def __call__(self, now_us: int, script: str, keys: Any, args: Any, reply: Any) -> None:
        """Take an exchange into account."""
        while self._due and self._due[-1].at_us <= now_us:
            step = self._due.pop()
            self.ledger.coverage.fault(step.verb, self.ledger.states())
            if step.verb in {"jump", "drift"}:
                self.ledger.stamp = 0
            if step.verb == "jump" and step.args.get("machine") == "server":
                self.ledger.step_back(min(0, int(step.args.get("by_us", 0))))
            if step.verb not in UNDISTURBING:
                self.probe.disturb(now_us)
        if (lost := self._world.server.lost) > self._lost:
            self.ledger.lose((lost - self._lost) * EXCUSED)
            self._lost = lost
        self.ledger(now_us, script, keys, args, reply)
        self.probe.saw(script, keys, args, reply)
        self.later.saw(script, args, self._world.server.us())

    def begin(self, world: World) -> None:
        """A run begins."""
        self._world = world
        world.network.hits = self.ledger.coverage.hits
        self.probe.begin(world)
        self.later.begin(world)

    async def afterwards(self) -> None:
        """Let the retentions of a share of runs pass, when all is quiet."""
        self.probe.ends()
        if self._world.is_quiet and self._world.plan.seed % SHARE == 0:
            await self.later.age(self._world)

    def after(self, now_us: int) -> None:
        """Look at the server, after an exchange."""
        self.probe.after(now_us)
        if self._stops and self.ledger.breaches:
            raise FoundError


class FoundError(KeyboardInterrupt):
    """An invariant is violated: the run need not go on. Event loops let only this kind of exception through."""


def run(plan: Plan, mutants: Mapping[str, str] | None = None, *, stops: bool = False) -> Verdict:
    """Run a plan, and judge it.

    Args:
        plan: The plan.
        mutants: The texts of scripts that have a planted bug.
        stops: Whether to end the run with the first violation, without an outcome.
    """
    watch = Watch(plan, stops=stops)
    try:
        outcome = simulate(plan, mutants=mutants, observer=watch)
    except FoundError:
        return Verdict(plan, None, watch.ledger, watch.ledger.breaches)
    except AssertionError as error:
        stuck = Breach(STUCK, str(error).partition("\n")[0])
        return Verdict(plan, None, watch.ledger, [*watch.ledger.breaches, stuck])
    left = [Breach(LEFT, what) for what in not_gone(watch.later.left or {})]
    return Verdict(plan, outcome, watch.ledger, [*judged(plan, outcome, watch.ledger), *left])


def judged(plan: Plan, outcome: Outcome, ledger: Ledger) -> list[Breach]:
    """All violations of a run."""
    state = State(outcome.state)
    case = _case(plan, outcome, ledger, state)
    found = list(ledger.breaches)
    for number, check in CHECKS:
        found += [Breach(number, what) for what in check(case)]
    if not outcome.is_quiet:
        found.append(Breach(STUCK, f"it is not quiet {QUIET_MOST / 60:.0f} minutes after the last fault"))
    found += [Breach(WAITING, what) for what in waits_for_a_reason(state, ledger)]
    found += [Breach(2, what) for what in nothing_is_invented(plan, ledger)]
    found += [Breach(1, what) for what in what_was_confirmed_is_there(plan, outcome, ledger, state)]
    found += beside.judged(outcome.beside, outcome.runs, outcome.state, ledger)
    if ledger.lost_at is None:
        found += [Breach(27, what) for what in results_are_there(outcome, ledger, state)]
        found += [Breach(7, what) for what in judging.last_grant_wins(case)]
        found += [Breach(39, what) for what in sequences_keep_their_order(outcome, ledger)]
    return found


class State:
    """The final state, by lane.

    Args:
        keys: All keys with their values, as `tests.support.state.exact` has them.

    Attributes:
        lanes: For each lane, its keys without the tag.
        open: The lane of each job that has an envelope.
        endings: Status and token of each job that has a result.
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self.lanes: dict[str, dict[str, Any]] = defaultdict(dict)
        self.fleet: dict[str, Any] = {}
        self.open: dict[str, str] = {}
        self.endings: dict[str, tuple[str, int]] = {}
        for key, value in keys.items():
            match = _TAG.match(key)
            if match is None:
                self.fleet[key] = value
                continue
            lane, name = f"{match[1]}.{match[2]}", match[3]
            self.lanes[lane][name] = value
            kind, _, job_id = name.partition(":")
            if kind == "job":
                self.open[job_id] = lane
            elif kind == "result":
                line = (value[0] if isinstance(value, tuple | list) else value).partition("\n")[0].split(" ")
                if len(line) > 2 and line[0] in FINAL:
                    self.endings[job_id] = (line[0], int(line[2]) if line[2].isdigit() else 0)

    def of(self, job_id: str) -> dict[str, Any]:
        """The keys of a job's lane."""
        try:
            place = split_id(job_id)
        except JobNotFound:
            return {}
        return self.lanes.get(f"{place.queue}.{place.lane}", {})

    def size(self, name: str) -> Iterator[tuple[str, int]]:
        """The number of members of a key in each lane that has it."""
        for lane, keys in self.lanes.items():
            if keys.get(name):
                yield lane, len(keys[name])


def _case(plan: Plan, outcome: Outcome, ledger: Ledger, state: State) -> Case:
    """The run as the checks of `scripts/chaos` read it."""
    history: list[Record] = []
    flows = _parents(plan, outcome)
    for number, (job_id, answers) in enumerate(sorted(outcome.acknowledged.items())):
        for at_us, actor, verb, answer in answers:
            if verb == "enqueue" and isinstance(answer, dict) and answer["id"] == job_id:
                at, parents = at_us / 1e6, {"parents": flows[job_id]} if job_id in flows else {}
                history.append(
                    Record(at, f"{actor}/{number}", "invoke", "enqueue", job_id, 0, {"call": number, **parents})
                )
                history.append(Record(at, f"{actor}/{number}", "ok", "enqueue", job_id, 0, {"answer": job_id}))
    for one in outcome.runs:
        history.append(Record(one.started_us / 1e6, one.child, "invoke", "run", one.job, one.fence, {"call": one.job}))
        kind: Any = {"returned": "ok", "died": "unknown"}.get(one.ended, "fail")
        if one.ended_us is not None:
            history.append(Record(one.ended_us / 1e6, one.child, kind, "run", one.job, one.fence))
    history.sort(key=lambda record: record.at)
    jobs: dict[str, Any] = {}
    for job_id in {*outcome.acknowledged, *ledger.jobs}:
        known = ledger.jobs.get(job_id)
        if job_id in state.open:
            jobs[job_id] = {"status": known.state if known else "queued", "fence": 0}
        elif job_id in state.endings:
            jobs[job_id] = dict(zip(("status", "fence"), state.endings[job_id], strict=True))
        elif known and known.state in FINAL:
            jobs[job_id] = {"status": known.state, "fence": known.highest}
        elif known and not known.is_sure and known.may_be_lost:
            jobs[job_id] = {"status": "lost", "fence": 0}
    has_open = bool(state.open)
    left = {f"{lane}:{name}": size for name in OPEN if not has_open for lane, size in state.size(name)}
    left |= {name: len(value) for name, value in state.fleet.items() if "}:inside:" in name and not has_open}
    totals = {lane.rpartition(".")[0]: keys["totals"] for lane, keys in state.lanes.items() if "totals" in keys}
    windows = [[0.0, 1e12]] if ledger.lost_at is not None else []
    facts = {"fault": "", "seed": plan.seed, "seconds": 0.0, "windows": windows, "keeps": ("fast",), "level": "fast"}
    trail = Trail(events=ledger.events, steps=ledger.step)
    return Case(history, trail, facts, {"jobs": jobs, "left": left, "totals": totals})


def _parents(plan: Plan, outcome: Outcome) -> dict[str, list[str]]:
    """The parents whose completion the jobs of flows need, where all were acknowledged."""
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        jobs = step.args["jobs"] if step.verb == "flow" else ()
        ids = [f"default.0.{one['id']}" for one in jobs]
        for one, job_id in zip(jobs, ids, strict=True):
            is_needed = one.get("otherwise", "cancel") == "cancel" and job_id in outcome.acknowledged
            if one.get("after") and is_needed:
                found[job_id] = [ids[at] for at in one["after"]]
    return found


def waits_for_a_reason(state: State, ledger: Ledger) -> Iterator[str]:
    """Once all faults are over and the run is quiet, what is open waits for what nobody has done."""
    for job_id in state.open:
        known = ledger.jobs.get(job_id)
        what = known.state if known else "unknown"
        if not any(_reasons(state, ledger, job_id)):
            yield f"{job_id} is {what}, and nothing hinders it"


def _reasons(state: State, ledger: Ledger, job_id: str) -> Iterator[bool]:
    """For each reason to wait that the state can show, whether it holds."""
    lane, known = state.of(job_id), ledger.jobs.get(job_id)
    conf = lane.get("conf", {})
    yield "paused" in conf or "functions" in conf
    steps = lane.get(f"steps:{job_id}", {})
    yield bool(steps.get("@", "").partition(" ")[2])  # it waits for a signal that nobody has sent
    parents = lane.get(f"parents:{job_id}", {})
    yield any(text.startswith("?") and name in state.open for name, text in parents.items())
    yield any(text.startswith("?w") for text in parents.values())
    yield bool(known and known.place) and any(
        other.group == known.group and other.place is not None and (other.id in state.open or other.policy == "p")
        for other in ledger.jobs.values()
        if known is not None and other.place is not None and known.place is not None and other.place < known.place
    )


def nothing_is_invented(plan: Plan, ledger: Ledger) -> Iterator[str]:
    """Every job was asked for: by a step, a cron entry, or a job that adds one, whose id then begins with its own."""
    asked = [one for step in plan.steps for one in [step.args, *step.args.get("jobs", ())]]
    names = {one["id"] for one in asked if "id" in one}
    for job_id in ledger.jobs:
        own = job_id.partition(".0.")[2].partition(".")[0]
        if own not in names and not own.startswith("cron:"):
            yield f"{job_id} was enqueued, and nobody had asked for it"


def what_was_confirmed_is_there(plan: Plan, outcome: Outcome, ledger: Ledger, state: State) -> Iterator[str]:
    """No failover loses a job whose enqueue a replica has confirmed."""
    if not REPLICATED.items() <= plan.settings.items():
        return
    for job_id, answers in outcome.acknowledged.items():
        is_kept = job_id in state.open or job_id in state.endings or job_id in state.of(job_id).get("dead", {})
        for _, _, verb, answer in answers:
            is_confirmed = verb == "enqueue" and isinstance(answer, dict) and answer["id"] == job_id
            if is_confirmed and not is_kept and job_id not in ledger.forgotten:
                yield f"the enqueue of {job_id} was confirmed, and it is unknown"


def results_are_there(outcome: Outcome, ledger: Ledger, state: State) -> Iterator[str]:
    """A job completes under a run whose code has returned, and its result is there while it is kept."""
    returned = {(one.job, one.fence) for one in outcome.runs if one.ended == "returned"}
    for event in ledger.events:
        if event.event == "ended" and event.status == "completed" and (event.id, event.token) not in returned:
            yield f"{event.id} completed under {event.token}, whose code has not returned"
    forgotten = ledger.forgotten
    for job_id, known in ledger.jobs.items():
        if known.state in FINAL and job_id not in state.endings and job_id not in forgotten:
            if job_id not in state.of(job_id).get("dead", {}):
                yield f"{job_id} is {known.state}, and has no result"
        elif known.state in FINAL and job_id in state.endings and state.endings[job_id][0] != known.state:
            yield f"{job_id} was reported as {known.state}, and is {state.endings[job_id][0]}"


def sequences_keep_their_order(outcome: Outcome, ledger: Ledger) -> Iterator[str]:
    """The code of a job of a sequence starts after that of the jobs before it has ended for good."""
    groups: dict[str, list[str]] = defaultdict(list)
    for known in ledger.jobs.values():
        if known.place is not None:
            groups[known.group].append(known.id)
    ends: dict[str, int] = {}
    starts: dict[str, int] = {}
    fences = {event.id: event.token for event in ledger.events if event.event == "ended" and event.token}
    for one in outcome.runs:
        starts.setdefault(one.job, one.started_us)
        if one.ended_us is not None and fences.get(one.job) == one.fence:
            ends[one.job] = one.ended_us
    for ids in groups.values():
        ids.sort(key=lambda job_id: ledger.jobs[job_id].place or 0)
        for before, after in pairwise(ids):
            if before in ends and after in starts and starts[after] < ends[before]:
                yield f"the code of {after} started before that of {before} had ended"


def counted(breaches: list[Breach]) -> Counter[int]:
    """How often each invariant was violated."""
    return Counter(breach.invariant for breach in breaches)
