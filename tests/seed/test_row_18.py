"""Row 18: seven worked examples that print what they say, and a script that checks every feature."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.fleet import LONG, ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


def promised(example: Path) -> str:
    """What an example says at its head that it prints."""
    said = ast.get_docstring(ast.parse(example.read_text())) or ""
    return textwrap.dedent(said.partition("Prints:\n\n")[2]).strip() + "\n"


def test_there_are_seven() -> None:
    assert [example.name[:2] for example in EXAMPLES] == [f"0{n}" for n in range(1, 8)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_prints_what_it_says(example: Path, redis_url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env={**os.environ, "JOBFLEET_URL": redis_url},
        capture_output=True, text=True, timeout=LONG, check=True,
    )  # fmt: skip

    assert done.stdout == promised(example)
