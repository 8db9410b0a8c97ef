"""`scripts/mutants` on a small tree: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mutants.mutant import Key
from tests.support.mutants.survey import Survey, survey
from tests.support.mutants.trial import Trial
from tests.support.waiting import wait_until

HELD = Key("is_more", "return a > b", "return a <= b")
FREE = Key("is_more", "return a > b", "return a >= b")
NEVER_MIND = Key("is_more", "return a > b", "return None")
SOURCE = "def is_more(a, b):\n    return a > b\n"
TESTS = """
from pair import is_more

def test_two_is_more_than_one():
    assert is_more(2, 1)

def test_one_is_not_more_than_two():
    assert is_more(1, 2) is False
"""
HANGING = """
import subprocess, sys

def test_nobody_comes_back():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).wait()
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with a module of one comparison, and a test that does not look at its boundary."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "pair.py").write_text(SOURCE)
    (tmp_path / "test_pair.py").write_text(TESTS)
    (tmp_path / "test_hanging.py").write_text(HANGING)
    return tmp_path


def keys(told: Survey) -> dict[str, list[Key]]:
    """What became of each mutant."""
    source = told.source
    return {
        "caught": [mutant.key(source) for mutant in told.caught],
        "survived": [mutant.key(source) for mutant in told.survived],
        "equivalent": [mutant.key(source) for mutant, _ in told.equivalent],
        "wrong": [mutant.key(source) for mutant in told.wrong],
        "stale": list(told.stale),
    }


def test_a_survivor_is_found_and_a_mutant_that_a_test_notices_is_caught(tree: Path) -> None:
    told = survey(tree, "pair.py", ["test_pair.py"])

    assert keys(told) == {"caught": [NEVER_MIND, HELD], "survived": [FREE], "equivalent": [], "wrong": [], "stale": []}
    assert list(told.lines()) == [
        "pair.py: 3 of 3 mutants tried, 2 caught, 0 equivalent, 1 survived: 66.7%",
        "  line 2, comparison, is_more: survived",
        "    - return a > b",
        "    + return a >= b",
    ]
    assert (tree / "pair.py").read_text() == SOURCE


def test_a_record_excuses_a_survivor_and_is_refuted_by_a_test_that_notices(tree: Path) -> None:
    gone = Key("is_less", "return a < b", "return a <= b")

    told = survey(tree, "pair.py", ["test_pair.py"], known={FREE: "never equal", HELD: "no", gone: "was there"})

    assert keys(told) == {
        "caught": [NEVER_MIND],
        "survived": [],
        "equivalent": [FREE],
        "wrong": [HELD],
        "stale": [gone],
    }
    assert (told.share, told.is_clean) == (1.0, False)


def test_a_sample_is_the_same_for_a_seed(tree: Path) -> None:
    first, second = (keys(survey(tree, "pair.py", ["test_pair.py"], sample=1, seed=7)) for _ in range(2))

    assert first == second
    assert sum(len(found) for found in first.values()) == 1


def test_tests_that_do_not_use_the_file_hold_none_of_its_lines(tree: Path) -> None:
    (tree / "test_other.py").write_text("def test_nothing():\n    pass\n")

    with pytest.raises(ValueError, match=r"pair\.py: the tests pass though the file cannot be loaded"):
        survey(tree, "pair.py", ["test_other.py"])


def test_a_run_that_hangs_is_killed_with_all_that_it_started(tree: Path) -> None:
    with Trial(tree) as trial:
        outcome = trial.run(["test_hanging.py"], limit=2)
        wait_until(lambda: not trial.processes(), why="the kernel has let go what was killed")

    assert (outcome.is_green, outcome.is_hung) == (False, True)
    assert not trial.tree.exists()
