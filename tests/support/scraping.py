"""What the endpoints of workers and reapers answer, and the programs of Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import ROOT, Program
from tests.support.tools import NotInstalled
from tests.support.waiting import wait_until

TOOLS = ROOT / ".venv" / "tools" / "usr" / "bin"
PREFIX = "jobfleet_"


class Probed(NamedTuple):
    """A probe's answer: its status, and its body."""

    status: int
    body: Mapping[str, Any]


def tool(name: str) -> Path:
    """A program that scripts/tools brings.

    Raises:
        NotInstalled: It is not there.
    """
    found = TOOLS / name if (TOOLS / name).exists() else shutil.which(name)
    if found is None:
        raise NotInstalled(f"no {name}: scripts/tools could not bring it")
    return Path(found)


def port_of(program: Program) -> int:
    """Where a worker or a reaper serves."""
    found = wait_until(lambda: re.search(r"metrics\.serving port=(\d+)", program.said), timeout=60, why="it serves")
    return int(found[1])  # type: ignore[index]  # wait_until answers what is true


def scrape(program: Program) -> str:
    """The exposition of a worker or a reaper."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port_of(program)}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def samples(program: Program, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """The samples of a metric, named without prefix, that bear these labels."""
    return [
        (dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(scrape(program))
        for sample in family.samples
        if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
    ]


def value(program: Program, name: str, **labels: str) -> float:
    """The sum of those samples."""
    return sum(number for _, number in samples(program, name, **labels))


def probe(program: Program, path: str) -> Probed:
    """What a probe answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port_of(program)}{path}", timeout=20) as answer:
            return Probed(answer.status, json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        return Probed(error.code, json.loads(error.read()))


__all__ = ["PREFIX", "Probed", "Program", "port_of", "probe", "samples", "scrape", "tool", "value"]
