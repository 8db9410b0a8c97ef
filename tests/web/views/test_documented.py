"""The lists of codes and words in the documentation are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from jobfleet import errors
from jobfleet.cli.commands.events import OUTCOMES
from jobfleet.model.audit import AuditOutcome
from jobfleet.web.errors import OWN, code_of

DOCS = Path(__file__).parents[3] / "docs" / "howto"


def every_error(kind: type[errors.JobfleetError] = errors.JobfleetError) -> set[type[errors.JobfleetError]]:
    return {kind, *(one for child in kind.__subclasses__() for one in every_error(child))}


def test_the_page_has_all_codes_with_their_status_and_meaning() -> None:
    text = (DOCS / "http-api.md").read_text().partition("all codes of the web itself")[2]
    listed = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \| (.+) \|$", text, re.MULTILINE)

    assert {code: (int(status), meaning) for status, code, meaning in listed} == {
        code: (row.status, row.meaning) for code, row in OWN.items()
    }


def test_the_codes_to_act_on_are_codes() -> None:
    text = (DOCS / "http-api.md").read_text().partition("all codes of the web itself")[0]
    rows = re.findall(r"^\| \d{3}[^|]*\| ([^|]+) \|", text, re.MULTILINE)
    known = {*OWN, *map(code_of, every_error())}

    assert rows
    for code in re.findall(r"`([a-z-]+)`", " ".join(rows)):
        assert code in known, code


def test_the_outcomes_of_the_audit_are_those_of_the_code_and_of_the_command() -> None:
    (row,) = re.findall(r"^\| `outcome` \| (.+) \|$", (DOCS / "audit.md").read_text(), re.MULTILINE)
    words = re.findall(r"`(\w+)`", row)

    assert sorted(words) == sorted(get_args(AuditOutcome))
    assert set(OUTCOMES) <= set(words)
