"""Each free text of a job goes everywhere: every row of the table is kept, shown and filtered by on every surface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobfleet import Fleet, Job, JobStatus
from jobfleet.archive import init_job_tables
from jobfleet.cli.main import main
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.model.fields import COUNTED, FILTER_NAMES, LETTER_NAMES, SHARED_TEXTS, TEXT_NAMES, TEXTS
from jobfleet.store.calls.journal import consumers
from jobfleet.store.calls.presence import beat
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until
from tests.web.site import Browser, served

WANTED: dict[str, Any] = {name: f"wanted {name}" for name in TEXT_NAMES}
OTHER: dict[str, Any] = dict.fromkeys(TEXT_NAMES, "other")
FAILING: dict[str, Any] = {"function": "hist.raise", "args": ("no", "ValueError"), "max_retries": 0}


@pytest.fixture
def archive(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    init_job_tables(url)
    return url


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet], archive: str) -> Fleet:
    return make_fleet(web_open_role="admin", archive_url=archive)


@pytest.fixture
def cli(fleet: Fleet, archive: str) -> Callable[..., Any]:
    """Run a command, and return its JSON."""

    def run(*words: str) -> Any:
        environment = {"JOBFLEET_URL": fleet.config.url, "JOBFLEET_ARCHIVE_URL": archive}
        result = CliRunner().invoke(main, [*words, "-o", "json"], env=environment)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def cells(page: str) -> str:
    """A page whose cells have no classes."""
    return re.sub(r"<(t[dh]) [^>]*>", r"<\1>", page)


def texts_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in TEXT_NAMES}


def test_open_jobs_are_enqueued_and_found_by_each_text(
    fleet: Fleet, hand: Hand, cli: Callable[..., Any], browser: Browser, tokens: dict[Role, str]
) -> None:
    hand.knows("hist.raise")
    fleet.enqueue(Job("other", **FAILING, **OTHER))
    flags = [word for name, text in WANTED.items() for word in (flag(name), text)]
    ids = [
        fleet.enqueue(Job("own", **FAILING, **WANTED)),
        cli("enqueue", "hist.raise", "no", *flags)["id"],
        browser.call("/jobs", tokens[Role.OPERATOR], function="hist.raise", args=["no"], **WANTED).json["id"],
    ]
    moved = fleet.move(ids[2], "elsewhere")
    page = browser.get(f"/jobs/{moved}").text

    assert all(text in page for text in WANTED.values())
    assert [texts_of(cli("status", one)[0]) for one in (*ids, moved)] == [WANTED] * 4
    assert [name for name in LETTER_NAMES if f"<td>{WANTED[name]}</td>" not in cells(browser.get("/jobs").text)] == []
    for name in FILTER_NAMES:
        rows = browser.get(f"/api/v1/jobs?{name}=wanted%20{name}").json["jobs"]
        found = [
            {one.id for one in fleet.jobs(**{name: WANTED[name]}).jobs},
            {one["id"] for one in cli("jobs", flag(name), WANTED[name])["jobs"]},
            {one["id"] for one in rows},
        ]
        assert found == [{*ids, moved}] * 3, name
        assert all(texts_of(row) == WANTED for row in rows)
        assert fleet.count_open(**{name: WANTED[name]}) == 3
        assert browser.get(f"/jobs?{name}=x").text.count(f'name="{name}"') == 2  # a filter, and what is done to them


def test_ended_jobs_and_dead_letters_are_found_by_each_text(
    fleet: Fleet, cli: Callable[..., Any], browser: Browser, programs: Programs, archive: str
) -> None:
    programs.ready(with_reaper=1, archive_url=archive, log_format="json")
    wait_until(lambda: "archive" in fleet.store.run(consumers(fleet.context.keys)), timeout=LONG, why="it reads")
    other = fleet.enqueue(Job("other", **FAILING, **OTHER))
    own = fleet.enqueue(Job("own", **FAILING, **WANTED))
    results = settle_all(fleet, [own, other])
    wait_until(
        lambda: {one.id for one in fleet.archived(status=JobStatus.FAILED)} == {own, other},
        timeout=LONG,
        why="both are archived",
    )

    assert {name: getattr(results[own], name) for name in TEXT_NAMES} == WANTED
    for name in FILTER_NAMES:
        (kept,) = fleet.archived(**{name: WANTED[name]})
        assert {one: getattr(kept, one) for one in TEXT_NAMES} == WANTED
        assert [one["id"] for one in cli("archive", "search", flag(name), WANTED[name])] == [own]
    for name in LETTER_NAMES:
        found = [
            [one.id for one in fleet.dead(**{name: WANTED[name]})],
            [one["id"] for one in cli("dead", "ls", flag(name), WANTED[name])],
            [one["id"] for one in browser.get(f"/api/v1/dead/letters?{name}=wanted%20{name}").json["letters"]],
        ]
        assert found == [[own]] * 3, name
        assert 'name="' + name + '"' in browser.get("/dead").text
        assert f"<td>{WANTED[name]}</td>" in cells(browser.get("/dead/letters").text)
    for name in COUNTED:
        assert fleet.statistics(sample=10)[f"by_{name}"].keys() == {WANTED[name], "other"}
        assert cli("archive", "status")[f"by_{name}"] == {WANTED[name]: 1, "other": 1}
    (line,) = [text for text in programs.logs().split("\n") if own in text and "job.failed" in text]
    assert {one.name for one in TEXTS if f'"{one.name}": "{WANTED[one.name]}"' in line} == {
        one.name for one in TEXTS if one.is_logged
    }
    assert fleet.forget(own)
    assert [fleet.jobs(**{name: WANTED[name]}).jobs for name in FILTER_NAMES] == [[]] * len(FILTER_NAMES)


@pytest.mark.parametrize("name", SHARED_TEXTS)
def test_a_function_sets_a_text_for_its_jobs_also_by_name(name: str, fleet: Fleet, redis_url: str) -> None:
    registry = Registry()
    of_all: dict[str, Any] = {name: "of all"}
    own_text: dict[str, Any] = {name: "its own"}

    def add(one: int) -> int:
        return one

    function = registry.register(add, name="demo.add", fleet=fleet, **of_all)
    beat_of = beat(
        fleet.context.keys, "w1", account=b"", gone_us=20_000_000, functions={"demo.add": function_record(function)}
    )
    fleet.store.run(beat_of)
    by_name = fleet.enqueue(Job("by name", "demo.add", (1,)))
    of_function = fleet.enqueue(function.job(2))
    own = fleet.enqueue(function.options(**own_text).job(3))

    seen = [getattr(one, name) for one in fleet.poll_many([by_name, of_function, own]) if one]
    assert seen == ["of all", "of all", "its own"]
    assert {one.id for one in fleet.jobs(**of_all).jobs} == {by_name, of_function}


def test_the_page_of_letters_has_a_field_per_text(fleet: Fleet) -> None:
    with served(fleet) as site:
        page = site.browser().get("/dead/letters").text

    assert [one for one in LETTER_NAMES if f'name="{one}"' not in page] == []
