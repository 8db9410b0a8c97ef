"""The pages about moving from other systems: both halves of each run as they are printed, on one Redis."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.pages import DOCS, MOVES, ROOT, Block, blocks_of
from tests.support.reader import OTHERS, Reader
from tests.support.server import RedisServer
from tests.support.tools import tool

TOOLS = ROOT / ".venv" / "tools"
PROGRAMS = {name: TOOLS / ("arq" if name == "arq" else "peers") / "bin" for name in OTHERS}


def is_ours(block: Block) -> bool:
    """Whether a block is of the half of jobfleet."""
    return block.file in {"shop.py", "send.py"} or block.body.startswith("jobfleet ")


def printed_by(block: Block) -> list[str]:
    """What a program prints according to its page; the reader checks that it does."""
    return re.findall(r"^print\(.*\)  # (.+)$", block.body, re.MULTILINE)


@tool("peers")
@pytest.mark.parametrize("name", OTHERS)
def test_both_halves_of_a_page_print_the_same(name: str, tmp_path: Path) -> None:
    """The half of jobfleet is the same text on each page, so it is run once: beside Celery, on the same server."""
    blocks = blocks_of(DOCS / "migrate" / f"{name}.md")
    ours = [block for block in blocks if is_ours(block)]
    theirs = [block for block in blocks if block not in ours]
    (printed,) = (printed_by(block) for block in ours if block.file == "send.py")
    (wanted,) = (printed_by(block) for block in theirs if block.file == f"{name}_send.py")

    chosen = blocks if name == OTHERS[0] else theirs
    with RedisServer(tcp=True) as server, Reader(tmp_path, chosen, url=server.url, others=PROGRAMS[name]) as reader:
        reader.follow()

    assert [block.body for block in ours] == [
        block.body for block in blocks_of(DOCS / "migrate" / f"{OTHERS[0]}.md") if is_ours(block)
    ]
    assert printed == wanted == ["order 7: 4200 cents, attempt 2"]


def requirements(name: str) -> str:
    """What a page tells a reader to install."""
    page = (DOCS / "migrate" / f"{name}.md").read_text()
    return "\n".join(re.findall(r"`([^`\n]*pip install [^`\n]+)`", page))


@pytest.mark.parametrize("name", OTHERS)
def test_a_page_installs_what_its_test_runs(name: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    text = requirements(name)

    (wanted,) = (one for one in [*groups["peers"], *groups["arq"]] if re.match(rf"{name}\b", one))
    assert f"'{wanted}'" in text
    assert (len(re.findall("-m venv", text)), text.count('"$WHEEL"')) == (2 if name == "arq" else 0, 1)


@tool("peers")
@tool("peers")
def test_arq_and_jobfleet_want_different_clients_of_redis_and_so_two_environments() -> None:
    """If this fails because arq takes a newer client, its page may print one environment again."""
    (arq,) = distributions(name="arq", path=[str(one) for one in TOOLS.glob("arq/lib/python3*/site-packages")])
    theirs, ours = (client_of(one) for one in (arq.requires, requires("jobfleet")))

    releases = [f"{major}.{minor}" for major in range(4, 12) for minor in range(10)]
    assert any(one in theirs for one in releases)
    assert any(one in ours for one in releases)
    assert not [one for one in releases if one in theirs and one in ours]


def client_of(rows: list[str] | None) -> SpecifierSet:
    """The releases of redis-py that a package takes."""
    (found,) = (one for one in map(Requirement, rows or ()) if one.name == "redis" and one.marker is None)
    return found.specifier


def test_each_system_has_a_page_and_each_page_a_test() -> None:
    assert sorted(page.stem for page in MOVES) == sorted(OTHERS)
