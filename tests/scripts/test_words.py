"""The word list of the gate: each word is refused with its replacement, and the list of unclean places only shrinks."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "words"))
WORDS: Sequence[Any] = SCRIPT["WORDS"]
CASES = [(word, example) for word in WORDS for example in word.examples]

Check = Callable[..., int]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "jobfleet" / "store").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(("word", "example"), CASES, ids=[example for _, example in CASES])
def test_each_word_is_refused_with_its_replacement(
    word: Any, example: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "jobfleet" / "a.py").write_text(f'"""A text."""\n\nNAME = """{example}"""\n')

    status = SCRIPT["main"](root, ())

    assert status == 1
    printed = capsys.readouterr().out
    assert printed.startswith("jobfleet/a.py:3: "), printed
    assert printed.endswith(f"write instead: {word.instead}\n")
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["README.md", "docs/howto/a.md", "jobfleet/store/a.lua", "scripts/tool", "deploy/a.yml"]
)
def test_every_kind_of_file_is_checked(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("first\n" + WORDS[0].examples[0].upper() + "\n")

    assert SCRIPT["main"](root, ()) == 1
    assert capsys.readouterr().out.startswith(f"{name}:2: ")


@pytest.mark.parametrize(
    "text",
    [
        "There is no worker, and there are\nno jobs.",
        "It is no longer there.",
        "`CPU` stands for processor.",
        "Lets it go by; Lestrade; retold; unsaid.",
        "It takes a second.",
    ],
)
def test_plain_english_passes(text: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "README.md").write_text(text)

    assert (SCRIPT["main"](root, ()), capsys.readouterr().out) == (0, "")


def test_a_page_may_quote_the_words(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    word = WORDS[0].examples[0]
    (root / "CONTRIBUTING.md").write_text(f"<!-- words: off -->\n{word}\n<!-- words: on -->\n{word}\n")

    assert SCRIPT["main"](root, ()) == 1
    assert [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()] == ["CONTRIBUTING.md:4"]


def test_an_unclean_place_is_passed_over_until_it_is_clean(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "jobfleet" / "store" / "a.py"
    file.write_text(WORDS[0].examples[0])

    assert (SCRIPT["main"](root, ("jobfleet/store",)), capsys.readouterr().out) == (0, "")

    file.write_text("Clean.")

    assert SCRIPT["main"](root, ("jobfleet/store",)) == 1
    assert capsys.readouterr().out == "jobfleet/store is clean: remove it from BASELINE in scripts/words\n"


def test_no_place_is_listed_that_the_project_has_not() -> None:
    root = SCRIPT["ROOT"]

    assert [place for place in SCRIPT["BASELINE"] if not (root / place).exists()] == []
