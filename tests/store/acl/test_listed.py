"""docs/howto/redis-users.md lists what each user may do with keys, and the server allows that and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet.store.acl import NOT_EVERYWHERE, READING, STRINGS_WRITTEN, TYPES, WHOLE, Grant, roles, words_of
from tests.store.acl.conftest import FILES, ROLES
from tests.support.fleet import ROOT

PAGE = (ROOT / "docs" / "howto" / "redis-users.md").read_text()
CALLS = {"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"}
Rights = dict[str, set[str]]
"""Commands by the name of a kind of key; F stands before keys of the fleet."""


def named(pattern: str) -> str:
    """The name of a pattern of the file, as the page writes it."""
    tag, _, name = pattern.partition("}:")
    return ("F " if ":" not in tag else "L ") + re.sub(r"<[a-z]+>", "*", name)


def in_file(variant: str) -> dict[str, Rights]:
    """What each user of an ACL file may do with keys. Every rule with keys stands in parentheses."""
    found: dict[str, Rights] = {}
    for line in FILES[variant].read_text().splitlines():
        rights = found.setdefault(line.split(" ")[1], {})
        assert not re.search(r"[~+]@?all|allkeys| ~| %", re.sub(r"\([^()]*\)", "", line))
        for words in (selector.split(" ") for selector in re.findall(r"\(([^()]*)\)", line)):
            commands = {word[1:].upper() for word in words if word[0] == "+"}
            if "@STRING" in commands:
                assert "-@read" in words
                assert all("~" not in word or word[:3] == "%W~" for word in words)
                commands = (commands - {"@STRING"}) | {"MSETEX", *STRINGS_WRITTEN}
            for pattern in (word.partition("~")[2] for word in words if "~" in word):
                rights.setdefault(named(pattern), set()).update(commands - CALLS)
    return found


def letters(commands: set[str]) -> str:
    kinds = {"r": commands & READING, "w": commands - READING - WHOLE, "d": commands & WHOLE}
    return "".join(letter for letter, some in kinds.items() if some)


def rows(after: str) -> Iterator[list[str]]:
    """The cells of the first table after a text of the page."""
    lines = PAGE[PAGE.index(after) + len(after) :].partition("\n| ")[2].splitlines()
    for line in lines[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("| ").split(" | ")]


def in_table(after: str) -> Rights:
    """The commands that a table by hand lists."""
    found: Rights = {}
    for keys, commands, *_ in rows(after):
        fleet = "F " if keys.startswith("F ") else "L "
        for key in re.findall(r"`([^`]+)`", keys):
            found.setdefault(fleet + re.sub(r"<[a-z]+>", "*", key), set()).update(re.findall(r"`([^`]+)`", commands))
    return found


def changes(rights: Rights) -> Rights:
    return {key: left for key, commands in rights.items() if (left := commands - READING)}


@pytest.mark.parametrize("variant", FILES)
def test_the_table_of_all_rights_is_what_the_files_allow(variant: str) -> None:
    written = {
        user: {re.sub(r"<[a-z]+>", "*", row[0].replace("`", "")): row[place] for row in rows("<!-- rights:")}
        for place, user in enumerate(ROLES, 1)
    }

    allowed = in_file(variant)

    for user, cells in written.items():
        listed = {key: cell for key, cell in cells.items() if key[:2] in ("F ", "L ") and cell != "-"}
        assert listed == {key: letters(commands) for key, commands in allowed[user].items() if commands}


def test_each_change_that_a_producer_or_a_canceller_may_make_is_on_the_page() -> None:
    """If this fails after a change of a script: can the script do with less? If not, say what the right is for."""
    allowed = in_file("eval")
    producer, more = (
        in_table("These are all changes that a\n`producer` can make"),
        in_table("A `canceller` can change more"),
    )

    assert changes(allowed["producer"]) == producer
    both = {key: producer.get(key, set()) | more.get(key, set()) for key in producer.keys() | more.keys()}
    assert changes(allowed["canceller"]) == both


def test_the_server_allows_each_user_what_the_page_lists_and_nothing_else(admin: redis.Redis, variant: str) -> None:
    """It tries every command that any user has with a key, on every kind of key, as each user."""
    commands = sorted(
        {command for role in roles() for command, key in role.grants() if key} - CALLS - {*NOT_EVERYWHERE}
    )
    asked, expected = [], []
    for user, rights in in_file(variant).items():
        for key in TYPES:
            for command in commands:
                asked.append((user, command, key.name))
                expected.append(command in rights.get(named(key.pattern("jobfleet")), ()))
    pipe: Any = admin.pipeline(transaction=False)
    for (user, command, _), key in zip(asked, [key for _ in ROLES for key in TYPES for _ in commands], strict=True):
        pipe.execute_command("ACL", "DRYRUN", user, *words_of(Grant(command, key), "jobfleet"))
    answers = [answer == "OK" for answer in pipe.execute()]

    wrong = [one for one, answer, should in zip(asked, answers, expected, strict=True) if answer is not should]

    assert wrong == []
