"""The clock that guards leases counts the time for which the machine was suspended, on each system."""

from __future__ import annotations

import runpy
import time

import pytest

from jobfleet import clock


@pytest.mark.parametrize(
    ("platform", "asked"), [("linux", "CLOCK_BOOTTIME"), ("darwin", "CLOCK_MONOTONIC_RAW")], ids=["linux", "darwin"]
)
def test_the_clock_of_leases_counts_suspension(platform: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if platform == "darwin":
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    else:
        monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(time, "clock_gettime", lambda number: ("read", number))

    module = runpy.run_path(str(clock.__file__))

    assert module["boottime"]() == ("read", getattr(time, asked))
