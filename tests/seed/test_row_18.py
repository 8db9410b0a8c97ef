"""Row 18: seven worked examples that print what they say, and a script that checks every feature."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import redis

from tests.support.fleet import LONG, ROOT
from tests.support.scripts import run_script
from tests.support.verify.stage import CHECKS, Check, Stage

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


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script(str(ROOT / "scripts" / "verify"), *arguments, timeout=250)


def test_the_script_sees_features_and_leaves_nothing_behind(redis_url: str, raw: redis.Redis) -> None:
    raw.set("of-somebody-else", "stays")

    done = verify("--url", redis_url, "--row", "1", "--row", "7")

    table = done.stdout.splitlines()
    assert (done.returncode, table[-1]) == (0, "6 of 6 features seen"), done.stdout + done.stderr
    assert [row.split()[0] for row in table[:-1]] == ["row", "1", "1", "1", "1", "1", "7"]
    assert raw.keys() == [b"of-somebody-else"]


@pytest.mark.slow
@pytest.mark.timeout(1100)  # beyond what a busy machine makes of the deadline of the script
def test_the_script_sees_every_feature_on_a_server_of_its_own() -> None:
    done = verify()

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"([1-9]\d+) of \1 features seen", done.stdout.splitlines()[-1])


def test_the_script_knows_every_row() -> None:
    runpy.run_path(str(ROOT / "scripts" / "verify"))

    assert {check.row for check in CHECKS} == set(range(1, 20))


def test_a_miss_is_told_and_is_the_exit_status(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def amiss(stage: Stage) -> str:
        raise AssertionError("nothing of the kind")

    main = runpy.run_path(str(ROOT / "scripts" / "verify"))["main"]
    monkeypatch.setitem(main.__globals__, "CHECKS", [Check(99, "flying", amiss)])

    assert main(["--url", redis_url]) == 1

    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "0 of 1 features seen, 1 MISSED"
    assert "MISS" in out[-2]
    assert out[-2].endswith("AssertionError: nothing of the kind")
