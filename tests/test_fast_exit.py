"""Programs of the package end without a search for objects in cycles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import jobfleet

PACKAGE = Path(jobfleet.__file__).parent
IS_PROGRAM = '\nif __name__ == "__main__":'
NONE_OF_OURS = {"panels/__main__.py"}
"""It becomes Streamlit, which ends as it likes."""
RUN = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 0))  # called after those that are registered later
{first}
from jobfleet.__main__ import main
main()
"""


@pytest.mark.parametrize(("first", "says"), [("", "True"), ("gc.freeze = int", "False")])
def test_a_command_leaves_its_objects_to_the_kernel(first: str, says: str) -> None:
    code = RUN.format(first=first)

    done = subprocess.run([sys.executable, "-c", code, "version"], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == says


def test_every_program_does() -> None:
    programs = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    programs = {path: text for path, text in programs.items() if IS_PROGRAM in text}

    assert {path for path, text in programs.items() if "    exit_fast()\n" not in text} == NONE_OF_OURS
    assert len(programs) >= 5
