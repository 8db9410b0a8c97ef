"""Tells a plan in plain English, one sentence per step."""

from __future__ import annotations

from typing import Any

from tests.simulation.plan import Plan, Step

DOES = {
    "cancel": "cancels {job}", "pause": "pauses the queue {queue}", "resume": "resumes the queue {queue}",
    "move": "moves {job} to the queue {queue}", "edit": "edits {job}", "replay": "replays {job}",
    "rescue": "rescues the newest group of dead letters", "forget": "erases {job}",
    "purge": "deletes the dead letter of {job}",
    "signal": "sends {job} the signal {name} with the value {value}",
    "kill_child": "loses its child {child} to SIGKILL",
    "kill_worker": "loses all its processes to SIGKILL", "freeze": "freezes", "thaw": "continues",
    "start_worker": "starts", "stop_worker": "gets SIGTERM", "script_flush": "forgets all scripts",
}  # fmt: skip
"""What an actor does, for the verbs whose sentence needs no more than their arguments."""
ACTS = {
    "sleep": "works for {0} s", "effect": "does {0}", "step": "runs the step {0} for {1} s", "emit": "emits {0!r}",
    "checkpoint": "stores {0}={1}", "progress": "reports progress {0}", "wait": "waits up to {1} s for the signal {0}",
    "nap": "sleeps durably for {0} s", "fail": "fails in its first {0} attempts", "fail_for_good": "fails for good",
    "snooze": "puts itself off by {0} s in its first {1} attempts", "lock": "holds the lock {0} for {1} s",
    "stubborn": "ignores its cancellation for {0} s", "die": "ends its process",
}  # fmt: skip


def sentences(plan: Plan) -> list[str]:
    """Tell a plan: its machines, what happens, when it ends."""
    machines = (
        f"{_many(plan.workers, 'worker')} with {_many(plan.children, 'child')} each, {_many(plan.reapers, 'reaper')}"
    )
    settings = ", ".join(f"{name} {value}" for name, value in sorted(plan.settings.items()))
    lines = [f"There are {machines}{'; ' + settings if settings else ''}."]
    lines += [
        f"{step.at_us / 1e6:10.3f} s  {sentence(step)}." for step in sorted(plan.steps, key=lambda one: one.at_us)
    ]
    return [*lines, f"{plan.ends_us / 1e6:10.3f} s  All faults end."]


def sentence(step: Step) -> str:
    """Tell a step."""
    who = step.actor[0].upper() + step.actor[1:].replace(".", " ")
    args = step.args
    if step.verb in {"enqueue", "enqueue_many", "flow"}:
        jobs = args.get("jobs") or [args]
        what = {"enqueue": "enqueues", "enqueue_many": "enqueues in one call", "flow": "enqueues the flow of"}[
            step.verb
        ]
        return f"{who} {what} {'; '.join(_job(one) for one in jobs)}"
    if step.verb in DOES:
        try:
            return f"{who} {DOES[step.verb].format(**args)}{_rest(args, DOES[step.verb])}"
        except KeyError:
            pass
    return f"{who}: {step.verb.replace('_', ' ')}{_rest(args, '')}"


def _job(args: dict[str, Any]) -> str:
    """Tell a job: its function, what it does, its options."""
    acts = ", ".join(_act(*act) for act in args.get("acts", ()))
    options = {name: value for name, value in args.items() if name not in {"id", "function", "acts"} and value != []}
    after = f" ({_listed(options)})" if options else ""
    return f"{args.get('id', 'a job')}, which {acts or 'does nothing'}{after}"


def _act(name: str, *args: Any) -> str:
    if name in {"add", "enqueue"}:
        return f"{name}s a job that {', '.join(_act(*act) for act in args[0])}"
    return ACTS[name].format(*args) if name in ACTS else f"{name} {args}"


def _rest(args: dict[str, Any], used: str) -> str:
    """The arguments that a sentence does not name."""
    left = {name: value for name, value in args.items() if f"{{{name}}}" not in used and value not in ("", 0, False)}
    return f" ({_listed(left)})" if left else ""


def _listed(args: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.removesuffix('_us')} {value / 1e6:g} s" if name.endswith("_us") else f"{name} {value}"
        for name, value in args.items()
    )


def _many(count: int, what: str) -> str:
    words = ("no", "one", "two", "three", "four", "five")
    plural = "children" if what == "child" else f"{what}s"
    return f"{words[count] if count < len(words) else count} {what if count == 1 else plural}"
