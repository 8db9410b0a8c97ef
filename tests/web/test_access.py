"""The access file."""

from __future__ import annotations

import stat

import pytest

from jobfleet.errors import ConfigError
from jobfleet.web.safety import access as passwords
from jobfleet.web.safety.access import AccessFile, Role, hash_password, is_password
from tests.support.each import each


def test_only_hashes_are_stored_and_only_the_owner_can_read_them(access: AccessFile) -> None:
    access.add_user("ann", Role.OPERATOR, "correct horse")
    token = access.create_token("ci", Role.PRODUCER)

    text = access.path.read_text()
    assert "correct horse" not in text
    assert token not in text
    assert token.startswith("jft_")
    assert stat.S_IMODE(access.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(access.path.parent.stat().st_mode) == 0o700
    found = access.read()
    assert is_password("correct horse", found.users["ann"].password)
    assert not is_password("correct horsf", found.users["ann"].password)
    kept = found.token(token)
    assert kept is not None
    assert (kept.name, kept.role) == ("ci", Role.PRODUCER)
    assert found.token("jft_other") is None


def test_a_change_by_another_process_counts_at_once(access: AccessFile) -> None:
    access.add_user("ann", Role.VIEWER, None)
    other = AccessFile(access.path)
    assert other.remove_user("ann")
    assert not other.remove_user("ann")
    assert access.read().users == {}


@each("text", ["", "[]", "{}", '{"users": {"a": {"role": "king", "password": ""}}, "tokens": {}}'])
def test_a_file_of_another_form_is_refused(access: AccessFile, text: str) -> None:
    access.path.unlink(missing_ok=True)
    access.add_user("ann", Role.VIEWER, None)
    access.path.write_text(text)
    with pytest.raises(ConfigError, match="is not an access file"):
        AccessFile(access.path).read()


def test_a_file_that_others_can_write_is_refused(access: AccessFile) -> None:
    access.add_user("ann", Role.VIEWER, None)
    access.path.chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by other users"):
        AccessFile(access.path).read()


@each("name", ["", "a b", "<b>", "x" * 65, "é", "a\n"])
def test_a_name_is_checked(access: AccessFile, name: str) -> None:
    with pytest.raises(ConfigError, match="use 1 to 64 letters"):
        access.add_user(name, Role.VIEWER, None)


@each("stored", ["", "plain", "scrypt$1$2", "md5$1$8$1$00$00", "scrypt$x$8$1$00$00"])
def test_a_hash_that_cannot_be_read_fits_no_password(stored: str) -> None:
    assert not is_password("", stored)


def test_the_cost_of_a_hash_is_that_of_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert passwords.N * passwords.R >= 2**18
    one, two = hash_password("x"), hash_password("x")
    assert one != two
    assert is_password("x", one)


def test_a_folder_that_others_can_write_is_refused_before_anything_is_written(access: AccessFile) -> None:
    folder = access.path.parent
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match=f"can be written by other users; run 'chmod go-w {folder}'"):
        access.add_user("ann", Role.VIEWER, None)
    assert list(folder.iterdir()) == []
