"""The compose file: compose's own parser, and the numbers that must fit each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jobfleet.clock import read_duration
from tests.deploy.deployed import (
    DEPLOY,
    IDLE_MIB,
    MIB,
    PLUGIN,
    check_settings,
    has_time_to_drain,
    program,
    silent,
    users,
)
from tests.support import tools
from tests.support.scraping import tool

FILE = DEPLOY / "compose" / "compose.yaml"
PASSWORDS = ("REDIS_PASSWORD", "GRAFANA_PASSWORD")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services as compose reads them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PASSWORDS:
            patch.setenv(name, f"{name.lower()}-x")
        found = silent(program("docker-compose", PLUGIN), "-f", FILE, "config", "--format", "json")
    read: dict[str, Any] = json.loads(found)["services"]
    return read


def test_there_are_two_workers_and_reapers_and_what_watches_them(services: dict[str, Any]) -> None:
    assert services.keys() == {"redis", "worker", "reaper", "web", "prometheus", "grafana"}
    assert all(int(one["deploy"]["resources"]["limits"]["memory"]) >= 256 * MIB for one in services.values())
    assert {name: one["deploy"]["replicas"] for name, one in services.items() if "replicas" in one["deploy"]} == {
        "worker": 2, "reaper": 2
    }  # fmt: skip
    own = {name for name, one in services.items() if one["image"].startswith("jobfleet:")}
    assert own == {"worker", "reaper", "web"}
    for name in services.keys() - own:
        assert re.fullmatch(r"[\w/]+:[\w.-]+@sha256:[0-9a-f]{64}", services[name]["image"])
    for one in services.values():
        check_settings(one.get("environment") or {})
        assert all(port["host_ip"] == "127.0.0.1" for port in one.get("ports", ()))


def test_no_container_can_write_files_or_has_a_capability(services: dict[str, Any]) -> None:
    for name, one in services.items():
        confined = (one["read_only"], one["cap_drop"], one["security_opt"])
        assert confined == (True, ["ALL"], ["no-new-privileges:true"]), name


@tools.tool("compose")
@pytest.mark.parametrize("missing", PASSWORDS)
def test_nothing_starts_without_passwords(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in PASSWORDS:
        monkeypatch.delenv(name, raising=False) if name == missing else monkeypatch.setenv(name, "x")
    shutil.copy(FILE, tmp_path)  # the folder of the file may have a .env

    done = subprocess.run(
        [program("docker-compose", PLUGIN), "-f", tmp_path / FILE.name, "config", "-q"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert f"set {missing}, see docs/howto/deploy.md" in done.stderr


def test_redis_and_grafana_have_the_passwords(services: dict[str, Any]) -> None:
    for name in ("worker", "reaper", "web"):
        assert urlsplit(services[name]["environment"]["JOBFLEET_URL"]).password == "redis_password-x"
    assert services["redis"]["environment"] == {"REDISCLI_AUTH": "redis_password-x"}
    assert '--requirepass "$$REDISCLI_AUTH"' in services["redis"]["command"][-1]
    assert services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "grafana_password-x"


@tools.tool("compose")
def test_each_role_has_its_own_redis_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PASSWORDS:
        monkeypatch.setenv(name, "x")
    roles = {"worker": "worker", "reaper": "reaper", "web": "operator"}
    for role in roles.values():
        monkeypatch.setenv(f"JOBFLEET_{role.upper()}_URL", f"redis://{role}:x@redis.example.org/0")
    monkeypatch.setenv("JOBFLEET_WEB_VIEWER_URL", "redis://web:x@redis.example.org/0")

    found = json.loads(silent(program("docker-compose", PLUGIN), "-f", FILE, "config", "--format", "json"))["services"]

    users_of = {name: urlsplit(found[name]["environment"]["JOBFLEET_URL"]).username for name in roles}
    assert users_of == roles
    assert urlsplit(found["web"]["environment"]["JOBFLEET_WEB_VIEWER_URL"]).username == "web"
    assert {*users_of.values(), "web"} <= users()


def test_an_empty_worker_takes_less_than_half_of_its_memory(services: dict[str, Any]) -> None:
    worker = services["worker"]
    processes = int(worker["environment"]["JOBFLEET_PROCESSES"])

    assert (processes + 1) * IDLE_MIB * MIB < int(worker["deploy"]["resources"]["limits"]["memory"]) / 2


def test_a_worker_has_time_to_drain(services: dict[str, Any]) -> None:
    worker = services["worker"]

    assert has_time_to_drain(worker["environment"]["JOBFLEET_GRACE"], read_duration(worker["stop_grace_period"]))


def test_each_file_that_is_mounted_exists(services: dict[str, Any]) -> None:
    binds = [Path(one["source"]) for name, service in services.items() for one in service.get("volumes", ())
             if one["type"] == "bind" and name != "worker"]  # fmt: skip

    assert len(binds) >= 5
    assert all(path.exists() for path in binds)


@tools.tool("compose")
def test_the_parser_refuses_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    broken = tmp_path / "compose.yaml"
    broken.write_text(FILE.read_text().replace("stop_grace_period", "stop_grace_perod"))

    done = subprocess.run(
        [program("docker-compose", PLUGIN), "-f", broken, "config", "-q"], capture_output=True, check=False
    )

    assert done.returncode != 0


@tools.tool("prometheus")
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "compose" / "prometheus.yml", tmp_path)
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", tmp_path)

    silent(tool("promtool"), "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml", cwd=tmp_path)
