"""The reader of pages itself: what a page prints must be so, and nothing else passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import blocks_of
from tests.support.reader import Reader


def follow(text: str, folder: Path) -> int:
    page = folder / "page.md"
    page.write_text(text)
    with Reader(folder, blocks_of(page)) as reader:
        reader.follow()
    return reader.count


def block(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```", "", ""])


def test_files_programs_and_commands_run_in_order_and_variables_stay(tmp_path: Path) -> None:
    text = (
        block("python", "# shop.py", "PRICE = 3")
        + block("python", "# shop.py", "COUNT = 2")
        + block(
            "python", "# pay.py", "import shop", "", "print(shop.PRICE * shop.COUNT)  # 6", "print('a  b', 7)  # a …"
        )
        + block("sh", "PAID=$(python pay.py | head -1)", "export OTHER=7")
        + block("sh", "echo $PAID $OTHER    # prints 6 7")
        + block("console", "$ echo one; echo two", "one", "two")
        + block("text", "not run")
    )

    assert follow(text, tmp_path) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        block("python", "# pay.py", "print(6)  # 7"),
        block("python", "# pay.py", "print(76)  # 7"),
        block("python", "# pay.py", "print(1)", "print(2)  # 2", "print(1)  # 2"),
        block("python", "# pay.py", "raise SystemExit(3)"),
        block("python", "# pay.py", "import shop"),
        block("sh", "echo 6    # prints 7"),
        block("sh", "false", "true"),
        block("sh", "pip install 'jobfleet[nowhere]'"),
        block("console", "$ echo one", "two"),
        block("sh", "jobfleet up nowhere"),
        block("sh", "echo 'Sure? [y/N]'; read answer", "echo next"),
        block("sh", "echo first", "", "echo 'Sure? [y/N]'; read answer"),
    ],
)
def test_a_wrong_block_fails(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        follow(wrong, tmp_path)


def test_a_command_that_asks_has_a_block_of_its_own(tmp_path: Path) -> None:
    text = block("sh", "echo 'Sure? [y/N]'; read answer; test $answer = y") + block("sh", "true")

    assert follow(text, tmp_path) == 2


def test_a_fragment_is_not_run(tmp_path: Path) -> None:
    text = "<!-- fragment: it would fail here -->\n" + block("sh", "false") + block("sh", "true")

    assert follow(text, tmp_path) == 1


@pytest.mark.parametrize("first", ["", "import shop", "# A remark.", "# shop.toml", "# two words.py"])
def test_a_block_without_the_name_of_its_file_has_none(first: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(block("python", first, "x = 1"))

    assert [found.file for found in blocks_of(page)] == [""]


def test_a_worker_whose_file_grows_is_started_again(tmp_path: Path) -> None:
    text = (
        block("python", "# shop.py", "from jobfleet import job")
        + block("python", "# shop.py", "@job", "def one() -> int:", "    return 1")
        + block("sh", "jobfleet up shop")
        + block("python", "# shop.py", "@job", "def two() -> int:", "    return 2")
        + block("python", "# call.py", "from shop import one, two", "print(one.enqueue().result(timeout=30))  # 1",
                "print(two.enqueue().result(timeout=30))  # 2")
    )  # fmt: skip

    assert follow(text, tmp_path) == 5


def test_a_flow_that_fails_is_noticed_although_its_program_does_not_wait(tmp_path: Path) -> None:
    text = (
        block("python", "# shop.py", "from jobfleet import job", "", "@job(max_retries=0)", "def sums() -> int:",
              "    return sum([None])")
        + block("sh", "jobfleet up shop")
        + block("python", "# call.py", "from jobfleet import Fleet, Flow, Job", "flow = Flow('wrong')",
                "flow.add(Job('sums', 'shop.sums'))", "with Fleet() as fleet:", "    fleet.flows.enqueue(flow)")
    )  # fmt: skip

    with pytest.raises(AssertionError, match="the flow 'wrong' is failed"):
        follow(text, tmp_path)
