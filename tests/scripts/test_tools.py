"""`scripts/tools`, on machines that have nothing, and on machines that have all."""

from __future__ import annotations

import shutil
import subprocess
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
    for name in ("sh", "dirname", "sed", "cat"):
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

    assert (done.returncode, done.stderr) == (0, "Installing chromium\n")
    assert (machine / "asked").read_text() == "install -qq -y --no-install-recommends chromium\n"


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


def test_where_nothing_can_be_had_it_says_so_and_goes_on(machine: Path) -> None:
    (machine / "bin" / "apt-get").unlink()

    done = run(machine, "chromium", "prometheus")

    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["chromium skipped", "prometheus skipped"]


def test_a_tool_that_is_not_known_is_refused(machine: Path) -> None:
    done = run(machine, "netscape")

    assert done.returncode == 2
    [known] = [line[7:-1] for line in SCRIPT.read_text().splitlines() if line.startswith("known='")]
    assert done.stderr == f"scripts/tools: no tool 'netscape'; there are: {known}\n"
