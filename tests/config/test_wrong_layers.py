"""A file, a variable or an argument that cannot be used is refused, and the error names the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from jobfleet import Fleet
from jobfleet.config import SETTINGS, load
from jobfleet.errors import ConfigError


@pytest.mark.parametrize(
    ("files", "environ", "arguments", "message"),
    [
        ({}, {}, {"slotz": 1}, "Unknown setting 'slotz' (argument); did you mean 'slots'?"),
        (
            {"jobfleet.toml": "max-jobs = 1"},
            {},
            {},
            "Unknown setting 'max-jobs' (jobfleet.toml); did you mean 'max_jobs'?",
        ),
        (
            {"pyproject.toml": "[tool.jobfleet]\nqqqq = 1"},
            {},
            {},
            "Unknown setting 'qqqq' ([tool.jobfleet] of pyproject.toml); 'jobfleet config show' lists them all.",
        ),
        ({}, {"JOBFLEET_LEESE": "1"}, {}, "Unknown variable 'JOBFLEET_LEESE'; did you mean 'JOBFLEET_LEASE'?"),
        ({}, {"JOBFLEET_LEASE": "0.5"}, {}, "lease = '0.5' (JOBFLEET_LEASE): use 1s or more."),
        ({"jobfleet.toml": "slots = true"}, {}, {}, "slots = True (jobfleet.toml): use a whole number."),
        (
            {"pyproject.toml": "[tool]\njobfleet = 1"},
            {},
            {},
            "tool.jobfleet in pyproject.toml is not a table; write [tool.jobfleet] and keys below it.",
        ),
        ({}, {}, {"config": "no.toml"}, "No settings file no.toml; correct --config / JOBFLEET_CONFIG."),
        ({}, {"JOBFLEET_CONFIG": "."}, {}, "Cannot read .: Is a directory."),
        (
            {"jobfleet.toml": "slots ="},
            {},
            {},
            "Cannot read jobfleet.toml: Invalid value (at end of document); correct the TOML.",
        ),
    ],
)
def test_a_wrong_layer_is_refused_with_its_remedy(
    files: Mapping[str, str],
    environ: Mapping[str, str],
    arguments: Mapping[str, object],
    message: str,
    tmp_path: Path,
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(arguments, environ=environ, directory=tmp_path)

    assert str(caught.value) == message


LINKS = {
    "JOBFLEET_REAPER_SERVICE_HOST": "10.0.0.2",
    "JOBFLEET_REAPER_SERVICE_PORT": "9100",
    "JOBFLEET_REAPER_SERVICE_PORT_METRICS": "9100",
    "JOBFLEET_REAPER_PORT": "tcp://10.0.0.2:9100",
    "JOBFLEET_REAPER_PORT_9100_TCP": "tcp://10.0.0.2:9100",
    "JOBFLEET_REAPER_PORT_9100_TCP_PROTO": "tcp",
    "JOBFLEET_REAPER_PORT_9100_TCP_PORT": "9100",
    "JOBFLEET_REAPER_PORT_9100_TCP_ADDR": "10.0.0.2",
    "JOBFLEET_WEB_SERVICE_HOST": "10.0.0.3",
    "JOBFLEET_WEB_PORT": "tcp://10.0.0.3:80",
    "JOBFLEET_SERVICE_HOST": "10.0.0.4",
    "JOBFLEET_PORT": "udp://10.0.0.4:53",
    "JOBFLEET_PORT_53_UDP_ADDR": "10.0.0.4",
}
"""What Kubernetes sets for the services "jobfleet-reaper", "jobfleet-web" and "jobfleet"."""


def test_variables_of_services_are_no_settings(tmp_path: Path) -> None:
    assert load(environ=LINKS, directory=tmp_path) == load(environ={}, directory=tmp_path)


def test_a_setting_counts_beside_a_service_of_its_name(tmp_path: Path) -> None:
    loaded = load(environ={**LINKS, "JOBFLEET_WEB_PORT": "80"}, directory=tmp_path)

    assert (loaded.config.web_port, loaded.sources["web_port"]) == (80, "JOBFLEET_WEB_PORT")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"JOBFLEET_WEB_PORT": "tcp://10.0.0.3:80"}, "web_port = 'tcp://10.0.0.3:80' (JOBFLEET_WEB_PORT): "),
        ({**LINKS, "JOBFLEET_REAPER_LEASE": "1"}, "Unknown variable 'JOBFLEET_REAPER_LEASE'; "),
        ({**LINKS, "JOBFLEET_REAPERS_PORT": "1"}, "Unknown variable 'JOBFLEET_REAPERS_PORT'; "),
    ],
)
def test_what_only_resembles_a_variable_of_a_service_is_refused(
    environ: Mapping[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ=environ, directory=tmp_path)

    assert str(caught.value).startswith(message)


def test_no_setting_has_a_name_that_only_services_have() -> None:
    names = [f"JOBFLEET_{setting.name.upper()}" for setting in SETTINGS]
    assert [name for name in names if "_SERVICE_" in name or re.search(r"_PORT_\d", name)] == []


def test_a_producer_warns_about_an_unknown_variable_and_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBFLEET_LEESE", "1")

    with pytest.warns(UserWarning, match="JOBFLEET_LEESE") as caught:
        Fleet("redis://localhost:1/0").close()

    assert [str(one.message) for one in caught] == [
        "Unknown variable 'JOBFLEET_LEESE'; did you mean 'JOBFLEET_LEASE'? It has no effect."
    ]
    assert caught[0].filename == __file__
