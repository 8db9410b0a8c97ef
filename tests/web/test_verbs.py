"""Each verb does the same from Python, the command line, the API and a form, and leaves the same record."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet
from jobfleet.cli.commands import limits as commands_of
from jobfleet.client._async.limits import AsyncBreakers, AsyncLimits
from jobfleet.operations import gates, limits
from jobfleet.operations.limits import VERBS
from jobfleet.operations.verb import BY, Verb
from jobfleet.web import route
from jobfleet.web.safety.access import AccessFile, Role
from jobfleet.web.table import ACTIONS
from tests.cli.conftest import cli, here
from tests.cli.hand import Cli
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
        "python": lambda: getattr(getattr(fleet, verb.family), verb.act)(**named, by=WHO),
        "cli": lambda: cli(verb.family, verb.act, *words.split(), "--by", WHO).exit_code,
        "api": lambda: browser.call(verb.path, token, **values).json,
        "form": lambda: browser.post(verb.path, browser.csrf("/limits"), **fields).status,
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
        method = getattr(PARTS[verb.family], verb.act)
        of_client = dict(list(inspect.signature(method).parameters.items())[1:])
        default_of = {name: one.default for name, one in of_client.items() if name != BY}
        declared = {one.name: inspect.Parameter.empty if one.is_required else one.default for one in verb.parameters}
        if default_of != declared or BY not in of_client or not all(one.help for one in verb.parameters):
            wrong.append(verb.name)

    assert wrong == []
    assert {verb.name for verb, *_ in CASES} == {verb.name for verb in VERBS}
    declared_at = [one for module in (gates, limits) for one in vars(module).values() if isinstance(one, Verb)]
    assert {one.name for one in declared_at} == {verb.name for verb in VERBS}


def test_each_verb_is_on_each_surface_or_says_why_not() -> None:
    """`scripts/docs` writes the same table, and the gate compares it."""
    page = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html"))
    commands = {"limits": commands_of.limits, "breakers": commands_of.breakers}
    on: dict[str, Callable[[Verb[..., bool]], bool]] = {
        "Python": lambda verb: hasattr(PARTS[verb.family], verb.act),
        "command": lambda verb: verb.act in commands[verb.family].commands,
        "page": lambda verb: f"url('{verb.path}')" in page,
        "API": lambda verb: any(action.verb is verb and action.path == verb.path for action in ACTIONS),
    }

    wrong = [(verb.name, name) for verb in VERBS for name, has in on.items() if has(verb) == bool(verb.holes.get(name))]

    assert wrong == []


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
        "/gates/shut", "/gates/unshut",
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
