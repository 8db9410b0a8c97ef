"""Every code block of README and docs/ is run as it is printed, in a clean folder, with real workers.

Programs of the package are forks of a process that has it loaded, which takes less than half of the processor time. The
quickstart and the tutorial have interpreters of their own, and show what a fork cannot: that the installed script
`jobfleet` begins, that it and programs import what they use by themselves, and that a worker starts its processes with
the interpreter that runs it. The slow run does so with all pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.django import DJANGO_6
from tests.support.each import each
from tests.support.pages import DOCS, FILES, MOVES, PAGES, ROOT, SHELL, SHOWN, STEPS, Block, blocks_of, name_of
from tests.support.reader import Reader
from tests.support.tools import tool

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CODE = [block for block in BLOCKS if block.is_code]
RUN = [page for page in PAGES if page not in {*MOVES, *STEPS} and any(block.is_run for block in blocks_of(page))]
FRAGMENTS_MAX = 20
SLOW = {"flask.md", "jupyter.md", "litestar.md", "loguru.md"}
"""Pages that the gate leaves out: `tests/contrib` runs what is theirs alone, and pages like them are run."""
FRESH = "quickstart.md"
"""The page whose programs have interpreters of their own in the gate."""
TOOLS = {"django.md": [tool("django")], "http-api.md": [tool("node")]}
FORKED = [pytest.param(page, marks=TOOLS.get(page.name, [])) for page in RUN if page.name not in {FRESH, *SLOW}]
EXECUTED = [
    pytest.param(page, marks=[*TOOLS.get(page.name, []), *([] if page.name == FRESH else [pytest.mark.slow])])
    for page in RUN
]


@pytest.mark.timeout(900)  # a page starts up to twenty processes, each with a deadline that a busy machine makes longer
@pytest.mark.parametrize("page", FORKED, ids=name_of)
def test_every_block_of_a_page_runs_as_it_is_printed(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    programs = None
    if page.name == "django.md":  # Django's Tasks need a later Python
        programs = DJANGO_6.parent

    with Reader(tmp_path, blocks, programs, {} if programs is None else {"PYTHONPATH": str(ROOT)}) as reader:
        reader.follow()

    assert reader.count == sum(block.is_run for block in blocks)


@pytest.mark.fresh
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", EXECUTED, ids=name_of)
def test_every_block_of_a_page_runs_in_interpreters_of_its_own(page: Path, tmp_path: Path) -> None:
    test_every_block_of_a_page_runs_as_it_is_printed(page, tmp_path)


@each("block", BLOCKS)
def test_a_block_names_its_file_or_is_typed_or_is_a_fragment_with_a_reason(block: Block) -> None:
    assert block.language in {*FILES, *SHELL, *SHOWN}, f"{block} has the language {block.language!r}"
    if block.reason is not None:
        assert block.is_code, f"{block} is not code, and needs no mark"
        assert len(block.reason.split()) >= 3, f"{block} is a fragment; say why"
    elif block.language in FILES:
        assert block.file, f"{block} begins with no comment that names its file"


def test_few_blocks_are_fragments() -> None:
    fragments = {str(block): block.reason for block in CODE if block.reason is not None}

    assert len(fragments) <= FRAGMENTS_MAX, f"{fragments} of {len(CODE)}"
    assert len(fragments) < len(CODE) / 8


@each("page", RUN, show=name_of)
def test_a_page_serves_the_functions_that_it_decorates(page: Path) -> None:
    """A worker runs each function of a page, or a test does; a block that only defines one would show nothing."""
    blocks = [block for block in blocks_of(page) if block.is_run]
    typed = " ".join(block.body for block in blocks if block.language in SHELL)
    for block in blocks:
        if block.file and "@job" in block.body and not block.file.startswith("test_"):
            module = block.file.removesuffix(".py")
            serving = rf"jobfleet up {module}\b|--app {module} jobfleet up"
            assert re.search(serving, typed), f"{block}: no command serves {module}"


@each("page", [page for page in PAGES if page.parent != DOCS / "internals"], show=name_of)
def test_a_page_names_nothing_that_only_the_repository_has(page: Path) -> None:
    found = re.findall(r"(?<![\w.])workers[./](?!command\b|stacks\b)\w+", page.read_text())  # two verbs have such names

    assert found == []
