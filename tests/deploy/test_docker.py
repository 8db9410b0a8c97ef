"""The image: what the file says, and its steps as far as they run without an engine."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.deployed import DEPLOY, check_settings
from tests.support.fleet import ROOT
from tests.support.server import RedisServer

TEXT = (DEPLOY / "docker" / "Dockerfile").read_text()
IGNORED = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().split()
STEPS = re.findall(r"^([A-Z]+) (.*)$", TEXT, re.MULTILINE)


def of(name: str) -> list[str]:
    return [rest for step, rest in STEPS if step == name]


def test_the_base_is_pinned_and_the_program_is_not_root() -> None:
    bases = {rest.split(" AS ")[0] for rest in of("FROM")}

    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())
    assert of("USER") == ["10001:10001"]
    assert STEPS[-1][0] == "CMD"
    assert json.loads(of("ENTRYPOINT")[0]) == ["jobfleet"]
    check_settings(name.partition("=")[0] for name in of("ENV")[0].split())
    assert {step for step, _ in STEPS} <= {
        "FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"
    }  # fmt: skip


def test_what_is_copied_exists_and_is_all_that_the_context_has() -> None:
    sources = [name for rest in of("COPY") if not rest.startswith("--from") for name in rest.split()[:-1]]

    assert all((ROOT / name).exists() for name in sources)
    assert IGNORED[0] == "*"
    assert sorted(sources) == sorted(name[1:] for name in IGNORED if name.startswith("!"))
    assert any(fnmatch.fnmatch("a/__pycache__", name) for name in IGNORED)


def test_every_package_of_the_image_is_pinned_within_what_the_project_allows() -> None:
    """The direct ones are compared; those of a wrong version would make the build fail."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'"/src\[([a-z,]+)\]"', TEXT)
    wanted = [Requirement(one) for one in project["dependencies"]]
    for name in extras.split(","):
        wanted += [Requirement(one) for one in project["optional-dependencies"][name]]
    lines = (DEPLOY / "docker" / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)

    assert {one.name: pinned.get(one.name) for one in wanted if pinned.get(one.name, "") not in one.specifier} == {}
    assert "--compile" in TEXT


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_fails_as_the_endpoint_does(status: int, code: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    command = json.loads(of("HEALTHCHECK")[0].partition(" CMD ")[2])

    done = subprocess.run(
        [sys.executable, *command[1:]],
        env={"HEALTH_URL": f"http://127.0.0.1:{server.server_address[1]}/healthz"},
        capture_output=True,
        check=False,
    )

    thread.join()
    server.server_close()
    assert (done.returncode != 0) == bool(code)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_steps_make_an_environment_in_which_the_program_runs(tmp_path: Path) -> None:
    """COPY and RUN with the image's paths moved below a folder; users are made in files of that folder."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc" / name).touch()

    def moved(text: str) -> str:
        text = re.sub(r"(?<![\w/])/(src|opt|app|access)\b", rf"{tmp_path}/\1", text)
        text = re.sub(r"\b(groupadd|useradd)\b", rf"\1 --prefix {tmp_path}", text)
        return text.replace("python -m venv", f"{sys.executable} -m venv").replace("--no-cache-dir ", "")

    for step, rest in STEPS:
        words = shlex.split(moved(rest))
        if step == "COPY" and not rest.startswith("--from"):
            target = Path(words[-1])
            target.mkdir(parents=True, exist_ok=True)
            for name in words[:-1]:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, target)
        elif step == "RUN":
            subprocess.run(moved(rest), shell=True, check=True)

    jobfleet = tmp_path / "opt" / "jobfleet" / "bin" / "jobfleet"
    assert "10001" in (tmp_path / "etc" / "passwd").read_text()
    assert (tmp_path / "access").stat().st_uid == 10001
    with RedisServer() as server:
        done = subprocess.run(
            [jobfleet, "--url", server.url, "queues", "ls", "-o", "json"], capture_output=True, text=True, check=True
        )
    assert json.loads(done.stdout) == []
