"""What the pages state of commands, members, settings, metrics and states is what the code has.

Each rule looks at the text between the blocks; the blocks are run (`tests/docs/test_pages.py`).
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import MemberDescriptorType
from typing import Any

import click

from jobfleet import Fleet, JobContext, JobHandle
from jobfleet.cli.main import main
from jobfleet.config import SETTINGS
from jobfleet.metrics.catalog import CATALOG
from jobfleet.model.status import STORED, TRANSITIONS, ShownState
from tests.support.each import each
from tests.support.pages import DOCS, PAGES, name_of, without_blocks

STATES = DOCS / "explanation" / "states.md"
CURRENT = [page for page in PAGES if page.parent != DOCS / "adr"]
"""Pages about this version; a decision tells of the version that it was made for."""
_CODE = re.compile(r"``(?P<two>.+?)``|`(?P<one>[^`\n]+)`")
_COMMAND = re.compile(r"jobfleet(?P<rest>(?: +[^\s|&;<>]+)+)$")
_MEMBER = re.compile(r"(?P<of>fleet|ctx|handle)(?P<path>(?:\.[a-z_]\w*)+)(?=\(|$)")
_VARIABLE = re.compile(r"\bJOBFLEET_[A-Z0-9_]*[A-Z0-9]\b")
_METRIC = re.compile(r"\bjobfleet_(\w+(?:_total|_seconds|_bytes|_ratio))\b")
_ARROW = re.compile(r"^ +(?P<source>\S+) --> (?P<target>\w+|\[\*\])(?:: .+)?$", re.MULTILINE)
BY_NAME = {setting.name: setting for setting in SETTINGS}
OTHER_VARIABLES = frozenset(
    f"JOBFLEET_{name}"
    for name in (
        *("APP", "MODULES", "CONFIG", "OUTPUT", "SERVER_BIN", "TEST_USERS"),
        *("WORKER_URL", "REAPER_URL", "OPERATOR_URL"),  # of deploy/compose
        "WEB_SERVICE_HOST",  # of Kubernetes
    )
)
"""Variables that do not set a setting."""
OWN = frozenset({"created"})
"""Attributes that only an object has, not its class."""


def inline(page: Path) -> Iterator[str]:
    """Each code word of a page's text."""
    for found in _CODE.finditer(without_blocks(page)):
        yield (found["two"] or found["one"]).strip()


def tables(page: Path) -> Iterator[list[list[str]]]:
    """The cells of each table of a page: the header first, then its rows."""
    table: list[list[str]] = []
    for line in [*without_blocks(page).splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        elif table:
            yield [row for row in table if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
            table = []


@each("page", PAGES, show=name_of)
def test_each_row_of_a_table_has_as_many_cells_as_its_header(page: Path) -> None:
    for header, *rows in tables(page):
        for row in rows:
            assert len(row) == len(header), f"{header} has the row {row}"


def found_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words name, and the words behind it."""
    command: click.Command = main
    while words and isinstance(command, click.Group):
        known = command.get_command(click.Context(command), words[0])
        if known is None:
            break
        command, words = known, words[1:]
    return command, words


def options(command: click.Command) -> set[str]:
    """The options that a command takes, with ``--help``."""
    own = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return own | {name for one in main.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}


@each("page", CURRENT, show=name_of)
def test_each_command_of_a_text_exists(page: Path) -> None:
    for code in inline(page):
        found = _COMMAND.match(code)
        if found is None or "=" in code.split()[1]:
            continue
        command, rest = found_command(shlex.split(found["rest"].replace("…", " ")))
        plain = [word for word in rest if re.fullmatch(r"[a-z][\w-]*", word)]
        assert not (isinstance(command, click.Group) and plain), f"`{code}`: {command.name} has no command {plain[0]}"
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= options(command), f"`{code}`: {command.name} has no {given - options(command)}"


@functools.cache
def roots() -> dict[str, Any]:
    """What the pages call by these names."""
    return {"fleet": Fleet("memory://"), "ctx": JobContext, "handle": JobHandle}


@each("page", CURRENT, show=name_of)
def test_each_member_of_a_text_exists(page: Path) -> None:
    for code in inline(page):
        found = _MEMBER.match(code)
        if found is None:
            continue
        thing = roots()[found["of"]]
        for name in found["path"].strip(".").split("."):
            if name in OWN or isinstance(thing, property | MemberDescriptorType):
                break
            assert hasattr(thing, name), f"`{code}`: {thing!r:.60} has no {name}"
            thing = getattr(thing, name)


@each("page", CURRENT, show=name_of)
def test_each_table_of_settings_has_known_ones_and_their_defaults(page: Path) -> None:
    for header, *rows in tables(page):
        if header[0] != "setting" or "default" not in header:
            continue
        for row in rows:
            name, default = row[0].strip("`"), row[header.index("default")].strip("`")
            assert name in BY_NAME, f"there is no setting {name}"
            setting, text = BY_NAME[name], default.replace(",", "").replace(" ", "")
            if setting.default is not None and text[:1].isdigit():
                assert setting.parse(text) == setting.default, f"{name} is {setting.default!r}, not {default}"


@each("page", CURRENT, show=name_of)
def test_each_variable_and_metric_of_a_page_exists(page: Path) -> None:
    text = page.read_text()
    variables = set(_VARIABLE.findall(text)) - OTHER_VARIABLES

    assert variables <= {setting.variable for setting in SETTINGS}
    assert set(_METRIC.findall(text)) <= CATALOG.keys()


@each("page", CURRENT, show=name_of)
def test_no_page_lists_what_is_missing(page: Path) -> None:
    """Such a sentence outlives what it says; each page says what there is."""
    assert "not in this version" not in page.read_text().lower()


def test_the_picture_of_states_has_each_state_and_only_real_changes() -> None:
    text = STATES.read_text()
    arrows = {(found["source"], found["target"]) for found in _ARROW.finditer(text)}
    real = {(str(source), str(target)) for one in TRANSITIONS for source in one.sources for target in one.targets}
    real |= {("[*]", str(target)) for one in TRANSITIONS if not one.sources for target in one.targets}
    finals = {(str(state), "[*]") for state in STORED if state.is_final}
    states, shown, *_ = ([row[0].strip("`") for row in rows] for _, *rows in tables(STATES))

    assert arrows - real == finals
    assert {word for arrow in arrows for word in arrow} - {"[*]"} == {str(state) for state in STORED}
    assert sorted(states) == sorted(map(str, STORED))
    assert sorted(shown) == sorted(map(str, ShownState))
