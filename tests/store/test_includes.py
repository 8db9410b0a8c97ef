"""Shared Lua is included once, where everything that needs it can see it."""

from __future__ import annotations

import pytest

from jobfleet.errors import ScriptContractError
from jobfleet.store.link.watched import known, script_of
from jobfleet.store.script import Includes, load

LIBS = {
    "lib/a/one": "local function one() return 1 end\n",
    "lib/a/two": "-- @include lib/a/one\nlocal function two() return one() + 1 end\n",
    "lib/a/inner": "local function inner()\n-- @include lib/a/one\n  return one()\nend\n",
    "lib/a/ring": "-- @include lib/a/ring\n",
    "lib/a/open": "if true then\n",
}


def expand(text: str) -> str:
    return Includes("script", LIBS.__getitem__).expand(text)


def test_a_file_is_included_once() -> None:
    assert expand("-- @include lib/a/one\n-- @include lib/a/two\nreturn two()\n").count("function one") == 1


def test_a_file_may_be_included_in_the_block_that_alone_needs_it() -> None:
    text = "if ARGV[1] then\n-- @include lib/a/one\n-- @include lib/a/two\n  return two()\nend\n"
    assert expand(text).count("function one") == 1


@pytest.mark.parametrize(
    "block",
    [
        "if ARGV[1] then\n-- @include lib/a/one\nend\n",
        "if ARGV[1] then return 1 else\n-- @include lib/a/one\nend\n",
        "local function f()\n-- @include lib/a/one\nend\n",
        "for i = 1, 2 do\n-- @include lib/a/one\nend\n",
        "repeat\n-- @include lib/a/one\nuntil true\n",
        "-- @include lib/a/inner\n",
    ],
)
def test_a_file_that_was_included_in_a_block_is_refused_after_it(block: str) -> None:
    with pytest.raises(ScriptContractError, match="includes lib/a/one after the block that has it"):
        expand(f"{block}-- @include lib/a/two\n")


def test_two_branches_may_not_share_what_one_of_them_includes() -> None:
    with pytest.raises(ScriptContractError, match="after the block"):
        expand("if ARGV[1] then\n-- @include lib/a/one\nelse\n-- @include lib/a/one\nend\n")


def test_words_in_comments_and_texts_are_no_blocks() -> None:
    text = (
        "-- if function do\nlocal undo, friend, x_if, end_ = 1\n"
        "local a = 'if \\' do' .. \"repeat\" .. [[ do\nif ]]\n--[[ if\nthen ]]\n"
    )
    assert "function one" in expand(f"{text}-- @include lib/a/one\n-- @include lib/a/two\n")


def test_files_that_include_each_other_are_refused() -> None:
    with pytest.raises(ScriptContractError, match="include each other"):
        expand("-- @include lib/a/ring\n")


def test_a_file_that_leaves_a_block_open_is_refused() -> None:
    with pytest.raises(ScriptContractError, match="block"):
        expand("-- @include lib/a/open\n")


def test_the_script_of_a_command_is_found_though_it_names_those_before_it() -> None:
    script = load("settle", after=("log",))

    assert script_of(("EVALSHA", script.sha, 0)) is script
    assert script in known()
