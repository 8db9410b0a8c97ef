"""`jobfleet web user` and `jobfleet web token`: the access file of the dashboard. tests/web serves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobfleet.web.safety import access
from jobfleet.web.safety.access import AccessFile
from tests.cli.hand import Cli


def test_users_are_added_listed_and_removed(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "N", 2**10)
    assert cli("web", "user", "ls").stderr == "No users; add one with 'jobfleet web user add NAME'.\n"
    added = cli("web", "user", "add", "ann", "--role", "operator", input="correct horse\n")
    file = here / ".jobfleet" / "web.json"
    assert added.stdout == f"ann is operator in {file}.\n"
    assert added.stderr == (
        "A dashboard that was started in another folder uses another file: start it with 'jobfleet web --access "
        f"{file}', or set JOBFLEET_WEB_ACCESS={file}.\n"
    )
    assert cli("web", "--access", str(file), "user", "add", "eve", "--no-password").stderr == ""
    cli("web", "user", "rm", "eve")
    cli("web", "user", "add", "bob", "--no-password")
    assert json.loads(cli("web", "user", "ls", "-o", "json").stdout) == [
        {"user": "ann", "role": "operator", "has_password": True},
        {"user": "bob", "role": "viewer", "has_password": False},
    ]
    short = cli("web", "user", "add", "eve", input="short\n")
    assert (short.exit_code, short.stdout) == (2, "")
    assert cli("web", "user", "rm", "ann").stdout == "Removed the user ann.\n"
    missing = cli("web", "user", "rm", "ann")
    assert (missing.exit_code, missing.stderr) == (3, "No user 'ann'.\n")


def test_tokens_are_created_listed_and_revoked(cli: Cli, here: Path) -> None:
    token = cli("web", "token", "create", "ci", "--role", "operator").stdout.strip()
    again = cli("web", "token", "create", "ci")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "There is a token 'ci'" in again.stderr
    (row,) = json.loads(cli("web", "token", "ls", "-o", "json").stdout)
    assert (row["name"], row["role"]) == ("ci", "operator")
    assert AccessFile(here / ".jobfleet" / "web.json").read().token(token) is not None
    assert cli("web", "token", "revoke", "ci").stdout == "Revoked the token ci.\n"
    assert cli("web", "token", "revoke", "ci").exit_code == 3
    assert cli("web", "token", "ls").stderr.startswith("No tokens;")


def test_a_folder_that_others_can_write_is_refused_before_the_password(cli: Cli, here: Path) -> None:
    (here / "shared").mkdir()
    (here / "shared").chmod(0o777)
    refused = cli("web", "--access", "shared/web.json", "user", "add", "ann", input="short\n")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "shared can be written by other users; run 'chmod go-w shared'.\n"
    assert list((here / "shared").iterdir()) == []
