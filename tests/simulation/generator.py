"""Makes a plan from a seed: what producers and operators do, and the faults, with a preference for what is rare so far.

A plan consists of scenes: a few steps that belong together, such as a flow, a job that waits with the signal for it, or
a queue that is paused and resumed. Faults come at any time, about one per ten virtual seconds, but rather while jobs
are in a state in which few faults have met one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.beside import OUTBOX, STORE
from tests.simulation.coverage import Coverage, drawn
from tests.simulation.plan import FAULTS, REPLICATED, Plan, Step

SECOND = 1_000_000
FAULT_EVERY = 10.0
"""Virtual seconds per fault."""
TRAVELS = (0, 0, 0, 200, 250, 500)
"""Times that messages travel, see `Plan.travel_us`."""
CALM = (0.0, 0.0, 0.5, 1.0)
"""Shares of a plan that pass before the first fault: until then all that waits is judged."""
SWARM = 0.5
"""The share of plans with few kinds of scenes, and of those with few kinds of faults: what is of one kind meets itself
more often (swarm testing, A. Groce et al., ISSTA 2012)."""
FEW = (1, 2, 3, 4)
"""How many kinds these have."""
MACHINES = frozenset({"kill_child", "kill_worker", "freeze", "thaw", "start_worker", "stop_worker"})
NETWORK = frozenset({"partition", "mend", "drop_reply", "drop_request", "late_request", "kill_at", "delay"})
EXCHANGES = ("drop_reply", "drop_request", "late_request", "kill_at")
"""Faults that hit one exchange. They are drawn three times as often: each has many exchanges to hit."""
TARGETS = (
    "claim claimed", "settle settled", "enqueue_plain enqueued", "enqueue enqueued", "renew renewed", "tick ticked",
    "unblock unblocked", "bury buried", "signal signalled", "keep kept", "pass_gates passed", "cancel cancelled",
    "beat beat", "pending_ends pending",
)  # fmt: skip
"""Exchanges that faults of the network aim at: a script, and the first word of a reply that has changed something."""
OFTEN = TARGETS[:4]
"""Half of the faults aim at these, on which most depends."""
NEEDS = {"unmount": "payload_store", "close_database": "outbox_url", "unreplicate": "durability"}
"""Settings without which a fault does nothing."""
SIGNALS = ("go", "stop")
GROUPS = ("red", "blue")
SETTINGS: dict[str, tuple[Any, ...]] = {"slots": (1, 2, 4, 8), "lease": (6.0, 10.0, 30.0), "grace": (1.0, 5.0)}
Acts = list[list[Any]]
Made = tuple[int, str, dict[str, Any]]
"""A step without its actor: when, what, with what."""


class Generator:
    """Draws one plan.

    Args:
        seed: Of all choices.
        coverage: What earlier plans have met.
    """

    def __init__(self, seed: int, coverage: Coverage) -> None:
        self.dice = Random(f"plan {seed}")
        self.seed, self.coverage = seed, coverage
        self.steps: list[Step] = []
        self.settings: dict[str, Any] = {}
        self.jobs: list[str] = []
        self.travel_us = self.dice.choice(TRAVELS)
        self.length = self.dice.choice((20, 40, 40, 80, 80, 160)) * SECOND
        self.workers = self.dice.choice((1, 2, 2, 3, 4))
        self.children = self.dice.choice((1, 1, 2, 3))
        self.reapers = self.dice.choice((0, 1, 1, 2))
        self._scenes: dict[str, tuple[Callable[[int], None], str]] = {
            "plain": (self.plain, "queued"), "many": (self.many, "queued"), "later": (self.later, "scheduled"),
            "flaky": (self.flaky, "retrying"), "doomed": (self.doomed, "failed"), "flow": (self.flow, "blocked"),
            "signal": (self.signal, "sleeping"), "nap": (self.nap, "sleeping"), "cancel": (self.cancel, "cancelled"),
            "stop": (self.stop, "cancelling"), "pause": (self.pause, "paused"), "limited": (self.limited, "queued"),
            "sequence": (self.sequence, "blocked"), "group": (self.group, "queued"), "few": (self.few, "queued"),
            "expire": (self.expire, "expired"), "long": (self.long, "running"), "steps": (self.in_steps, "running"),
            "crash": (self.crash, "running"), "unique": (self.unique, "queued"), "twice": (self.twice, "completed"),
            "urgent": (self.urgent, "queued"), "growing": (self.growing, "completed"), "lock": (self.lock, "running"),
            "edit": (self.edit, "scheduled"), "move": (self.move, "scheduled"), "cron": (self.cron, "completed"),
            "replay": (self.replay, "failed"), "shares": (self.shares, "queued"), "broken": (self.broken, "retrying"),
            "blocking": (self.blocking, "running"), "comb": (self.comb, "blocked"), "stream": (self.stream, "running"),
            "large": (self.large, "running"), "outbox": (self.outbox, "queued"), "durable": (self.durable, "queued"),
        }  # fmt: skip

    def plan(self) -> Plan:
        """Draw the plan."""
        need = self.coverage.states_by_need()
        weights = {name: 0.2 + need[state] / max(need.values()) for name, (_, state) in self._scenes.items()}
        if self.dice.random() < SWARM:
            few = [drawn(self.dice, weights) for _ in range(self.dice.choice(FEW))]
            weights = {name: weights[name] for name in few}
        self.add(0, "operator", "limit", {"name": "api", "concurrency": self.dice.choice((1, 2, 3))})
        for _ in range(self.dice.choice((2, 4, 8, 16, 24))):
            self._scenes[drawn(self.dice, weights)][0](self.dice.randrange(self.length))
        self.calm_us = round(self.dice.choice(CALM) * self.length)
        faults = [one for one in FAULTS if NEEDS.get(one, one) in {one, *self.settings}] + 2 * [*EXCHANGES]
        if self.dice.random() < SWARM:
            faults = self.dice.choices(faults, self.coverage.faults_by_need(faults), k=self.dice.choice(FEW))
        for _ in range(math.ceil((self.length - self.calm_us) / SECOND / FAULT_EVERY)):
            self._fault(faults)
        settings = {name: self.dice.choice(values) for name, values in SETTINGS.items()} | self.settings
        steps = tuple(sorted(self.steps, key=lambda step: step.at_us))
        ends_us = max(self.length, steps[-1].at_us + SECOND)
        return Plan(self.seed, self.workers, self.children, self.reapers, settings, steps, ends_us, self.travel_us)

    # --- scenes ----------------------------------------------------------------------------------

    def plain(self, at: int) -> None:
        """A short job."""
        self.enqueue(at, "work", [self.work(), self.effect()])

    def many(self, at: int) -> None:
        """Several jobs in one call."""
        names = [self.name() for _ in range(self.dice.randrange(2, 12))]
        jobs = [{"id": name, "acts": [self.work(0.5)]} for name in names]
        self.add(at, self.producer(), "enqueue_many", {"jobs": jobs})

    def later(self, at: int) -> None:
        """A scheduled job."""
        self.enqueue(at, "work", [self.work()], delay=self.seconds(1, 30))

    def flaky(self, at: int) -> None:
        """A job that fails at first."""
        self.enqueue(at, "work", [self.work(1.0), ["fail", self.dice.randrange(1, 4)], self.effect()])

    def doomed(self, at: int) -> None:
        """A job that fails for good."""
        self.enqueue(at, "work", [self.work(1.0), ["fail_for_good"]])

    def long(self, at: int) -> None:
        """A job that runs longer than its lease."""
        self.enqueue(at, "work", [["sleep", self.seconds(5, 40)], self.effect()])

    def blocking(self, at: int) -> None:
        """A job in a thread."""
        self.enqueue(at, "blocking", [["sleep", self.seconds(0, 10)], self.effect()])

    def crash(self, at: int) -> None:
        """A job that ends its process, beside innocent ones."""
        for _ in range(self.dice.randrange(3)):
            self.enqueue(at, "work", [["sleep", self.seconds(1, 8)]])
        self.enqueue(at, "work", [self.work(1.0), ["die"]], max_crashes=2)

    def in_steps(self, at: int) -> None:
        """A job with steps, which fails once in the middle."""
        acts: Acts = [["step", f"s{n}", self.seconds(0, 3)] for n in range(self.dice.randrange(2, 5))]
        acts.insert(self.dice.randrange(1, len(acts)), ["fail", 1])
        self.enqueue(at, "work", acts)

    def urgent(self, at: int) -> None:
        """Jobs of several priorities, more than can run at once."""
        for number in range(self.dice.randrange(4, 20)):
            priority = self.dice.choice(("CRITICAL", "HIGH", "NORMAL", "LOW"))
            self.enqueue(at + number * 1000, "work", [self.work(3.0)], priority=priority)

    def unique(self, at: int) -> None:
        """Jobs with the same key."""
        key = self.dice.choice(("a", "b"))
        for _ in range(self.dice.randrange(2, 4)):
            self.enqueue(self.soon(at, 5), "work", [self.work()], unique=key)

    def twice(self, at: int) -> None:
        """The same job twice: one job."""
        self.enqueue(at, "work", [self.work(), self.effect()])
        self.add(self.soon(at, 5), self.producer(), "enqueue", dict(self.steps[-1].args))

    def flow(self, at: int) -> None:
        """Jobs that wait for others."""
        jobs: list[dict[str, Any]] = []
        for number in range(self.dice.randrange(2, 8)):
            after = sorted(self.dice.sample(range(number), min(number, self.dice.randrange(3))))
            jobs.append({"id": self.name(), "acts": [self.work(1.0)], "after": after})
        if self.dice.random() < 0.2:
            jobs[0]["acts"].append(["fail_for_good"])
            for one in jobs[1:]:
                one["otherwise"] = self.dice.choice(("cancel", "run"))
        self.add(at, self.producer(), "flow", {"name": f"f{len(self.jobs)}", "jobs": jobs})

    def comb(self, at: int) -> None:
        """Flows of pairs of jobs, one after the other; the first ones end within the time of a few exchanges."""
        for flow in range(self.dice.choice((1, 4))):
            jobs: list[dict[str, Any]] = []
            for number in range(self.dice.choice((2, 2, 4, 8))):
                jobs.append({"id": self.name(), "acts": [["sleep", round(0.3 + self.dice.random() / 100, 6)]]})
                jobs.append({"id": self.name(), "acts": [self.work(0.2)], "after": [2 * number]})
            self.add(at + flow * SECOND, self.producer(), "flow", {"name": f"f{len(self.jobs)}", "jobs": jobs})

    def growing(self, at: int) -> None:
        """A flow whose job adds a job."""
        acts = [self.work(0.5), ["add", [self.work(0.5), self.effect()]]]
        self.add(at, self.producer(), "flow", {"name": "growing", "jobs": [{"id": self.name(), "acts": acts}]})

    def signal(self, at: int) -> None:
        """A job that waits for a signal, which is sent before, in time, or twice with other values."""
        signal, seconds = self.dice.choice(SIGNALS), self.seconds(5, 60)
        acts = [self.work(0.5), ["wait", signal, seconds], ["nap", self.seconds(0, 5)], ["wait", signal, seconds]]
        name = self.enqueue(at, "work", [*acts, self.effect()])
        for number in range(self.dice.choice((1, 1, 2, 3))):
            when = self.soon(at, 20)
            self.add(when, self.producer(), "signal", {"job": name, "name": signal, "value": f"{name}-{number}"})

    def nap(self, at: int) -> None:
        """A job that sleeps durably."""
        self.enqueue(at, "work", [["nap", self.seconds(1, 20)], self.work(), ["nap", 1.0], self.effect()])

    def cancel(self, at: int) -> None:
        """A job that is cancelled, mostly while it waits."""
        name = self.enqueue(at, "work", [self.work()], delay=self.seconds(0, 20))
        self.add(self.soon(at, 20), "operator", "cancel", {"job": name})

    def stop(self, at: int) -> None:
        """A job that is cancelled while it runs, and may not obey at once."""
        acts = [["stubborn", self.seconds(1, 6)]] if self.dice.random() < 0.5 else [["sleep", 30.0]]
        name = self.enqueue(at, "work", acts)
        self.add(self.soon(at, 4), "operator", "cancel", {"job": name})

    def pause(self, at: int) -> None:
        """A queue is paused for a while, in which jobs come."""
        over = self.soon(at, 20)
        self.add(at, "operator", "pause", {"queue": "default"})
        for _ in range(self.dice.randrange(1, 4)):
            self.enqueue(self.dice.randrange(at, over + 1), "work", [self.work(), self.effect()])
        self.add(over, "operator", "resume", {"queue": "default"})
        if self.dice.random() < 0.3:
            self.add(over + self.dice.randrange(10_000), "operator", "pause", {"queue": "default"})
            self.add(self.soon(over + 10_000, 5), "operator", "resume", {"queue": "default"})

    def limited(self, at: int) -> None:
        """More jobs of a named limit than may run at once; some fail."""
        for number in range(self.dice.randrange(3, 8)):
            acts = [self.work(2.0), ["fail", 1]] if self.dice.random() < 0.3 else [self.work(2.0)]
            self.enqueue(at + 1000 * number, "limited", acts)

    def sequence(self, at: int) -> None:
        """Jobs of a strict sequence; some fail at first."""
        group = self.dice.choice(GROUPS)
        for number in range(self.dice.randrange(2, 6)):
            acts = [self.work(2.0), ["fail", 1]] if self.dice.random() < 0.3 else [self.work(2.0)]
            self.enqueue(at + 100_000 * number, "work", acts, group=group, order="strict")

    def group(self, at: int) -> None:
        """More jobs of a group than may run at once."""
        for number in range(self.dice.randrange(3, 9)):
            self.enqueue(at + 1000 * number, "grouped", [self.work(3.0)])

    def shares(self, at: int) -> None:
        """Jobs of several groups, which take turns."""
        for number in range(self.dice.randrange(4, 12)):
            self.enqueue(at + 1000 * number, "work", [self.work(2.0)], group=f"tenant-{self.dice.randrange(3)}")

    def broken(self, at: int) -> None:
        """Jobs of a circuit breaker; many fail at first."""
        for number in range(self.dice.randrange(3, 9)):
            acts = [self.work(1.0), ["fail", 1]] if self.dice.random() < 0.6 else [self.work(1.0)]
            self.enqueue(self.soon(at, 5) + number, "broken", acts)

    def few(self, at: int) -> None:
        """Jobs of a queue that runs one at once."""
        for number in range(self.dice.randrange(2, 5)):
            self.enqueue(at + 1000 * number, "few", [self.work(2.0)], queue="few")

    def expire(self, at: int) -> None:
        """Jobs that expire if they do not start soon; those behind a busy worker do."""
        for number in range(self.dice.randrange(2, 8)):
            self.enqueue(at + number, "work", [self.work(4.0)], expires_in=self.seconds(0.2, 6))

    def lock(self, at: int) -> None:
        """Jobs that hold one lock after the other."""
        for number in range(self.dice.randrange(2, 5)):
            self.enqueue(at + number, "work", [["lock", "door", self.seconds(0, 4)], self.effect()])

    def edit(self, at: int) -> None:
        """A waiting job that is edited."""
        name = self.enqueue(at, "work", [self.work()], delay=self.seconds(1, 20))
        self.add(self.soon(at, 10), "operator", "edit", {"job": name, "acts": [self.work(), self.effect()]})

    def move(self, at: int) -> None:
        """A waiting job that is moved to another queue."""
        name = self.enqueue(at, "work", [self.work()], delay=self.seconds(1, 20))
        self.add(self.soon(at, 10), "operator", "move", {"job": name, "queue": "few"})

    def cron(self, at: int) -> None:
        """A cron entry."""
        expression = self.dice.choice(("* * * * * */10", "* * * * * */30", "* * * * *"))
        job = {"acts": [self.work(1.0), self.effect()]}
        self.add(at, self.producer(), "cron", {"name": self.name(), "expression": expression, "job": job})

    def replay(self, at: int) -> None:
        """A dead letter, and what operators do with one."""
        name = self.enqueue(at, "work", [self.work(0.5), ["fail_for_good"]])
        for verb in self.dice.sample(("replay", "rescue", "purge", "forget"), self.dice.randrange(1, 3)):
            at = self.soon(at + SECOND, 10)
            self.add(at, "operator", verb, {} if verb == "rescue" else {"job": name})

    def stream(self, at: int) -> None:
        """A job that emits chunks, perhaps in several runs, and readers that come, go and come back."""
        count, pause = self.dice.choice((3, 10, 40)), self.seconds(0, 0.5)
        acts: Acts = [["emits", count, pause]]
        if self.dice.random() < 0.4:
            acts.append(self.dice.choice((["fail", 1], ["nap", 2.0], ["die"])))
        name = self.enqueue(at, "work", acts, max_crashes=2)
        for _ in range(self.dice.choice((1, 2, 3))):
            args = {"job": name, "pieces": self.dice.choice((0, 1, 3, 10))}
            self.add(self.soon(at + 50_000, 10), self.producer(), "read", args)

    def large(self, at: int) -> None:
        """A job whose argument or result is too large for Redis, and what may happen to it."""
        self.settings |= STORE
        acts: Acts = [["large", self.dice.choice((10, 3000))], self.work(), ["result", self.dice.choice((10, 5000))]]
        if self.dice.random() < 0.3:
            acts.insert(1, ["fail", 1])
        name = self.enqueue(at, "work", acts, delay=self.seconds(0, 10))
        if self.dice.random() < 0.5:
            verb = self.dice.choice(("cancel", "forget", "edit", "move", "wait"))
            more: Any = {"edit": {"acts": acts}, "move": {"queue": "few"}, "wait": {"timeout": 20.0}}.get(verb, {})
            self.add(self.soon(at, 15), "operator", verb, {"job": name, **more})

    def outbox(self, at: int) -> None:
        """Jobs that are rows of a transaction; some wait for others of it."""
        self.settings |= OUTBOX
        jobs: list[dict[str, Any]] = []
        for _ in range(self.dice.choice((1, 1, 2, 5))):
            one: dict[str, Any] = {"id": self.name(), "acts": [self.work(1.0), self.effect()]}
            if jobs and self.dice.random() < 0.4:
                one["depends_on"] = [self.dice.choice(jobs)["id"]]
            jobs.append(one)
        ends = self.dice.choice(("commit", "commit", "commit", "rollback", "die"))
        self.add(at, self.producer(), "outbox", {"jobs": jobs, "ends": ends})

    def durable(self, at: int) -> None:
        """Jobs that a replica confirms, around a time in which it gets no writes, and perhaps takes over."""
        self.settings |= REPLICATED
        for _ in range(self.dice.randrange(1, 5)):
            self.enqueue(self.soon(at, 4), "work", [self.work(), self.effect()])
        self.add(self.soon(at, 1), "server", "unreplicate", {"for_us": self.us(1, 6)})
        if self.dice.random() < 0.7:
            self.add(self.soon(at + SECOND, 4), "server", "failover", {"lost": 0, "down_us": self.us(0, 2)})

    # --- faults ----------------------------------------------------------------------------------

    def _fault(self, faults: list[str]) -> None:
        verb = self.dice.choices(faults, self.coverage.faults_by_need(faults))[0]
        near = [step.at_us for step in self.steps if step.at_us >= self.calm_us]
        is_near = near and self.dice.random() < 0.7
        at = self.soon(self.dice.choice(near), 4) if is_near else self.dice.randrange(self.calm_us, self.length)
        if verb in MACHINES:
            self._machine_fault(verb, at)
        elif verb in NETWORK:
            self._network_fault(verb, at)
        else:
            self._server_fault(verb, at)

    def _machine_fault(self, verb: str, at: int) -> None:
        dice, worker = self.dice, f"worker.{self.dice.randrange(self.workers) + 1}"
        child = dice.randrange(self.children + 1)
        if verb == "kill_child":
            self.add(at, worker, verb, {"child": child})
        elif verb in {"freeze", "thaw"}:
            whom: dict[str, Any] = dice.choice(({"child": child}, {}, {"whole": True}))
            machine = worker if whom.get("child") is not None else self.machine()
            self.add(at, machine, "freeze", {**whom, "seen": dice.random() < 0.7})
            self.add(at + self.us(0.1, 25), machine, "thaw", whom)
        elif verb == "kill_worker":
            machine = self.machine()
            self.add(at, machine, verb, {"children": dice.random() < 0.6})
            self.add(self.soon(at, 10), machine, "start_worker", {})
        else:
            self.add(at, worker, "stop_worker", {})
            self.add(self.soon(at + 2 * SECOND, 10), worker, "start_worker", {})

    def _network_fault(self, verb: str, at: int) -> None:
        dice, machine = self.dice, self.dice.choice((self.machine(), self.producer(), ""))
        if verb in {"partition", "mend"}:
            machine = machine or self.machine()
            self.add(at, "network", "partition", {"machine": machine, "direction": dice.choice(("both", "up", "down"))})
            self.add(at + self.us(0.1, 15), "network", "mend", {"machine": machine, "reset": dice.random() < 0.5})
        elif verb == "delay":
            self.add(at, "network", verb, {"machine": machine, "least_us": 0, "most_us": self.us(0.01, 2)})
            self.add(at + self.us(1, 20), "network", verb, {"machine": machine})
        elif verb == "kill_at":
            when = dice.choice(("sending", "sent", "replied"))
            self.add(
                at, "network", verb,
                {
                    "machine": self.machine(), **self._target(f"kill_{when}", has_reply=when == "replied"),
                    "count": dice.choice((1, 1, 2, 3)), "when": when,
                },
            )  # fmt: skip
        else:
            machine = "" if dice.random() < 0.6 else machine  # a machine that never sends such a request is never hit
            args: dict[str, Any] = {"machine": machine, **self._target(verb, has_reply=verb == "drop_reply")}
            args |= {"count": dice.choice((1, 1, 1, 2, 5)), "silent": dice.random() < 0.3}
            if verb == "late_request":
                args["by_us"] = self.us(0.5, 90)
            self.add(at, "network", verb, args)

    def _target(self, kind: str, *, has_reply: bool) -> dict[str, str]:
        """Draw the exchange that a fault hits: any, or rather one that was rarely hit."""
        if self.dice.random() < 0.1:
            return {"script": ""}
        targets = OFTEN if self.dice.random() < 0.5 else TARGETS
        names = {one if has_reply else one.partition(" ")[0]: one for one in targets}
        script, word = names[self.coverage.target_by_need(self.dice, kind, list(names))].split(" ")
        return {"script": script, **({"word": word} if has_reply else {})}

    def _server_fault(self, verb: str, at: int) -> None:
        dice = self.dice
        if verb in {"restart", "failover"}:
            lost = dice.choice((0, 0, 1, 5, 50)) if verb == "failover" else 0
            self.add(at, "server", verb, {"lost": lost, "down_us": self.us(0, 4)})
        elif verb == "jump":
            machine = dice.choice(("server", self.machine(), self.producer()))
            self.add(at, "clock", verb, {"machine": machine, "by_us": round(dice.uniform(-20, 60) * SECOND)})
        elif verb == "drift":
            self.add(at, "clock", verb, {"machine": self.machine(), "rate": round(dice.uniform(-0.05, 0.05), 3)})
        elif verb == "unready":
            words = ("CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "BUSY", "NOREPLICAS", "MISCONF")
            self.add(at, "server", verb, {"word": dice.choice(words), "for_us": self.us(0.1, 8)})
        elif verb == "unmount":
            machine = dice.choice(("", self.machine(), self.producer()))
            args = {"machine": machine, "how": dice.choice(("away", "empty")), "for_us": self.us(0.5, 30)}
            self.add(at, "store", verb, args)
        elif verb == "close_database":
            self.add(at, "database", verb, {"for_us": self.us(0.5, 20)})
        else:
            self.add(at, "server", verb, {} if verb == "script_flush" else {"for_us": self.us(0.1, 8)})

    # --- parts -----------------------------------------------------------------------------------

    def add(self, at: int, actor: str, verb: str, args: dict[str, Any]) -> None:
        """Add a step."""
        self.steps.append(Step(at, actor, verb, args))

    def enqueue(self, at: int, function: str, acts: Acts, **options: Any) -> str:
        """Add a job; return its name."""
        name = self.name()
        self.add(at, self.producer(), "enqueue", {"id": name, "function": function, "acts": acts, **options})
        return name

    def name(self) -> str:
        """A new name."""
        self.jobs.append(f"j{len(self.jobs) + 1}")
        return self.jobs[-1]

    def producer(self) -> str:
        """One of two producers."""
        return f"producer.{self.dice.randrange(1, 3)}"

    def machine(self) -> str:
        """A worker or a reaper."""
        number = self.dice.randrange(self.workers + self.reapers)
        return f"worker.{number + 1}" if number < self.workers else f"reaper.{number - self.workers + 1}"

    def us(self, least: float, most: float) -> int:
        """A time in µs, more often a short one."""
        return round(self.seconds(least, most) * SECOND)

    def seconds(self, least: float, most: float) -> float:
        """A time, more often a short one."""
        return round(least + (most - least) * self.dice.random() ** 2, 3)

    def soon(self, at: int, most: float) -> int:
        """A time soon after another one."""
        return at + self.us(0, most)

    def work(self, most: float = 2.0) -> list[Any]:
        """An act that takes a while."""
        return ["sleep", self.seconds(0.01, most)]

    def effect(self) -> list[Any]:
        """An act that others see."""
        return ["effect", "done"]


def generated(seed: int, coverage: Coverage | None = None) -> Plan:
    """Make the plan of a seed.

    Args:
        seed: The seed.
        coverage: What earlier plans have met; None for nothing.
    """
    return Generator(seed, coverage or Coverage()).plan()
