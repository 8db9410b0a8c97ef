"""What other users of the machine have put there is not trusted, followed or written to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from jobfleet.config import load
from jobfleet.config.machine import Foreign, make_own, open_own, read_own, write_own

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to another user")
OTHER = 65_534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """The note of an `up` of this user."""
    make_own(tmp_path / ".jobfleet")
    write_own(tmp_path / ".jobfleet" / "up.json", b'{"url": "redis://h"}')
    return tmp_path / ".jobfleet" / "up.json"


def test_what_is_made_is_for_this_user_alone(note: Path) -> None:
    before = os.umask(0)
    try:
        make_own(note.parent / "deep" / "data")
        write_own(note, b'{"url": "redis://i"}')
        os.close(open_own(note.parent / "log", os.O_WRONLY | os.O_APPEND))
    finally:
        os.umask(before)

    made = [note.parent, note.parent / "deep" / "data", note, note.parent / "log"]
    assert [mode(path) for path in made] == [0o700, 0o700, 0o600, 0o600]
    assert sorted(path.name for path in note.parent.iterdir()) == ["deep", "log", "up.json"]
    assert load({}, environ={}, directory=note.parents[1]).config.url == "redis://i"


def test_a_note_that_others_may_write_is_not_used(note: Path) -> None:
    note.chmod(0o666)

    with pytest.warns(UserWarning, match=r"^\.jobfleet/up\.json is not used: .*up\.json can be written by other users"):
        assert load({}, environ={}, directory=note.parents[1]).sources["url"] == "default"


def test_a_note_in_a_folder_that_others_may_write_is_not_used(note: Path) -> None:
    note.parent.chmod(0o777)

    with pytest.warns(UserWarning, match=r"\.jobfleet can be written by other users; run 'chmod go-w"):
        assert load({}, environ={}, directory=note.parents[1]).sources["url"] == "default"


def test_links_are_not_followed(note: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"mine")
    link = note.parent / "link"
    link.symlink_to(kept)
    (tmp_path / "folder").symlink_to(note.parent, target_is_directory=True)

    for refused in (
        lambda: read_own(link),
        lambda: open_own(link, os.O_WRONLY | os.O_APPEND),
        lambda: read_own(tmp_path / "folder" / "up.json"),
        lambda: make_own(tmp_path / "folder"),
    ):
        with pytest.raises(Foreign, match="is a link, which is not followed; remove it"):
            refused()
    write_own(link, b"new")  # takes the link's place

    assert (kept.read_bytes(), link.read_bytes(), link.is_symlink()) == (b"mine", b"new", False)


@as_root
def test_what_belongs_to_another_user_is_not_used(note: Path) -> None:
    os.chown(note, OTHER, -1)

    with pytest.warns(UserWarning, match=rf"up\.json belongs to user {OTHER}, not to you"):
        assert load({}, environ={}, directory=note.parents[1]).sources["url"] == "default"
    with pytest.raises(Foreign):
        open_own(note, os.O_WRONLY)
    os.chown(note.parent, OTHER, -1)
    with pytest.raises(Foreign, match=rf"\.jobfleet belongs to user {OTHER}"):
        make_own(note.parent)


def test_a_folder_that_was_there_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    make_own(tmp_path, keeps_others_out=False)
    assert mode(tmp_path) == 0o755

    make_own(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_log_of_before_is_closed_to_others(note: Path) -> None:
    note.chmod(0o666)

    os.close(open_own(note, os.O_WRONLY | os.O_APPEND))

    assert mode(note) == 0o600


def test_a_pipe_in_the_place_of_a_note_holds_nobody_up(note: Path) -> None:
    note.unlink()
    os.mkfifo(note)

    with pytest.raises(Foreign, match="is not of the expected kind"):
        read_own(note)
