"""The site of the documentation: it is built, its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jobfleet
from scripts import docs_api, site_check, site_stage
from tests.support.pages import DOCS, PAGES, ROOT, name_of
from tests.support.scripts import run_script
from tests.support.tools import tool

TOOL = ROOT / ".venv" / "tools" / "docs"


@tool("site")
@pytest.mark.timeout(600)  # beyond what a busy machine makes of the deadline of the script
def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = run_script(str(ROOT / "scripts" / "docs-site"), str(tmp_path / "site"), timeout=110)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    site = tmp_path / "site"
    html = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert "unpkg.com" not in "".join(html.values())
    for name in jobfleet.__all__:
        assert any(f'id="jobfleet.{name}"' in html[f"reference/api/{page}.html"] for page in API), name
    assert 'id="jobfleet.Fleet.enqueue"' in html["reference/api/fleet.html"], "methods of base classes are shown"
    assert "assets/javascripts/mermaid.js" in html["internals/state-machine.html"]
    listed = re.findall(r"\]\((.+\.html)\)", (site / "llms.txt").read_text())
    assert len(listed) > 100
    assert [name for name in listed if name not in html] == []
    assert "At-least-once execution, fenced completion" in (site / "llms-full.txt").read_text()


API = [page.stem for page in PAGES if page.parent == DOCS / "reference" / "api"]


def test_each_public_name_has_its_place_in_the_reference() -> None:
    named = re.findall(
        r'^<a id="jobfleet\.(\w+)"></a>\n\n## ',
        "\n".join((DOCS / f"reference/api/{n}.md").read_text() for n in API),
        re.MULTILINE,
    )

    assert sorted(named) == sorted(jobfleet.__all__)


def test_the_reference_describes_each_public_method_of_a_fleet() -> None:
    text = (DOCS / "reference/api/fleet.md").read_text()
    described = {name for name in dir(jobfleet.Fleet) if f'<a id="jobfleet.Fleet.{name}"></a>' in text}
    rows = {name for name in dir(jobfleet.Fleet) if f"\n| `{name}` |" in text}
    parts = {name for name in docs_api.PARTS if f'<a id="jobfleet.Fleet.{name}.' in text}

    public = {name for name in dir(jobfleet.Fleet) if not name.startswith("_")} - docs_api.INTERNAL
    assert public - described - rows - parts == set()
    assert "- `unique_for`: How long a job holds its key" in (DOCS / "reference/api/values.md").read_text()


def test_each_page_is_in_the_navigation() -> None:
    nav = site_stage.navigation((DOCS / "index.md").read_text())
    listed = list(site_stage.listed(nav))

    pages = [page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS)]
    assert [page for page in pages if page not in listed] == []
    added = [site_stage.DECISIONS, *site_stage.OUTSIDE.values()]
    assert [page for page in listed if page not in [*pages, *added]] == []
    assert [page for page in added if page not in listed] == []
    assert all(len(section) == 1 for section in nav)


def test_links_out_of_the_documentation_lead_to_a_page_of_the_site_or_are_text(tmp_path: Path) -> None:
    site_stage.stage(tmp_path / "docs")

    text = (tmp_path / "docs" / "quickstart.md").read_text()
    assert "(project/readme.md#use-it)" in text
    readme = (tmp_path / "docs" / "project" / "readme.md").read_text()
    assert "](../images/top.svg)" in readme
    assert "(scripts/picture made this)" in readme
    assert "[All decisions](adr/index.md), each with its reasons." in (tmp_path / "docs" / "index.md").read_text()


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="there.html">', "index.html links to there.html, which is not there"),
        ('<a href="#there">', "index.html links to #there, which is not there"),
        ('<img src="https://example.org/a.png">', "index.html loads https://example.org/a.png from another host"),
        ('<script src="//example.org/a.js"></script>', "index.html loads //example.org/a.js from another host"),
        ('<a href="#here">', None),
        ('<a href="https://example.org/">', None),
        ('<link rel="canonical" href="https://example.org/">', None),
    ],
)
def test_the_inspection_names_what_is_wrong(html: str, problem: str | None, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f'<h1 id="here">Here</h1>{html}')

    assert site_check.problems(tmp_path) == ([] if problem is None else [problem])


def test_a_style_that_loads_a_font_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/a.woff2) }")

    assert len(site_check.problems(tmp_path)) == 1


def test_the_pages_that_the_site_adds_exist() -> None:
    assert [name for name in site_stage.OUTSIDE if not (ROOT / name).exists()] == []
    assert name_of(ROOT / "README.md") in site_stage.OUTSIDE
