"""`scripts/tools`, on machines that have nothing, and on machines that have all; and runs of tests that need tools."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "tools"
RECORDER = '#!/bin/sh\necho "$@" >> {asked}\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A copy of the script, and a folder of programs that has what it needs and a package manager that takes notes."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts" / "tools")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "sed", "cat", "mkdir"):
        (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    write(programs / "apt-get", RECORDER.format(asked=tmp_path / "asked"))
    write(programs / "id", "#!/bin/sh\necho 0\n")
    return tmp_path


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def run(machine: Path, *names: str) -> subprocess.CompletedProcess[str]:
    command = [str(machine / "scripts" / "tools"), *names]
    return subprocess.run(command, env={"PATH": str(machine / "bin")}, capture_output=True, text=True, check=False)


def test_a_browser_that_is_not_there_is_installed(machine: Path) -> None:
    done = run(machine, "chromium")

    (said, what) = done.stderr.splitlines()
    assert (done.returncode, said.split(" (")[0]) == (0, "Fetching what is not here, for the tests that need it")
    assert what.startswith("  chromium, about ")
    assert (machine / "asked").read_text().split()[-1] == "chromium"


def test_what_is_there_is_not_installed_again(machine: Path) -> None:
    for name in ("chromium", "node", "prometheus", "promtool", "postgres", "zsh", "fish", "systemd-analyze"):
        write(machine / "bin" / name, "#!/bin/sh\n")
    servers = machine / ".venv" / "tools" / "bin"
    servers.mkdir(parents=True)
    for name in ("redis-server", "valkey-server", "mariadbd", "helm", "kubectl"):
        write(servers / name, "#!/bin/sh\n")
    nginx = machine / ".venv" / "tools" / "usr" / "sbin" / "nginx"
    nginx.parent.mkdir(parents=True)
    write(nginx, "#!/bin/sh\n")
    checker = machine / ".venv" / "tools" / "axe" / "axe.min.js"
    checker.parent.mkdir()
    checker.touch()
    (machine / ".venv" / "tools" / "python" / "kubernetes_validate").mkdir(parents=True)
    plugins = machine / ".venv" / "tools" / "usr" / "libexec" / "docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    write(plugins / "docker-compose", "#!/bin/sh\n")
    django = machine / ".venv" / "django6" / "bin"
    django.mkdir(parents=True)
    write(django / "django-admin", "#!/bin/sh\n")
    (machine / "pyproject.toml").write_text("[dependency-groups]\ndocs = []\n\n[project]\n")
    for name in ("docs", "peers", "arq"):
        stamp = machine / ".venv" / "tools" / name / ".group"
        stamp.parent.mkdir()
        stamp.write_text("[dependency-groups]\ndocs = []\n\n[project]\n")
    vendor = machine / ".venv" / "tools" / "docs" / "vendor" / "mermaid.js"
    vendor.parent.mkdir()
    vendor.touch()

    done = run(machine)

    assert (done.returncode, done.stderr, (machine / "asked").exists()) == (0, "", False)
    assert run(machine, "--missing").stdout == ""
    write(django / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (machine / ".venv" / "bin").symlink_to(django)
    assert run(machine, "--missing").stdout == ""
    with (machine / ".venv" / "tools.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(machine, "--missing", "zsh", "helm").stdout == "zsh\nhelm\n", "they may be unpacked at this moment"


def test_where_nothing_can_be_had_it_says_so_and_goes_on(machine: Path) -> None:
    (machine / "bin" / "apt-get").unlink()

    done = run(machine, "chromium", "prometheus")

    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["chromium skipped", "prometheus skipped"]
    assert run(machine, "--report", "chromium", "helm").stdout == "chromium missing\nhelm missing\nover -\n"


def test_what_is_missing_is_looked_up_without_fetching_it(machine: Path) -> None:
    write(machine / "bin" / "node", "#!/bin/sh\n")

    done = run(machine, "--missing", "node", "chromium", "postgresql")

    there = [name for name in ("postgresql",) if any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))]
    assert done.stdout.split() == [name for name in ("chromium", "postgresql") if name not in there]
    assert not (machine / "asked").exists()


def test_a_tool_that_is_not_known_is_refused(machine: Path) -> None:
    done = run(machine, "netscape")

    assert done.returncode == 2
    known = " ".join(line.partition("|")[0] for line in run(machine, "--list").stdout.splitlines())
    assert done.stderr == f"scripts/tools: no tool 'netscape'; there are: {known}\n"


FAKE = """#!/usr/bin/env python3
import pathlib, sys, time
folder = pathlib.Path(__file__).parent
with (folder / "asked").open("a") as asked:
    asked.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "--missing":
    print("late", "broken", "unused", sep="\\n")
elif sys.argv[1] == "--list":
    print("late|late|1 MB|comes late", "broken|mend it|1 MB|never comes", "unused|-|1 MB|not asked for", sep="\\n")
else:
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.ran"))) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    (folder / "late.tool").write_text(str(len(list(folder.glob("*.ran")))))
    print("late here", "broken missing", sep="\\n")
"""
"""Fetches when the tests without tools have run."""
CONFTEST = """
from pathlib import Path
from tests.support.tools import Tools

def pytest_configure(config):
    config.addinivalue_line("markers", "tool(*names): of others")
    config.pluginmanager.register(Tools(config, Path(__file__).with_name("fake")))
"""
TESTS = """
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.fixture(scope="session")
def broken():
    raise AssertionError("a test without its tool is skipped before its fixtures")

@pytest.mark.tool("late")
def test_late():
    assert (HERE / "late.tool").read_text() == "8"

@pytest.mark.tool("broken", "late")
@pytest.mark.parametrize("number", [1, 2])
def test_broken(broken, number):
    pass

@pytest.mark.tool("there")
def test_there():
    pass

@pytest.mark.parametrize("number", range(8))
def test_plain(number):
    (HERE / f"{number}.ran").touch()
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Tests of which some need tools: one that comes late, one that never comes, and one that is there."""
    for name, text in (("conftest.py", CONFTEST), ("test_all.py", TESTS), ("pytest.ini", "[pytest]\n")):
        (tmp_path / name).write_text(text)
    write(tmp_path / "fake", FAKE)
    return tmp_path


def run_suite(suite: Path, *arguments: str) -> tuple[str, str]:
    """Run the tests; return what pytest says, and how the script was called."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, (suite / "asked").read_text() if (suite / "asked").exists() else ""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_tools_are_fetched_while_the_other_tests_run_and_the_end_names_what_is_missing(
    suite: Path, processes: str
) -> None:
    said, asked = run_suite(suite, "-n", processes, "--dist", "worksteal")

    assert "10 passed, 2 skipped" in said, said
    assert "2 tests need broken (never comes): mend it" in said.splitlines()
    assert "need late" not in said
    assert asked.splitlines() == ["--missing", "--report broken late", "--list"]


def test_chosen_tests_without_tools_fetch_nothing(suite: Path) -> None:
    said, asked = run_suite(suite, "-n", "0", "-k", "plain")

    assert "8 passed" in said, said
    assert asked == ""
