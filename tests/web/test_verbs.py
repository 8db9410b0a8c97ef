"""Each verb does the same from Python, the command line, the API and a form, and leaves the same record."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobfleet import AsyncFleet, Fleet, Flow, Job
from jobfleet.cli import main as cli_of
from jobfleet.cli.commands import limits as commands_of
from jobfleet.client._async.flows import AsyncFlows
from jobfleet.client._async.limits import AsyncBreakers, AsyncLimits
from jobfleet.operations import dead_groups, dead_letters, gates, limits, rescues
from jobfleet.operations.flows import flow
from jobfleet.operations.jobs import cancel, edit, matching, signal, steer
from jobfleet.operations.limits import VERBS
from jobfleet.operations.verb import BY, DRY_RUN, Verb, verbs_of
from jobfleet.web import route
from jobfleet.web.safety.access import AccessFile, Role
from jobfleet.web.table import ACTIONS
from tests.cli.conftest import cli, here
from tests.cli.hand import Cli, Hand
from tests.web.site import Browser

TEMPLATES = Path(route.__file__).parent / "templates"
__all__ = ["cli", "here"]  # fixtures
WHO = "web"  # a form of a page that is open to this machine has this caller
PARTS: dict[str, type] = {"limits": AsyncLimits, "breakers": AsyncBreakers}
FULL = {"queue": "mail", "concurrency": 5, "rate": "10/s", "burst": 20, "aging": 300.0}
CASES: tuple[tuple[Verb[..., bool], Mapping[str, Any], str, Mapping[str, str]], ...] = (
    (limits.set_limit, FULL, "mail --concurrency 5 --rate 10/s --burst 20 --aging 5m", {"aging": "5m"}),
    (limits.set_limit, {"queue": "mail", "group": "*", "concurrency": "none", "weight": 2.5},
     "mail --group * --concurrency none --weight 2.5", {}),
    (limits.set_limit, {"queue": "old", "rate": "5/min", "replace": True}, "old --rate 5/min --replace",
     {"replace": "on"}),
    (limits.clear, {"queue": "old", "declared": True}, "old --declared", {"declared": "on"}),
    (gates.define, {"name": "new", "rate": "100/1m", "adaptive": [2, 50]}, "new --rate 100/1m --adaptive 2-50",
     {"adaptive": "2-50"}),
    (gates.define, {"name": "github", "concurrency": 3, "replace": True}, "github --concurrency 3 --replace",
     {"replace": "on"}),
    (gates.remove, {"name": "github"}, "github", {}),
    (gates.close_limit, {"name": "github", "reason": "down"}, "github --reason down", {}),
    (gates.open_limit, {"name": "shut"}, "shut", {}),
    (gates.open_breaker, {"name": "function:f", "reason": "down"}, "function:f --reason down", {}),
    (gates.close_breaker, {"name": "function:g"}, "function:g", {}),
)  # fmt: skip


def begin(fleet: Fleet) -> None:
    """The state before each verb, the same each time."""
    for name in ("mail", "old"):
        fleet.limits.set(name, concurrency=9)
        fleet.limits.clear(name, group="*")
    fleet.limits.clear("mail")
    fleet.limits.set("old", concurrency=9, aging=60, replace=True)
    fleet.limits.remove("new")
    for name in ("github", "shut"):
        fleet.limits.define(name, rate="7/s", replace=True)
        fleet.limits.open(name)
    fleet.limits.close("shut")
    fleet.breakers.open("function:g")
    fleet.breakers.open("function:f")
    fleet.breakers.close("function:f")


def state(fleet: Fleet) -> list[Any]:
    """All limits and breakers, and the newest record, without times and the way it came."""
    record = fleet.audit().entries[0]
    return [
        fleet.limits(),
        fleet.limits.all_named(),
        [(one.name, one.state, one.by, one.reason) for one in fleet.breakers()],
        (record.action, record.target, record.by, record.before, record.after, record.outcome),
    ]


@pytest.mark.parametrize(("verb", "values", "words", "typed"), CASES, ids=lambda one: getattr(one, "name", ""))
def test_a_verb_is_the_same_on_each_surface(
    browser: Browser, fleet: Fleet, cli: Cli, access: AccessFile,
    verb: Verb[..., bool], values: Mapping[str, Any], words: str, typed: Mapping[str, str],
) -> None:  # fmt: skip
    token = access.create_token(WHO, Role.OPERATOR)
    named = {name: math.inf if one == "none" else one for name, one in values.items()}
    fields: dict[str, Any] = {**{name: str(one) for name, one in values.items()}, **typed}
    surfaces: dict[str, Callable[[], object]] = {
        "python": lambda: verb.on(fleet, named, WHO),
        "cli": lambda: cli(*verb.command.split(), *words.split(), "--by", WHO).exit_code,
        "api": lambda: browser.call(verb.route, token, **values).json,
        "form": lambda: browser.post(verb.route, browser.csrf("/limits"), **fields).status,
    }
    answers, seen = {}, {}

    for surface, act in surfaces.items():
        begin(fleet)
        answers[surface] = act()
        seen[surface] = state(fleet)

    target = {name: values.get(name) for name in verb.target}
    assert answers == {"python": True, "cli": 0, "api": {**target, "changed": True}, "form": 303}
    assert [surface for surface in seen if seen[surface] != seen["python"]] == []
    assert seen["python"][-1][:3] == (verb.recorded, verb.target_of(values), WHO)


def test_each_verb_is_tried_and_the_method_of_the_client_has_its_parameters() -> None:
    wrong = []
    for verb in VERBS:
        part, _, act = verb.method.partition(".")
        method = getattr(PARTS[part], act)
        of_client = dict(list(inspect.signature(method).parameters.items())[1:])
        default_of = {name: one.default for name, one in of_client.items() if name != BY}
        declared = {one.name: inspect.Parameter.empty if one.is_required else one.default for one in verb.parameters}
        if default_of != declared or BY not in of_client or not all(one.help for one in verb.parameters):
            wrong.append(verb.name)

    assert wrong == []
    assert {verb.name for verb, *_ in CASES} == {verb.name for verb in VERBS}
    assert {one.name for one in verbs_of(gates, limits)} == {verb.name for verb in VERBS}


def test_each_verb_is_on_each_surface_or_says_why_not() -> None:
    """`scripts/docs` writes the same table, and the gate compares it."""
    page = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html"))
    commands = {"limits": commands_of.limits, "breakers": commands_of.breakers}
    on: dict[str, Callable[[Verb[..., bool]], bool]] = {
        "Python": lambda verb: verb in VERBS,
        "command": lambda verb: verb.command.split()[1] in commands[verb.command.split()[0]].commands,
        "page": lambda verb: f"'{verb.name}'" in page,
        "API": lambda verb: any(action.verb is verb and action.path == verb.route for action in ACTIONS),
    }

    wrong = [(verb.name, name) for verb in VERBS for name, has in on.items() if has(verb) == bool(verb.holes.get(name))]

    assert wrong == []


# Jobs, dead letters and flows. Each surface has jobs of its own, whose names have its name.


SOON = datetime(2100, 1, 1, tzinfo=UTC)
JOBS: tuple[tuple[Verb[..., Any], Mapping[str, Any], str], ...] = (
    (cancel.cancel, {"id": "{w}"}, "{w}"),
    (steer.reschedule, {"id": "{w}", "at": "2101-01-01T00:00+00:00", "priority": "high"},
     "{w} --at 2101-01-01T00:00+00:00 --priority high"),
    (steer.move, {"id": "{w}", "to": "bulk"}, "{w} --to bulk"),
    (edit.edit, {"id": "{w}", "args": [7], "kwargs": {"b": 2}}, '{w} --args [7] --kwargs {{"b":2}}'),
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
ELSEWHERE = {"signal_by_token"}  # tests/web/test_signals.py: a job makes the token


class World:
    """A waiting job, a dead one and a flow of one surface."""

    def __init__(self, fleet: Fleet, hand: Hand, surface: str, verb: Verb[..., Any]) -> None:
        self.fleet = fleet
        more = {"tags": [surface, "eu"], "user": surface}
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
        """What has become of it, and the newest record, with the same names for each surface."""
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
        for one in fleet.rescues(limit=1):
            names["r"] = one.id
            found.append((one.fingerprint == names["g"], one.canary, one.rate, one.stop_after))
        entry = fleet.audit().entries[0]
        found.append((entry.action, entry.target, entry.by, entry.before, entry.after, entry.outcome, entry.count))
        text = str(found)
        for name, one in sorted(names.items(), key=lambda pair: -len(pair[1])):
            text = text.replace(one, f"<{name}>")
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

    def api(values: Mapping[str, Any], _words: str) -> object:
        return browser.call(*path_and(values, token), **body_of(values)).status

    def form(values: Mapping[str, Any], _words: str) -> object:
        kinds = {one.field: one.kind for one in verb.parameters}
        fields = {
            name: json.dumps(one) if kinds[name].is_json or not isinstance(one, str | list) else "".join(map(str, one))
            for name, one in body_of(values).items()
        }
        return browser.post(path_and(values)[0], browser.csrf("/limits"), **fields).status

    def path_and(values: Mapping[str, Any], *more: str) -> tuple[str, ...]:
        return (verb.route.format_map(values), *more)

    def body_of(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in values.items() if f"{{{name}}}" not in verb.route}

    surfaces: dict[str, Callable[[Mapping[str, Any], str], object]] = {
        "python": python, "cli": lambda _, typed: cli(*verb.command.split(), *typed.split(), "--by", WHO).exit_code,
        "api": api, "form": form,
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


def test_each_verb_of_jobs_is_tried_and_the_method_of_the_client_has_its_parameters() -> None:
    modules = (cancel, steer, edit, signal, matching, dead_letters, dead_groups, rescues, flow)
    verbs = verbs_of(*modules)

    assert {verb.name for verb in verbs} == {verb.name for verb, *_ in JOBS} | ELSEWHERE
    assert [verb.name for verb in verbs if not all(one.help for one in verb.parameters)] == []
    assert wrong_methods(verbs) == []
    assert wrong_places(verbs) == []


def wrong_methods(verbs: Sequence[Verb[..., Any]]) -> list[str]:
    """The verbs whose method of the client has other parameters."""
    wrong = []
    for verb in verbs:
        part, _, act = verb.method.rpartition(".")
        method = getattr({"": AsyncFleet, "flows": AsyncFlows}[part], act)
        of_client = [one for one in list(inspect.signature(method).parameters.values())[1:]
                     if one.kind is not one.VAR_KEYWORD and one.name != DRY_RUN]  # fmt: skip
        default_of = {one.name: one.default for one in of_client if one.name != BY}
        declared = {one.name: inspect.Parameter.empty if one.is_required else one.default
                    for one in verb.parameters if not one.is_filter}  # fmt: skip
        if default_of != declared or BY not in {one.name for one in of_client}:
            wrong.append(verb.name)
    return wrong


def wrong_places(verbs: Sequence[Verb[..., Any]]) -> list[tuple[str, str]]:
    """The surfaces on which a verb is, although it has a reason not to be there; or is not, without one."""
    page = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html"))
    root = cli_of.main
    wrong = []
    for verb in verbs:
        command: Any = root
        for word in verb.command.split():
            command = command.get_command(None, word) if command is not None else None
        has = {
            "command": command is not None,
            "page": f"'{verb.name}'|route" in page or f"verbs.{verb.name}," in page or f"url('{verb.route}')" in page,
            "API": any(action.verb is verb and action.path == verb.route for action in ACTIONS),
        }
        wrong += [(verb.name, name) for name, one in has.items() if one == bool(verb.holes.get(name))]
    return wrong


def test_an_older_route_still_answers_and_names_the_new_ones(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str]
) -> None:
    fleet.limits.define("github", concurrency=5)

    answer = browser.call("/gates/shut", tokens[Role.OPERATOR], kind="limit", name="github")

    assert (answer.json, answer.headers["Warning"]) == (
        {"name": "github", "changed": True}, '299 - "Deprecated; use /limits/close or /breakers/open"',
    )  # fmt: skip
    paths = browser.get("/api/openapi.json").json["paths"]
    assert {path for path, one in paths.items() if one.get("post", {}).get("deprecated")} == {
        "/gates/shut", "/gates/unshut", "/jobs/{id}/retry",
    }  # fmt: skip
    assert set(paths["/limits/set"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {
        one.name for one in limits.set_limit.parameters
    }


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("/limits/set", {"queue": "q", "aging": "soon"}, "aging"),
        ("/limits/set", {"queue": "q", "concurrency": 5, "replace": "perhaps"}, "replace"),
        ("/limits/set", {"queue": "q", "concurrency": True}, "concurrency"),
        ("/limits/set", {"queue": "q", "burst": 1.5}, "burst"),
        ("/limits/clear", {"queue": ""}, "queue"),
        ("/limits/define", {"name": "n", "adaptive": [1, 2, 3]}, "adaptive"),
        ("/limits/define", {"name": "n"}, "rate"),
        ("/limits/close", {"name": "n", "seconds": -1}, "seconds"),
        ("/breakers/open", {"name": "f"}, "name"),
        ("/breakers/close", {"name": 5}, "name"),
    ],
)
def test_what_a_verb_does_not_take_is_refused_with_the_field(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str], path: str, fields: dict[str, Any], field: str
) -> None:
    answer = browser.call(path, tokens[Role.OPERATOR], **fields)

    assert (answer.status, answer.json["error"].get("field")) == (400, field)
    assert (fleet.limits(), fleet.limits.all_named(), fleet.breakers()) == ([], [], [])
