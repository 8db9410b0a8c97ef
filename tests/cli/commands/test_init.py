"""`jobfleet init`: a project that passes its own test, and never takes the place of another file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.hand import ROOT, Cli
from tests.support.each import each

FILES = [
    "shop_1.py", "tests/test_shop_1.py", "jobfleet.toml", "pyproject.toml", "Dockerfile", "compose.yaml",
    "systemd/shop-1-worker.service", "systemd/shop-1-reaper.service", "README.md", ".gitignore", ".dockerignore",
]  # fmt: skip


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_project_passes_its_own_test(cli: Cli, here: Path) -> None:
    done = cli("init", "shop-1", "-o", "ids")

    assert (done.exit_code, done.stdout.splitlines()) == (0, [f"shop-1/{path}" for path in FILES])
    texts = files_in(here / "shop-1")
    assert sorted(texts) == sorted(FILES)
    of_others = r"\$MAINPID|\$\$REDISCLI_AUTH|\$\{REDIS_PASSWORD[^}]*\}|\$\(openssl"  # they replace these themselves
    assert [path for path, text in texts.items() if "$" in re.sub(of_others, "", text)] == []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=here / "shop-1", env={**environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "2 passed" in tested.stdout


def test_the_settings_of_a_new_project_are_valid(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("init", "shop-1")
    monkeypatch.chdir(here / "shop-1")

    done = cli("config", "check")

    assert (done.exit_code, done.stderr) == (0, "")


def test_nothing_is_overwritten_and_nothing_is_written_beside_it(cli: Cli, here: Path) -> None:
    (here / "shop").mkdir()
    (here / "shop" / "compose.yaml").write_text("mine")
    (here / "shop" / "README.md").symlink_to("nowhere")

    done = cli("init", "shop")

    assert done.exit_code == 1
    assert done.stderr == "compose.yaml, README.md in 'shop' would be overwritten; choose another folder.\n"
    assert {path.name for path in (here / "shop").iterdir()} == {"compose.yaml", "README.md"}
    assert (here / "shop" / "compose.yaml").read_text() == "mine"


def test_a_file_in_the_place_of_a_folder_is_in_the_way(cli: Cli, here: Path) -> None:
    (here / "shop").mkdir()
    (here / "shop" / "systemd").write_text("mine")

    done = cli("init", "shop")

    assert (done.exit_code, done.stderr) == (1, "systemd in 'shop' would be overwritten; choose another folder.\n")
    assert [path.name for path in (here / "shop").iterdir()] == ["systemd"]
    (here / "store").write_text("mine")
    assert cli("init", "store").exit_code == 1


def test_the_current_folder_gives_the_name(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "crm").mkdir()
    monkeypatch.chdir(here / "crm")

    done = cli("init")

    assert done.exit_code == 0
    assert (here / "crm" / "crm.py").exists()
    assert done.stdout.splitlines()[-1] == "Next: jobfleet up crm"


@pytest.mark.parametrize("ignoring", [".gitignore", ".dockerignore"])
def test_what_a_folder_has_by_use_reaches_neither_git_nor_the_image(cli: Cli, here: Path, ignoring: str) -> None:
    cli("init", "shop")
    lines = (here / "shop" / ignoring).read_text().splitlines()
    assert {".venv", ".jobfleet", "**/__pycache__"} <= set(lines)
    assert "wheels" not in lines  # the image installs from it


def test_an_ignore_file_of_the_folder_is_kept(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "crm").mkdir()
    monkeypatch.chdir(here / "crm")
    Path(".gitignore").write_text("mine\n")

    done = cli("init")

    assert done.exit_code == 0
    assert Path(".gitignore").read_text() == "mine\n"
    assert ".gitignore" not in done.stdout
    assert done.stderr == "Kept .gitignore. Add to it: .venv, .jobfleet.\n"


@each(
    "name, why",
    [
        ("class", "it is a keyword of Python"),
        ("json", "json.py would hide the module json of Python's standard library"),
        ("concurrent", "concurrent.py would hide the module concurrent of Python's standard library"),
        ("redis", "redis.py would hide the package redis, which is installed or needed"),
        (
            "prometheus-client",
            "prometheus_client.py would hide the package prometheus_client, which is installed or needed",
        ),
        ("streamlit", "streamlit.py would hide the package streamlit, which is installed or needed"),
        ("pluggy", "pluggy.py would hide the package pluggy, which is installed or needed"),
    ],
)
def test_a_name_that_would_hide_another_module_is_refused(cli: Cli, here: Path, name: str, why: str) -> None:
    done = cli("init", name)

    assert (done.exit_code, list(here.iterdir())) == (2, [])
    assert done.stderr == f"{name!r} cannot be the name of a project: {why}. Choose another name.\n"


@each("name", ["Shop", "1shop", "class", "jobfleet", "tests", "a/b", "a b", "shop-", "shop_", "x" * 41, ".."])
def test_a_name_that_cannot_be_a_module_is_refused(cli: Cli, here: Path, name: str) -> None:
    done = cli("init", name)

    assert (done.exit_code, list(here.iterdir())) == (2, [])
    assert "cannot be the name of a project" in done.stderr
