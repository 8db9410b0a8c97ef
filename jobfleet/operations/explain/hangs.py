"""Checks for event loops that do not turn: of a child that runs the job, or of those that could. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.clock import span
from jobfleet.model.result import Reason, ReasonCode
from jobfleet.operations.explain.held import HUNG
from jobfleet.operations.explain.reasons import NAMED_WORKERS, listed
from jobfleet.operations.explain.snapshot import Snapshot
from jobfleet.operations.explain.waiting import able
from jobfleet.operations.workers.info import ChildInfo, WorkerInfo
from jobfleet.store.records import InRun


def blocking(seen: Snapshot) -> Reason | None:
    """The event loop of its child does not turn."""
    found = seen.lane.found
    child = found.run.child if isinstance(found, InRun) else ""
    place = next(((one, each) for one in seen.workers for each in one.processes if each.id == child), None)
    if place is None or place[0].is_gone or place[1].state != HUNG:
        return None
    gone, held = _hung_for(seen, *place), seen.held.get(child, ())
    names = ["It" if name == seen.id else name for name in sorted(held, key=lambda name: name != seen.id)]
    text = f"{_block(names, 'its child', gone)}, so that the other coroutines there do not go on. {_remedy(child)}"
    return Reason(ReasonCode.BLOCKING, text, {"since": gone, "child": child, "jobs": held})


def hung(seen: Snapshot) -> Reason | None:
    """Children that could run it hang, and no other one has a free slot."""
    those = [worker for worker in able(seen) if worker.state == "running"]
    children = [(one, each) for one in those for each in one.processes if each.state in {HUNG, "running", "loading"}]
    stuck = [(one, each) for one, each in children if each.state == HUNG]
    if not seen.is_due or not stuck or not all(one.processes for one in those):  # an older worker reports no children
        return None
    if any(each.state != HUNG and each.running < each.slots for _, each in children):
        return None
    stuck.sort(key=lambda place: -(_hung_for(seen, *place) or 0.0))
    named = [_block(seen.held.get(each.id, ()), each.id, _hung_for(seen, one, each)) for one, each in stuck]
    more = len(named) - NAMED_WORKERS
    text = f"{_which(len(stuck), len(children))}. {'. '.join(named[:NAMED_WORKERS])}. "
    text += f"The same for {more} more. " if more > 0 else ""
    jobs = [job for _, each in stuck for job in seen.held.get(each.id, ())]
    facts = {"since": _hung_for(seen, *stuck[0]), "children": [each.id for _, each in stuck], "jobs": jobs}
    return Reason(ReasonCode.HUNG, text + _remedy(stuck[0][1].id), facts)


def _hung_for(seen: Snapshot, worker: WorkerInfo, child: ChildInfo) -> float | None:
    """Seconds since the event loop has turned; None if the worker does not report it."""
    if not child.hung_for or worker.beat is None:
        return None
    return child.hung_for + max(0.0, seen.ago(round(worker.beat.timestamp() * 1e6)))


def _block(jobs: Sequence[str], child: str, gone: float | None) -> str:
    """The sentence that says which jobs may block an event loop, and for how long they do."""
    if not jobs:
        return f"The event loop of {child} does not turn" + ("" if gone is None else f" for {span(gone)}")
    who = jobs[0] if len(jobs) == 1 else f"{jobs[0]}, or one of {listed(jobs[1:])},"
    return f"{who} blocks the event loop of {child}" if gone is None else (
        f"{who} has blocked the event loop of {child} for {span(gone)}"
    )  # fmt: skip


def _which(stuck: int, children: int) -> str:
    if children == 1:
        return "The only child that could run it hangs"
    if stuck == children:
        return f"All {children} children that could run it hang"
    return f"Of {children} children that could run it, {stuck} {'hangs' if stuck == 1 else 'hang'}, the others are full"


def _remedy(child: str) -> str:
    return (
        "Await in its 'async def', or make it a plain 'def', which runs in a thread; "
        f"'jobfleet workers stacks {child}' shows where it is."
    )
