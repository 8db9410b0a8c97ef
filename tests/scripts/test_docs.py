"""The documentation: made pages are fresh, links and names lead somewhere, examples compile, and the first ones run."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jobfleet
from jobfleet.fleet import default
from jobfleet.functions.registry import REGISTRY
from jobfleet.handle._sync.handle import JobHandle
from tests.support.server import RedisServer

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEMPLATES = DOCS / "templates"
PAGES = sorted([ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if TEMPLATES not in page.parents)])
RUN = (
    "README.md", "docs/quickstart.md", "docs/howto/test-your-jobs.md", "docs/howto/hooks.md", "docs/howto/resources.md",
    "docs/howto/logs.md", "docs/howto/steps.md", "docs/howto/unique.md", "docs/howto/batches.md",
    "docs/howto/groups-and-limits.md", "docs/howto/from-the-document.md",
)  # fmt: skip

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_FILE = re.compile(r"# (\w+)\.py\n")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str = "python") -> list[str]:
    return [body for word, body in _FENCE.findall(page.read_text()) if word == language]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make, as GitHub spells them."""
    text = _FENCE.sub("", page.read_text())
    headings = (_LINK.sub(lambda link: link[0][1 : link[0].index("]")], title) for title in _HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in headings}


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{name_of(page)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(found), f"{name_of(page)} links to {link}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    for file, test in _TEST.findall(page.read_text()):
        assert (ROOT / file).exists(), f"{name_of(page)} names {file}"
        assert f"def {test}(" in (ROOT / file).read_text() if test else True, f"{name_of(page)} names {file}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_compiles(page: Path) -> None:
    for number, body in enumerate(blocks(page), start=1):
        compile(body, f"{name_of(page)}, example {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def test_no_page_promises_what_nobody_can_keep() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        assert "exactly once" not in page.read_text().lower(), name_of(page)


@pytest.fixture
def stage(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run examples in, an empty server as the default, no functions; what it imports goes with it."""
    server.flush()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("JOBFLEET_URL", server.url)
    monkeypatch.setattr(REGISTRY, "functions", {})
    monkeypatch.setattr(default, "_default", None)
    modules = set(sys.modules)
    yield tmp_path
    for kind in (*REGISTRY.hooks.of_runs, REGISTRY.hooks.around_enqueues):
        kind.clear()
    fleet = default.set_default_fleet(None)
    if fleet is not None:
        fleet.close()
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and tmp_path in Path(str(sys.modules[name].__file__)).parents:
            del sys.modules[name]


@pytest.fixture
def worker_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a job has a worker run first, as `jobfleet up` would beside it."""
    wait: Callable[..., Any] = JobHandle.wait

    def run_and_wait(handle: JobHandle[Any], timeout: float | None = None) -> Any:
        default.default_fleet().run_worker(burst=True)
        return wait(handle, timeout)

    monkeypatch.setattr(JobHandle, "wait", run_and_wait)


@pytest.mark.usefixtures("worker_at_hand")
@pytest.mark.parametrize("page", RUN)
def test_the_first_examples_run(page: str, stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "example"}
    sys.modules["example"] = type(sys)("example")

    for number, body in enumerate(blocks(ROOT / page), start=1):
        if file := _FILE.match(body):
            (stage / f"{file[1]}.py").write_text(body)
            importlib.invalidate_caches()
            continue
        exec(compile(body, f"{page}, example {number}", "exec", dont_inherit=True), namespace)

    del sys.modules["example"]
    if page == "README.md":
        assert capsys.readouterr().out == "Hello Ann\n"


def test_the_readme_names_what_the_package_has() -> None:
    said = (ROOT / "README.md").read_text()

    for name in ("Fleet", "AsyncFleet", "Job", "InvalidJob"):
        assert f"`{name}`" in said
        assert hasattr(jobfleet, name)
    with pytest.raises(jobfleet.InvalidJob) as caught:
        jobfleet.Job("x", "y", durability="fsync")
    assert str(caught.value) in said
