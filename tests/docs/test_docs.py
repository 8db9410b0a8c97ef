"""The documentation: made pages are fresh, links and names lead somewhere, and examples compile.

`test_pages.py` runs the examples.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jobfleet
from tests.support.each import each
from tests.support.pages import DOCS, PAGES, ROOT, blocks_of, name_of, without_blocks

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_ANCHOR = re.compile(r'^<a id="([^"]+)"></a>$', re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make, as GitHub spells them, and those that it writes itself."""
    text = without_blocks(page)
    headings = (_LINK.sub(lambda link: link[0][1 : link[0].index("]")], title) for title in _HEADING.findall(text))
    made = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}
    return made | set(_ANCHOR.findall(text))


def test_pages_made_from_code_are_fresh() -> None:
    done = subprocess.run([ROOT / "scripts" / "docs", "--check"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_stale_page_is_named_and_written_again(tmp_path: Path) -> None:
    script = (
        f"import runpy, pathlib, sys; main = runpy.run_path({str(ROOT / 'scripts' / 'docs')!r})['main']; "
        f"folder = pathlib.Path({str(tmp_path)!r}); "
        "print(main(['--check'], folder), main([], folder), main(['--check'], folder))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "docs/internals/keyspace.md is stale: run scripts/docs" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 0 0"
    for page in tmp_path.rglob("*.md"):
        assert page.read_text() == (DOCS / page.relative_to(tmp_path)).read_text()


@each("page", PAGES, show=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(without_blocks(page)):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{name_of(page)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(found), f"{name_of(page)} links to {link}, which has no such heading"


@each("page", PAGES, show=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    for file, test in _TEST.findall(page.read_text()):
        assert (ROOT / file).exists(), f"{name_of(page)} names {file}"
        assert f"def {test}(" in (ROOT / file).read_text() if test else True, f"{name_of(page)} names {file}::{test}"


@each("page", PAGES, show=name_of)
def test_every_example_compiles(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.body, str(block), "exec", ast.PyCF_ONLY_AST, dont_inherit=True)


def test_no_page_promises_what_nobody_can_keep() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        assert "exactly once" not in page.read_text().lower(), name_of(page)


def test_the_index_lists_every_page() -> None:
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall((DOCS / "index.md").read_text())}

    assert [name_of(page) for page in PAGES if page not in {*listed, DOCS / "index.md", ROOT / "README.md"}] == []


def test_the_readme_names_what_the_package_has() -> None:
    text = (ROOT / "README.md").read_text()

    for name in ("Fleet", "AsyncFleet", "Job", "InvalidJob"):
        assert f"`{name}`" in text
        assert hasattr(jobfleet, name)
    with pytest.raises(jobfleet.InvalidJob) as caught:
        jobfleet.Job("x", "y", durability="eager")  # type: ignore[arg-type]
    assert str(caught.value) in text
