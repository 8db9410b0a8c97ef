"""`jobfleet keys` makes, rotates and lists keys, and prints no secret."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.config.keyring import read_keyring
from tests.cli.hand import Cli


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def secrets_in(path: Path) -> list[str]:
    return re.findall(r'secret = "(.*)"', path.read_text())


def test_a_new_keyring_is_for_its_owner_alone(cli: Cli, path: Path) -> None:
    answer = cli("keys", "generate", str(path))
    assert answer.exit_code == 0, answer.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (secret,) = secrets_in(path)
    assert secret not in answer.output
    again = cli("keys", "generate", str(path))
    assert (again.exit_code, secrets_in(path)) == (2, [secret])
    assert "exists" in again.stderr


def test_a_rotation_keeps_old_keys_until_they_are_removed(cli: Cli, path: Path) -> None:
    cli("keys", "generate", str(path))
    first = read_keyring(str(path)).primary
    assert cli("keys", "rotate", str(path), "--stage").exit_code == 0
    staged = read_keyring(str(path))
    assert (staged.primary, len(staged.keys)) == (first, 2)
    assert cli("keys", "rotate", str(path), "--stage").exit_code == 2
    assert cli("keys", "rotate", str(path)).exit_code == 0
    second = read_keyring(str(path))
    assert (second.primary.id, len(second.keys)) == (staged.keys[1].id, 2)
    answer = cli("keys", "rotate", str(path), "--keep", "1", "-o", "json")
    third = read_keyring(str(path))
    assert [key.id for key in third.keys] == [second.primary.id, third.primary.id]
    assert json.loads(answer.stdout)["removed"] == [first.id]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_is_in_use_is_not_removed(cli: Cli, path: Path, redis_url: str) -> None:
    cli("keys", "generate", str(path))
    with Fleet(redis_url, keyring=str(path), sign="require") as fleet, pytest.warns(UserWarning, match="published"):
        fleet.enqueue(Job("x", "app.x"))
    before = path.read_text()
    first = read_keyring(str(path)).primary.id

    used = cli("keys", "rotate", str(path), "--keep", "0")
    away = cli("keys", "rotate", str(path), "--keep", "0", "--url", "redis://localhost:1")

    assert (used.exit_code, away.exit_code, path.read_text()) == (2, 2, before)
    assert f"jobs and dead letters need {first} (1)" in used.stderr
    assert "Use --force" in away.stderr
    assert cli("keys", "rotate", str(path), "--keep", "0", "--force").exit_code == 0
    assert [key.id for key in read_keyring(str(path)).keys] != [first]


def test_the_list_counts_jobs_by_key_and_shows_no_secret(cli: Cli, path: Path, redis_url: str) -> None:
    cli("keys", "generate", str(path))
    with Fleet(redis_url, keyring=str(path), sign="require") as fleet, pytest.warns(UserWarning, match="published"):
        fleet.enqueue(Job("x", "app.x"))
    cli("keys", "rotate", str(path))
    old, new = read_keyring(str(path)).keys
    answer = cli("keys", "ls", str(path), "-o", "json")
    assert [(row["id"], row["state"], row["jobs"]) for row in json.loads(answer.stdout)] == [
        (old.id, "accepted", 1), (new.id, "primary", 0),
    ]  # fmt: skip
    table = cli("keys", "ls", str(path))
    assert all(secret not in table.output + answer.output for secret in secrets_in(path))
    away = cli("keys", "ls", str(path), "--url", "redis://localhost:1")
    assert (away.exit_code, old.id in away.stdout) == (0, True)
    assert "not counted" in away.stderr


@pytest.mark.parametrize(
    "content",
    ["", "keys = 1", "[[keys]]\nid = 'a'\nsecret = 'dG9vIHNob3J0'\nstate = 'primary'", "secret = 'S3CRET"],
)
def test_a_wrong_file_is_refused_without_its_content(cli: Cli, path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o600)
    answer = cli("keys", "ls", str(path))
    assert answer.exit_code == 2
    assert "S3CRET" not in answer.stderr
    assert "dG9v" not in answer.stderr


def test_a_file_that_others_can_write_is_refused(cli: Cli, path: Path) -> None:
    cli("keys", "generate", str(path))
    path.chmod(0o666)
    answer = cli("config", "check", "--keyring", str(path))
    assert (answer.exit_code, "chmod 600" in answer.stderr) == (2, True)
