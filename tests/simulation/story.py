"""Tells a plan in plain English, one sentence per step.

A plan that was shrunk may lack any argument; a sentence then leaves out what it does not know, or says the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.simulation.plan import Plan, Step

ACTS: dict[str, str] = {
    "sleep": "works for {} s", "effect": "has the effect {}", "step": "runs the step {} for {} s",
    "emit": "emits {!r}", "emits": "emits {} chunks, one each {} s", "checkpoint": "stores {}={}",
    "progress": "reports progress {}", "large": "has an argument of {} bytes", "result": "returns {} bytes",
    "wait": "waits for the signal {} for up to {} s", "nap": "sleeps durably for {} s",
    "fail_for_good": "fails for good", "lock": "holds the lock {} for {} s",
    "stubborn": "ignores its cancellation for {} s", "die": "crashes its process",
}  # fmt: skip
"""What the code of a job does; see `jobs` for the arguments."""
OPTIONS: dict[str, str] = {
    "delay": "due after {} s", "expires_in": "expires after {} s", "unique": "unique key {}", "priority": "priority {}",
    "group": "group {}", "queue": "queue {}", "max_crashes": "up to {} crashes", "function": "function {}",
}  # fmt: skip
"""Options of a job, in words; others stand with their names."""
DOES: dict[str, str] = {
    "cancel": "cancels {job}", "move": "moves {job} to the queue {queue}", "replay": "replays {job}",
    "forget": "erases {job}", "rescue": "rescues the newest group of dead letters",
    "signal": "sends {job} the signal {name} with the value {value}",
    "kill_child": "loses its child {child} to SIGKILL",
    "stop_worker": "gets SIGTERM", "start_worker": "starts, unless it runs",
    "script_flush": "forgets all scripts (SCRIPT FLUSH)",
    "readonly": "refuses all writes (READONLY) for {for_us}", "loading": "answers LOADING for {for_us}",
    "unready": "answers {word} for {for_us}", "out_of_memory": "has no memory left for {for_us}",
    "unreplicate": "sends nothing to its replica for {for_us}", "close_database": "cannot be opened for {for_us}",
    "wait": "waits for {job} for up to {timeout} s",
}  # fmt: skip
"""What an actor does, for verbs whose sentence always has the same form."""
DEFAULTS: dict[str, Any] = {"child": 0, "word": "CLUSTERDOWN", "value": None, "for_us": 2_000_000, "timeout": "?"}


def sentences(plan: Plan) -> list[str]:
    """Tell a plan: its machines, what happens, when it ends."""
    with_children = f" with {_many(plan.children, 'child')}{' each' if plan.workers > 1 else ''}"
    verb = "is" if plan.workers == 1 else "are"
    lines = [f"There {verb} {_many(plan.workers, 'worker')}{with_children}, and {_many(plan.reapers, 'reaper')}."]
    if plan.settings:
        lines.append(f"Settings: {', '.join(f'{name} = {value}' for name, value in sorted(plan.settings.items()))}.")
    if plan.travel_us:
        lines.append(f"Each message travels for {plan.travel_us / 1000:g} ms.")
    steps = sorted(plan.steps, key=lambda one: one.at_us)
    lines += [f"{step.at_us / 1e6:10.3f} s  {sentence(step)}." for step in steps]
    return [*lines, f"{plan.ends_us / 1e6:10.3f} s  All faults are over."]


def sentence(step: Step) -> str:
    """Tell a step."""
    who, args = _who(step.actor), step.args
    tell = TELLERS.get(step.verb)
    if tell is not None:
        return str(tell(who, args))
    form = DOES[step.verb]
    values = {**DEFAULTS, **args}
    if "for_us" in form:
        values["for_us"] = _seconds(values["for_us"])
    return f"{who} {form.format_map(_Known(values))}"


class _Known(dict[str, Any]):
    """Arguments, of which a shrunk plan may lack some."""

    def __missing__(self, key: str) -> str:
        return f"an unnamed {key}"


# --- producers and operators -----------------------------------------------------------------------


def _enqueue(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} enqueues {_job(args)}"


def _enqueue_many(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} enqueues in one call {_jobs(args)}"


def _flow(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} enqueues the flow {args.get('name', '')} of {_jobs(args)}"


def _outbox(who: str, args: Mapping[str, Any]) -> str:
    ends = {"commit": "commits it", "rollback": "rolls it back", "die": "dies before it commits"}
    return f"{who} writes into a transaction {_jobs(args)}, and {ends[args.get('ends', 'commit')]}"


def _cron(who: str, args: Mapping[str, Any]) -> str:
    if args.get("remove"):
        return f"{who} removes the recurring job {args.get('name')}"
    what = _acts(args.get("job", {}).get("acts", ()))
    return f"{who} adds the recurring job {args.get('name')}, which at `{args.get('expression', '')}` {what}"


def _limit(who: str, args: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} {value}" for name, value in args.items() if name != "name")
    return f"{who} defines the limit {args.get('name')}: {options or 'none'}"


def _edit(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} edits {args.get('job')}, which now {_acts(args.get('acts', ()))}"


def _purge(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} deletes the dead letter{'s of the queue' if 'queue' in args else ' of'} {_first(args)}"


def _pause(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} pauses {_places(args)}"


def _resume(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} resumes {_places(args)}"


def _read(who: str, args: Mapping[str, Any]) -> str:
    pieces = args.get("pieces", 0)
    return f"{who} reads the stream of {args.get('job')}" + (f", and comes back after each {pieces}" if pieces else "")


# --- faults ----------------------------------------------------------------------------------------


def _kill_worker(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} loses {'all its processes' if args.get('children', True) else 'its main process'} to SIGKILL"


def _freeze(who: str, args: Mapping[str, Any]) -> str:
    seen = "" if args.get("seen", True) else ", unseen by its parent: it hangs"
    return f"{_part(who, args)} freezes{seen}"


def _thaw(who: str, args: Mapping[str, Any]) -> str:
    return f"{_part(who, args)} continues"


def _partition(who: str, args: Mapping[str, Any]) -> str:
    ways = {"both": "", "up": ": requests do not arrive", "down": ": replies do not arrive"}
    return f"{who} cuts off {_whose(args)}{ways[args.get('direction', 'both')]}"


def _mend(who: str, args: Mapping[str, Any]) -> str:
    how = "resets its connections" if args.get("reset") else "delivers what was held back"
    return f"{who} reaches {_whose(args)} again, and {how}"


def _drop_reply(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} loses the {_exchanges('reply', args)}, {_how(args)}"


def _drop_request(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} loses the {_exchanges('request', args)}, {_how(args)}"


def _late_request(who: str, args: Mapping[str, Any]) -> str:
    late = _seconds(args.get("by_us", 8_000_000))
    return f"{who} holds the {_exchanges('request', args)}, for {late}, and the client sees no end"


def _kill_at(who: str, args: Mapping[str, Any]) -> str:
    when = {"sending": "before it leaves", "sent": "as soon as it has left", "replied": "when the reply to it leaves"}
    which = _exchanges("request", {**args, "machine": ""})
    return f"SIGKILL hits {_whose(args)} at its {which}, {when[args.get('when', 'sent')]}"


def _delay(who: str, args: Mapping[str, Any]) -> str:
    most = args.get("most_us", 0)
    least = args.get("least_us", 0)
    takes = f"{_seconds(least)} to {_seconds(most)} longer" if most else "no longer than usual"
    return f"{who} takes {takes} for the messages of {_whose(args)}"


def _restart(who: str, args: Mapping[str, Any]) -> str:
    return f"{who} restarts within {_seconds(args.get('down_us', 500_000))}"


def _failover(who: str, args: Mapping[str, Any]) -> str:
    lost = args.get("lost", 0)
    lacks = f"the last {_times(lost, 'write')}" if lost else "what that has not got"
    return f"{who} fails over to its replica within {_seconds(args.get('down_us', 500_000))}, and loses {lacks}"


def _unmount(who: str, args: Mapping[str, Any]) -> str:
    how = "is an empty folder" if args.get("how") == "empty" else "is away"
    return f"{who} {how} for {_whose(args)} for {_seconds(args.get('for_us', 2_000_000))}"


def _jump(who: str, args: Mapping[str, Any]) -> str:
    by_us = args.get("by_us", 0)
    return f"The clock of {_whose(args)} jumps {'back' if by_us < 0 else 'ahead'} by {_seconds(abs(by_us))}"


def _drift(who: str, args: Mapping[str, Any]) -> str:
    rate = args.get("rate", 0.0)
    return f"The clock of {_whose(args)} goes {abs(rate):.1%} too {'slow' if rate < 0 else 'fast'}"


TELLERS = {
    "enqueue": _enqueue, "enqueue_many": _enqueue_many, "flow": _flow, "outbox": _outbox, "cron": _cron,
    "limit": _limit, "edit": _edit, "purge": _purge, "pause": _pause, "resume": _resume, "read": _read,
    "kill_worker": _kill_worker, "freeze": _freeze, "thaw": _thaw, "partition": _partition, "mend": _mend,
    "drop_reply": _drop_reply, "drop_request": _drop_request, "late_request": _late_request, "kill_at": _kill_at,
    "delay": _delay, "restart": _restart, "failover": _failover, "unmount": _unmount, "jump": _jump, "drift": _drift,
}  # fmt: skip
"""The sentences of the other verbs."""


# --- parts -----------------------------------------------------------------------------------------


def _job(args: Mapping[str, Any], names: Iterable[str] = ()) -> str:
    """Tell a job: what it does, and its options."""
    notes, names = [], list(names)
    if args.get("function", "work") == "work":
        args = {name: value for name, value in args.items() if name != "function"}
    after = [names[number] for number in args.get("after", ()) if number < len(names)]
    if after := after + [str(one) for one in args.get("depends_on", ())]:
        notes.append(f"after {_and(after)}{', even if that fails' if args.get('otherwise') == 'run' else ''}")
    if args.get("order") == "strict":
        notes.append("in strict order")
    for name, value in args.items():
        if name not in {"id", "acts", "after", "depends_on", "otherwise", "order"}:
            notes.append(OPTIONS.get(name, f"{name} {{}}").format(value))
    return f"{args.get('id', 'a job')}, which {_acts(args.get('acts', ()))}" + (
        f" ({', '.join(notes)})" if notes else ""
    )


def _jobs(args: Mapping[str, Any]) -> str:
    jobs = args.get("jobs", ())
    names = [str(one.get("id", "a job")) for one in jobs]
    return "; ".join(_job(one, names) for one in jobs) or "no job"


def _acts(acts: Iterable[Any]) -> str:
    return _and([_act(*act) for act in acts if act]) or "does nothing"


def _act(name: str, *args: Any) -> str:
    if name == "add":
        return f"adds a job to its flow that {_acts(args[0] if args else ())}"
    if name == "enqueue":
        return f"enqueues a job that {_acts(args[0] if args else ())}"
    if name == "fail":
        return f"fails in its first {_times(args[0] if args else 0, 'attempt')}"
    if name == "snooze":
        return f"puts itself off by {args[0]} s in its first {_times(args[1], 'run')}"
    return ACTS[name].format(*args, "?", "?")


def _who(actor: str) -> str:
    names = {"network": "The network", "server": "The server", "store": "The payload store", "database": "The database"}
    return names.get(actor, actor[:1].upper() + actor[1:].replace(".", " "))


def _whose(args: Mapping[str, Any]) -> str:
    machine = str(args.get("machine", ""))
    return "the server" if machine == "server" else machine.replace(".", " ") or "all machines"


def _part(who: str, args: Mapping[str, Any]) -> str:
    """What of a machine freezes."""
    if args.get("whole"):
        return f"{who} as a whole"
    return (
        f"The main process of {who.lower()}" if args.get("child") is None else f"Child {args['child']} of {who.lower()}"
    )


def _exchanges(what: str, args: Mapping[str, Any]) -> str:
    count, script = args.get("count", 1), args.get("script", "")
    plural = {"reply": "replies", "request": "requests"}[what] if count != 1 else what
    which = {"reply": " to", "request": " of"}[what] + f" `{script}`" if script else ""
    if word := args.get("word"):
        which += f" {'that' if what == 'reply' else 'whose reply'} begins with `{word}`"
    machine = f" of {_whose(args)}" if args.get("machine") else ""
    return f"next {f'{count} ' if count != 1 else ''}{plural}{which}{machine}"


def _how(args: Mapping[str, Any]) -> str:
    return "and the connection stays open" if args.get("silent") else "and the connection is reset"


def _places(args: Mapping[str, Any]) -> str:
    return " and ".join(f"the {kind} {name}" for kind, name in args.items()) or "nothing"


def _first(args: Mapping[str, Any]) -> Any:
    return next(iter(args.values()), "nothing")


def _seconds(us: int) -> str:
    return f"{us / 1e6:g} s"


def _times(count: int, what: str) -> str:
    return what if count == 1 else f"{count} {what}s"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _many(count: int, what: str) -> str:
    words = ("no", "one", "two", "three", "four", "five")
    plural = {"child": "children"}.get(what, f"{what}s")
    return f"{words[count] if count < len(words) else count} {what if count == 1 else plural}"
