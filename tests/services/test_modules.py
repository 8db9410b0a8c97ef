"""The import of the user's modules: what is shown when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobfleet.errors import ConfigError
from jobfleet.services.modules import load_modules


@pytest.mark.parametrize("folder", ["app", "jobfleet/workers", "importlib_tour"])
def test_the_traceback_begins_in_the_users_code_wherever_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / "broken_tasks.py").write_text("def connect():\n    raise ValueError('no host')\n\nconnect()\n")

    with pytest.raises(
        ConfigError, match=r"Cannot import 'broken_tasks': ValueError: no host; correct the line below\."
    ) as raised:
        load_modules(["broken_tasks"], str(place))

    lines = raised.value.shown.splitlines()
    assert lines[1] == f'  File "{place}/broken_tasks.py", line 4, in <module>'
    assert lines[-1] == "ValueError: no host"
