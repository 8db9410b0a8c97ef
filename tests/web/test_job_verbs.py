"""Each verb of jobs, dead letters, flows and signals does the same on each surface, and leaves the same record.

Each surface has jobs of its own, whose names have its name.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import pytest

from jobfleet import AsyncFleet, Fleet, Flow, Job
from jobfleet.operations import dead_groups, dead_letters, rescues
from jobfleet.operations.flows import flow
from jobfleet.operations.jobs import cancel, edit, matching, signal, steer
from jobfleet.operations.verb import BY, Verb
from jobfleet.web.safety.access import AccessFile, Role
from scripts.client_methods import every_verb
from tests.cli.conftest import cli, here
from tests.cli.hand import Cli, Hand
from tests.web.site import Browser

__all__ = ["cli", "here"]  # fixtures
WHO = "web"  # a form of a page that is open to this machine has this caller
SOON = datetime(2100, 1, 1, tzinfo=UTC)
JOBS: tuple[tuple[Verb[..., Any], Mapping[str, Any], str], ...] = (
    (cancel.cancel, {"id": "{w}"}, "{w}"),
    (steer.reschedule, {"id": "{w}", "at": "2101-01-01T00:00+00:00", "priority": "high"},
     "{w} --at 2101-01-01T00:00+00:00 --priority high"),
    (steer.move, {"id": "{w}", "to": "bulk"}, "{w} --to bulk"),
    (edit.edit, {"id": "{w}", "args": [7], "kwargs": {"y": 2}}, '{w} --args [7] --kwargs {{"y":2}}'),
    (dead_letters.replay, {"id": "{d}", "fresh": True}, "{d} --fresh"),
    (dead_letters.purge, {"id": "{d}"}, "{d} --yes"),
    (cancel.forget, {"id": "{d}"}, "{d} --yes"),
    (signal.signal, {"id": "{w}", "name": "go", "value": 5}, "{w} go 5"),
    (matching.cancel_many, {"tag": "{s}", "status": "scheduled"}, "--tag {s} --status scheduled --yes"),
    (steer.reschedule_many, {"tag": ["{s}", "eu"], "delay": "1h"}, "--tag {s} --tag eu --delay 1h --yes"),
    (steer.reschedule_many, {"user": "{s}", "priority": "low", "since": "24h"},
     "--user {s} --priority low --since 24h --yes"),
    (steer.move_many, {"tag": "{s}", "to": "bulk"}, "--tag {s} --to bulk --yes"),
    (dead_letters.replay_many, {"tag": "{s}", "fresh": True}, "--tag {s} --fresh --yes"),
    (dead_letters.replay_many, {"queue": "default", "fingerprint": "{g}"}, "--queue default --fingerprint {g} --yes"),
    (dead_groups.resolve, {"fingerprint": "{g}"}, "{g}"),
    (dead_groups.ignore, {"fingerprint": "{g}"}, "{g}"),
    (dead_groups.reopen, {"fingerprint": "{g}"}, "{g}"),
    (rescues.start, {"fingerprint": "{g}", "canary": [1], "rate": "5/min"}, "{g} --canary 1 --rate 5/min"),
    (flow.cancel, {"id": "{f}"}, "{f} --yes"),
    (flow.retry, {"id": "{f}"}, "{f}"),
)  # fmt: skip
ELSEWHERE = {
    "signal_by_token",  # tests/web/test_signals.py: a job makes the token
    "workers.command", "workers.stacks",  # tests/e2e/test_commands.py, test_stacks.py: a worker answers
}  # fmt: skip


class World:
    """A waiting job, a dead one and a flow of one surface."""

    def __init__(self, fleet: Fleet, hand: Hand, surface: str, verb: Verb[..., Any]) -> None:
        self.fleet = fleet
        more: dict[str, Any] = {"tags": [surface, "eu"], "user": surface}
        waiting = fleet.enqueue(Job("x", "demo.add", (1,), id=f"w{surface}", scheduled_at=SOON, **more))
        dead = fleet.enqueue(Job("x", "demo.add", (1,), id=f"d{surface}", **more))
        hand.fails(hand.claims(dead), f"no luck of {surface}")
        plan = Flow(surface)
        due = None if verb is flow.retry else SOON
        plan.add(Job("x", "demo.add", (1,), id=f"f{surface}", scheduled_at=due))
        flow_id = fleet.flows.enqueue(plan).id
        if verb is flow.retry:
            hand.fails(hand.claims(f"default.0.f{surface}"), "no luck in a flow")
        group = fleet.letter(dead).fingerprint
        fleet.dead_groups()  # notes it
        if verb is dead_groups.reopen:
            fleet.ignore(group)
        self.names = {"w": waiting, "d": dead, "f": flow_id, "g": group, "s": surface}

    def filled(self, given: Any) -> Any:
        """The names in place of those in braces."""
        if isinstance(given, str) and "{" in given:
            return given.format(**self.names)
        return [self.filled(one) for one in given] if isinstance(given, list) else given

    def state(self) -> str:
        """Its state, and the newest record, with the same names for each surface."""
        fleet, names = self.fleet, self.names
        found: list[Any] = []
        for job_id in (names["w"], names["d"]):
            known = fleet.poll_many([job_id])[0]
            if known is None:
                found.append(None)
                continue
            names.update({"n": known.moved_to} if known.moved_to else {})
            details = fleet.details(known.moved_to or job_id)
            due = details.job.scheduled_at
            found.append((details.job.status, known.status, details.priority, details.args, details.kwargs,
                          due and due.year, details.job.queue, known.error))  # fmt: skip
        found.append([one.status for one in fleet.flows.get(names["f"]).jobs])
        found.append([one.state for one in fleet.dead_groups() if one.fingerprint == names["g"]])
        for rescue in fleet.rescues(limit=1):
            names["r"] = rescue.id
            found.append((rescue.fingerprint == names["g"], rescue.canary, rescue.rate, rescue.stop_after))
        entry = fleet.audit().entries[0]
        found.append((entry.action, entry.target, entry.by, entry.before, entry.after, entry.outcome, entry.count))
        text = str(found)
        for name, known_as in sorted(names.items(), key=lambda pair: -len(pair[1])):
            text = text.replace(known_as, f"<{name}>")
        return re.sub(r"since=[^ ']*", "since=<time>", text)


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
@pytest.mark.parametrize(("verb", "given", "words"), JOBS, ids=lambda one: getattr(one, "name", ""))
def test_a_verb_of_jobs_is_the_same_on_each_surface(
    browser: Browser, fleet: Fleet, hand: Hand, cli: Cli, access: AccessFile,
    verb: Verb[..., Any], given: Mapping[str, Any], words: str,
) -> None:  # fmt: skip
    token = access.create_token(WHO, Role.ADMIN)

    def python(values: Mapping[str, Any], _words: str) -> object:
        read = {one.name: one.kind.read(values[one.field]) for one in verb.parameters if one.field in values}
        return bool(verb.on(fleet, read, WHO))

    def command(_values: Mapping[str, Any], typed: str) -> object:
        done = cli(*verb.command.split(), *typed.split(), "--by", WHO)
        return done.output if done.exit_code else 0

    def api(values: Mapping[str, Any], _words: str) -> object:
        return browser.call(*path_and(values, token), **body_of(values)).status

    def form(values: Mapping[str, Any], _words: str) -> object:
        kinds = {one.field: one.kind for one in verb.parameters}
        fields: dict[str, Any] = {
            name: json.dumps(one) if kinds[name].is_json or not isinstance(one, str | list) else "".join(map(str, one))
            for name, one in body_of(values).items()
        }
        return browser.post(path_and(values)[0], browser.csrf("/limits"), **fields).status

    def path_and(values: Mapping[str, Any], *more: str) -> tuple[str, ...]:
        return (verb.route.format_map(values), *more)

    def body_of(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in values.items() if f"{{{name}}}" not in verb.route}

    surfaces: dict[str, Callable[[Mapping[str, Any], str], object]] = {
        "python": python, "cli": command, "api": api, "form": form,
    }  # fmt: skip
    if "page" in verb.holes:
        del surfaces["form"]
    worlds = {surface: World(fleet, hand, surface, verb) for surface in surfaces}
    answers, seen = {}, {}

    for surface, act in surfaces.items():
        world = worlds[surface]
        values = {name: world.filled(one) for name, one in given.items()}
        answers[surface] = act(values, world.filled(words))
        seen[surface] = world.state()

    done = {"python": True, "cli": 0, "api": 200, "form": 303}
    assert answers == {surface: done[surface] for surface in surfaces}
    assert set(seen.values()) == {seen["python"]}
    assert verb.recorded in seen["python"]


def test_the_method_of_the_client_has_the_parameters_of_its_verb() -> None:
    wrong = []
    for verb in every_verb():
        part, _, act = verb.method.rpartition(".")
        method = getattr(attrgetter(part)(AsyncFleet()) if part else AsyncFleet, act)
        of_client = [one for one in inspect.signature(method).parameters.values()
                     if one.kind is not one.VAR_KEYWORD and one.name not in {"self", *verb.inner}]  # fmt: skip
        default_of = {one.name: one.default for one in of_client if one.name != BY}
        declared = {one.name: inspect.Parameter.empty if one.is_required else one.default
                    for one in verb.parameters if not one.is_filter}  # fmt: skip
        if default_of != declared or BY not in {one.name for one in of_client}:
            wrong.append(verb.name)

    assert wrong == []
