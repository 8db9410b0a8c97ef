"""The programs of others that tests need: while the other tests run, `scripts/tools` fetches those that are missing.

A test has the mark `tool("helm")`, or a fixture of `FIXTURES`. What the chosen tests need is fetched, and nothing else.
Tests of a missing tool run last, wait until it is settled, and are skipped without it; the end of the run lists them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.support import order

SCRIPT = Path(__file__).parents[2] / "scripts" / "tools"
FIXTURES = {"postgres": "postgresql", "postgres_url": "postgresql", "maria": "mariadb", "services": "compose"}
"""The tools of fixtures that are in many tests."""
KINDS = {"postgres": "postgresql", "postgresql": "postgresql", "maria": "mariadb", "mariadb": "mariadb"}
"""The tools of parameters: tests that run on several databases ask for a fixture by the name of one."""
PATIENCE_S = 1800.0
tool: Callable[..., pytest.MarkDecorator] = pytest.mark.tool
_known: list[Tools] = []


class NotInstalled(Exception):
    """A program is not there. A test that meets this lacks the mark `tool`."""


def needed(item: pytest.Item) -> set[str]:
    """The tools of a test."""
    marked = {name for mark in item.iter_markers("tool") for name in mark.args}
    fixtures = {FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES}
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return marked | fixtures
    kinds = {KINDS[one] for one in item.callspec.params.values() if isinstance(one, str) and one in KINDS}
    return marked | fixtures | kinds


def is_late(item: pytest.Item) -> bool:
    """Whether a tool of a test was missing when the run began."""
    return bool(names := needed(item)) and any(is_missing(name) for name in names)


def is_missing(name: str) -> bool:
    """Whether a tool was missing when the run began: the same in all processes, and to the end."""
    return name in _known[-1].missing


class Tools:
    """The plugin of pytest: of the process that controls others, of each of these, and of one that is alone.

    Args:
        config: The process's.
        script: What fetches.
    """

    def __init__(self, config: pytest.Config, script: Path = SCRIPT) -> None:
        self._script = script
        self._config = config
        given: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._fetches = given is None or given["workerid"] == "gw0"
        self._missing: frozenset[str] | None = None if given is None else frozenset(given["missing"])
        self._folder = tempfile.TemporaryDirectory(prefix="jobfleet-tools-") if given is None else None
        self._report = Path(self._folder.name) / "report" if self._folder is not None else Path(given["report"])  # type: ignore[index]  # it is one or the other
        self._process: subprocess.Popen[bytes] | None = None
        _known.append(self)

    @property
    def missing(self) -> frozenset[str]:
        """What was missing when the run began; looked up when a test asks."""
        if self._missing is None:
            looked = subprocess.run([self._script, "--missing"], stdout=subprocess.PIPE, text=True, check=True)
            self._missing = frozenset(looked.stdout.split())
        return self._missing

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process what is missing, before it collects: all must choose the same tests in the same order."""
        node.workerinput |= {"missing": sorted(self.missing), "report": str(self._report)}

    @pytest.hookimpl(trylast=True)  # after the options -k and -m have chosen
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Begin with the slow tests if several processes share them; end with those whose tools are fetched first."""
        late = {item for item in items if is_late(item)}
        processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if processes > 1:
            items[:] = order.ordered(
                items, processes, is_slow=order.is_slow, file_of=order.file_of, is_late=late.__contains__
            )
        elif late:
            items.sort(key=late.__contains__)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin to fetch what the chosen tests need."""
        if not self._fetches or self._config.getoption("collectonly"):
            return
        asked = {name for item in session.items for name in needed(item)}
        if not asked or not (wanted := sorted(asked & self.missing)):
            return
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext(), self._report.open("ab") as report:
            command = [str(self._script), "--report", *wanted]
            self._process = subprocess.Popen(command, stdout=report, start_new_session=True)

    def _settled(self) -> dict[str, str]:
        if not self._report.exists():
            return {}
        return dict(line.split() for line in self._report.read_text().splitlines(keepends=True) if line.endswith("\n"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # outside the time limit of the test
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Wait until the tools of a test are settled."""
        if is_late(item):
            deadline = time.monotonic() + PATIENCE_S
            while not self._settled().keys() >= needed(item) & self.missing and time.monotonic() < deadline:
                if "over" in self._settled():
                    break
                time.sleep(0.1)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test without its tools, before its fixtures ask for them."""
        if is_late(item):
            settled = self._settled()
            lacks = sorted(name for name in needed(item) & self.missing if settled.get(name) != "here")
            if lacks:
                item.user_properties.append(("lacks", lacks))
                pytest.skip(f"scripts/tools could not bring {', '.join(lacks)}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # after the short summary
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """List what was not tested for want of a tool, and the remedy."""
        yield
        if self._folder is None:
            return
        skipped = terminalreporter.stats.get("skipped", [])
        counts = Counter(
            name for one in skipped for key, names in one.user_properties if key == "lacks" for name in names
        )
        if not counts:
            return
        listed = subprocess.run([self._script, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
        terminalreporter.section("not tested here")
        for line in listed.splitlines():
            name, remedy, _, purpose = line.split("|")
            if count := counts[name]:
                tests = f"{count} {'test needs' if count == 1 else 'tests need'}"
                terminalreporter.write_line(f"{tests} {name} ({purpose}): {remedy}")

    def pytest_sessionfinish(self) -> None:
        """Let a fetch end after the tool at hand if the run has ended before."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def pytest_unconfigure(self) -> None:
        """Remove the report."""
        _known.remove(self)
        if self._folder is not None:
            self._folder.cleanup()
