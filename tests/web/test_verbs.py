"""Each verb does the same from Python, the command line, the API and a form, and leaves the same record."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.cli.main import main
from jobfleet.cli.view import FORM
from jobfleet.operations import backfill, cron, gates, limits, pause, queues
from jobfleet.operations.doctor import doctor
from jobfleet.operations.jobs import listing
from jobfleet.operations.verb import Verb
from jobfleet.web import route
from jobfleet.web.app import ACTIONS
from jobfleet.web.safety.access import AccessFile, Role
from scripts import client_methods
from scripts.client_methods import every_verb
from tests.cli.conftest import cli, here
from tests.cli.hand import Cli, Hand
from tests.support.each import each
from tests.web.site import Browser
from tests.web.test_job_verbs import ELSEWHERE, JOBS

TEMPLATES = Path(route.__file__).parent / "templates"
__all__ = ["cli", "here"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
WHO = "web"  # a form of a page that is open to this machine has this caller
FULL = {"queue": "mail", "concurrency": 5, "rate": "10/s", "burst": 20, "aging": 300}
VARIES = re.compile(r"\b[a-z]+\.\d+\.[0-9a-z]{12,}|datetime\.datetime\([^)]*\)|(?<=\d)\.0\b")
"""Ids and times differ, and a number from a text is a float."""
Case = tuple[Verb[..., Any], Mapping[str, Any], str, Mapping[str, str]]
CASES: tuple[Case, ...] = (
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
    (limits.skip_head, {"group": "a b", "queue": "mail"}, "'a b' --queue mail", {}),
    (limits.resume_sequence, {"group": "a b", "queue": "parked"}, "'a b' --queue parked", {}),
    (cron.pause, {"name": "nightly"}, "nightly", {}),
    (cron.resume, {"name": "held"}, "held", {}),
    (cron.run, {"name": "nightly"}, "nightly", {}),
    (cron.run, {"name": "nightly", "nominal": "2026-03-01T02:00"}, "nightly --for 2026-03-01T02:00", {}),
    (backfill.backfill, {"name": "nightly", "since": "2026-03-01", "until": "2026-03-03", "max_parallel": 1},
     "nightly --from 2026-03-01 --to 2026-03-03 --max-parallel 1", {}),
    (cron.remove, {"name": "held"}, "held", {}),
    (pause.pause, {"queue": "mail", "reason": "slow"}, "mail --reason slow", {}),
    (pause.pause, {"queue": "mail", "group": "a"}, "mail --group a", {}),
    (pause.resume, {"queue": "held"}, "held", {}),
    (pause.resume, {"queue": "mail", "function": "app.add"}, "mail --function app.add", {}),
    (queues.set_durability, {"queue": "mail", "durability": "fsync"}, "mail --durability fsync", {}),
    (queues.set_durability, {"queue": "held", "durability": "none"}, "held --durability none", {}),
    (queues.purge_queue, {"queue": "mail"}, "mail", {}),
    (listing.clean, {"older_than": "7d", "queue": "mail"}, "mail --older-than 7d", {}),
    (doctor.repair, {}, "", {}),
    (queues.remove_queue, {"queue": "mail", "purge": True}, "mail --purge", {"purge": "on"}),
)  # fmt: skip
"""The verb, its values as JSON, the words of the command, and what a form has in place of a value."""


def begin_limits(fleet: Fleet, _hand: Hand) -> None:
    """Limits, named limits and breakers, the same each time."""
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


def begin_groups(fleet: Fleet, hand: Hand) -> None:
    """A sequence, and a parked one."""
    for one in fleet.groups():
        if one.state == "parked":
            fleet.groups.resume(one.group, queue=one.queue)
    for queue in ("mail", "parked"):
        fleet.enqueue(Job("x", "demo.fail", queue=queue))
        fleet.cancel_many(queue=queue)
        first, _ = (
            fleet.enqueue(Job("x", "demo.fail", queue=queue, group="a b", order="strict-park")) for _ in range(2)
        )
    hand.fails(hand.claims(first))


def begin_queues(fleet: Fleet, hand: Hand) -> None:
    """An open queue with jobs and a paused function, and a paused one with a durability."""
    for queue in ("mail", "held"):
        fleet.set_durability(queue, None)
        fleet.resume(queue)
    fleet.resume("mail", group="a")
    fleet.pause("mail", function="app.add")
    fleet.pause("held", by="ann", reason="full")
    fleet.set_durability("held", "fsync")
    fleet.purge_queue("mail")
    ids = [fleet.enqueue(Job("x", "app.add", (1, 2), queue="mail")) for _ in range(3)]
    fleet.cancel(ids[0])
    lane = fleet.context.keys.lane("mail", 0)
    redis.Redis.from_url(fleet.config.url).hset(lane.unique, "left", f"{ids[0]} 0 1")  # of a job that has ended


def begin_cron(fleet: Fleet, _hand: Hand) -> None:
    """A recurring job, and a paused one."""
    for name in ("nightly", "held"):
        fleet.cron.add(name, "0 2 * * *", Job("x", "app.add", (1, 2)), replace=True)
    fleet.cron.resume("nightly")
    fleet.cron.pause("held", by="ann")
    fleet.purge_queue("default")
    raw = redis.Redis.from_url(fleet.config.url)
    for key in raw.scan_iter("*:result:*cron:nightly:*"):  # no id of a backfill is known
        raw.delete(key)
    for key in raw.scan_iter("*:flow:backfill-*"):
        raw.delete(key)


BEGIN: Mapping[str, Callable[[Fleet, Hand], None]] = {
    "limit": begin_limits, "breaker": begin_limits, "group": begin_groups, "queue": begin_queues,
    "fleet": begin_queues, "cron": begin_cron,
}  # fmt: skip
"""The state before each verb of a family."""


def state(fleet: Fleet) -> str:
    """All that verbs change, and the newest record, without ids, times and the way it came."""
    record = fleet.audit().entries[0]
    seen = [
        fleet.limits(),
        [
            (one.name, one.queued, one.paused, one.paused_reason, one.durability, len(one.paused_functions))
            for one in fleet.queues()
        ],
        [(one.name, one.paused) for one in fleet.cron()],
        len(fleet.repair(dry_run=True)),
        fleet.limits.all_named(),
        [(one.name, one.state, one.by, one.reason) for one in fleet.breakers()],
        [(one.queue, one.group, one.state, one.waiting) for one in fleet.groups()],
        (record.action, record.target, record.by, record.before, record.after, record.outcome, record.count),
    ]
    return VARIES.sub("", "\n".join(map(repr, seen)))


@pytest.mark.parametrize(("verb", "values", "words", "typed"), CASES, ids=lambda one: getattr(one, "name", ""))
def test_a_verb_is_the_same_on_each_surface(
    browser: Browser, fleet: Fleet, cli: Cli, access: AccessFile,
    verb: Verb[..., Any], values: Mapping[str, Any], words: str, typed: Mapping[str, str],
) -> None:  # fmt: skip
    token = access.create_token(WHO, Role(verb.role))
    kinds = {one.name: one.kind for one in verb.parameters}
    named = {name: kinds[name].read(one) for name, one in values.items()}
    path = route.route_of(verb, {name: str(one) for name, one in values.items()})
    body = {name: one for name, one in values.items() if f"{{{name}}}" not in verb.route}
    fields: dict[str, Any] = {name: typed.get(name, str(one)) for name, one in body.items()}
    asked = ["--yes"] if verb.question else []
    surfaces: dict[str, Callable[[], object]] = {
        "Python": lambda: verb.on(fleet, named, WHO),
        "command": lambda: cli(*verb.command.split(), *shlex.split(words), *asked, "--by", WHO).exit_code,
        "API": lambda: browser.call(path, token, **body).json,
        "page": lambda: browser.post(path, browser.csrf("/limits"), **fields).status,
    }
    answers, seen, hand = {}, {}, Hand(fleet)

    for surface, act in surfaces.items():
        if surface not in verb.holes:
            BEGIN[verb.noun](fleet, hand)
            answers[surface] = act()
            seen[surface] = state(fleet)

    expected = {
        "command": 0,
        "API": verb.answer(named, answers["Python"], FORM),
        "page": 200 if verb is backfill.backfill else 303,
    }
    assert {name: VARIES.sub("", repr(answers[name])) for name in expected if name in answers} == {
        name: VARIES.sub("", repr(one)) for name, one in expected.items() if name in answers
    }
    assert verb.has_changed(answers["Python"]) or verb is listing.clean  # no job of a test is old enough
    assert seen == dict.fromkeys(seen, seen["Python"])
    assert f".{verb.recorded.partition('.')[2]}', " in seen["Python"]


def test_each_verb_is_tried_and_its_parameters_have_a_help() -> None:
    assert {verb.name for verb in every_verb()} == {case[0].name for case in CASES} | {
        case[0].name for case in JOBS
    } | ELSEWHERE
    assert [verb.name for verb in every_verb() if not all(one.help for one in verb.parameters)] == []


def test_a_verb_whose_method_no_part_of_the_client_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    verb = replace(pause.pause, method="queues.pause")
    monkeypatch.setattr(client_methods, "every_verb", lambda: [verb])

    with pytest.raises(ValueError, match=r"has the method fleet\.queues\.pause, and fleet\.queues has no verbs"):
        client_methods.modules()


def test_each_verb_is_on_each_surface_or_says_why_not() -> None:
    """`scripts/docs` writes the same table, and the gate compares it."""
    page = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html"))
    on: dict[str, Callable[[Verb[..., Any]], bool]] = {
        "command": lambda verb: has_command(verb.command),
        "page": lambda verb: f"'{verb.name}'" in page,
        "API": lambda verb: any(action.verb is verb and action.path == verb.route for action in ACTIONS),
    }

    verbs = every_verb()
    wrong = [(verb.name, name) for verb in verbs for name, has in on.items() if has(verb) == (name in verb.holes)]

    assert wrong == []


def has_command(words: str) -> bool:
    """Whether there is a command, with the flags that follow its name."""
    found: click.Command | None = main
    for word in words.partition(" --")[0].split():
        found = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
    flags = {flag for one in found.params for flag in one.opts} if found else set()
    return found is not None and flags.issuperset(re.findall(r"--[a-z-]+", words))


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


@each(
    "path, fields, field",
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
