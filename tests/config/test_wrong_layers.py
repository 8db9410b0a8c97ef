"""A file, a variable or an argument that cannot be used is refused, and the error names the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from jobfleet.config import load
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
