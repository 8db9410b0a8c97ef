"""A file of settings is parsed again only when its text has changed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobfleet.config import load

TEXT = "[tool.jobfleet]\nslots = {}\n"


def test_many_fleets_parse_a_file_once_and_read_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    original = tomllib.loads

    def counted(text: str) -> dict[str, Any]:
        parsed.append(text)
        return original(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    seen = []
    for slots in (3, 3, 3, 4, 4):
        text = f"# {tmp_path}\n{TEXT.format(slots)}"  # of this run alone
        (tmp_path / "pyproject.toml").write_text(text)
        seen.append(load(environ={}, directory=tmp_path).config.slots)

    assert seen == [3, 3, 3, 4, 4]
    assert len(parsed) == 2
