"""The URL of a running `jobfleet up`, out of the note that it leaves in the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobfleet.config import load
from tests.support.each import each


def moved(directory: Path) -> dict[str, tuple[object, str]]:
    """The URL and where it came from, unless it is the default."""
    loaded = load({}, environ={}, directory=directory)
    source = loaded.sources["url"]
    return {} if source == "default" else {"url": (loaded.config.url, source)}


def note(directory: Path, content: bytes | dict[str, object]) -> None:
    (directory / ".jobfleet").mkdir(exist_ok=True)
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (directory / ".jobfleet" / "up.json").write_bytes(raw)


@pytest.mark.parametrize("pid", [{}, {"pid": os.getpid()}, {"pid": 1}], ids=["no pid", "own", "another user's"])
def test_the_url_of_a_running_up_is_taken_when_no_url_is_set(pid: dict[str, object], tmp_path: Path) -> None:
    note(tmp_path, {"url": "unix:///tmp/up.sock", **pid})

    assert moved(tmp_path) == {"url": ("unix:///tmp/up.sock", ".jobfleet/up.json")}


def test_any_url_that_is_set_comes_before_that_of_up(tmp_path: Path) -> None:
    note(tmp_path, {"url": "unix:///tmp/up.sock"})
    (tmp_path / "pyproject.toml").write_text('[tool.jobfleet]\nurl = "redis://h"\n')

    assert moved(tmp_path) == {"url": ("redis://h", "[tool.jobfleet] of pyproject.toml")}


@each(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b'{"url": 1}',
        b'{"url": "http://h"}',
        b'{"url": "redis://h", "pid": "x"}',
        b'{"url": "redis://h", "pid": 0}',
        b'{"url": "redis://h", "pid": -1}',
        b'{"url": "redis://h", "pid": 99999999999999999999}',
    ],
)
def test_a_broken_note_of_up_is_ignored(content: bytes, tmp_path: Path) -> None:
    note(tmp_path, content)

    assert moved(tmp_path) == {}


def test_a_note_whose_process_is_gone_is_ignored(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note(tmp_path, {"url": "redis://h", "pid": gone.pid})

    assert moved(tmp_path) == {}


def test_a_process_of_another_user_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    note(tmp_path, {"url": "redis://h", "pid": 5})

    assert moved(tmp_path) == {"url": ("redis://h", ".jobfleet/up.json")}
