"""The archive that `init_job_tables()` has created in a folder, which the programs of this folder use."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobfleet.config import load


def archive_of(directory: Path) -> tuple[str | None, str]:
    loaded = load({}, environ={}, directory=directory)
    return loaded.config.archive_url, loaded.sources["archive_url"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / ".jobfleet").mkdir(mode=0o700)
    file = tmp_path / ".jobfleet" / "archive.db"
    file.touch(0o600)
    return file


def test_the_archive_of_the_folder_is_used_when_no_archive_is_set(tmp_path: Path, file: Path) -> None:
    assert archive_of(tmp_path) == (f"sqlite:///{file}", ".jobfleet/archive.db")

    file.unlink()
    assert archive_of(tmp_path) == (None, "default")


def test_an_archive_that_is_set_comes_first(tmp_path: Path, file: Path) -> None:
    (tmp_path / "jobfleet.toml").write_text('archive_url = "sqlite:///other.db"\n')

    assert archive_of(tmp_path) == ("sqlite:///other.db", "jobfleet.toml")


@pytest.mark.usefixtures("file")
def test_none_means_no_archive(tmp_path: Path) -> None:
    (tmp_path / "jobfleet.toml").write_text('archive_url = "none"\n')

    assert archive_of(tmp_path) == (None, "jobfleet.toml")


def test_an_archive_that_others_can_write_is_not_used(tmp_path: Path, file: Path) -> None:
    file.chmod(0o666)

    with pytest.warns(UserWarning, match=r"archive\.db is not used: .* can be written by other users"):
        assert archive_of(tmp_path) == (None, "default")


def test_an_archive_in_a_folder_that_others_can_write_is_not_used(tmp_path: Path, file: Path) -> None:
    file.parent.chmod(0o777)

    with (
        pytest.warns(UserWarning, match=r"archive\.db is not used: .* can be written by other users"),
        pytest.warns(UserWarning, match=r"up\.json is not used"),
    ):
        assert archive_of(tmp_path) == (None, "default")


def test_a_link_is_not_followed(tmp_path: Path, file: Path) -> None:
    file.rename(tmp_path / "elsewhere.db")
    file.symlink_to(tmp_path / "elsewhere.db")

    with pytest.warns(UserWarning, match="is a link"):
        assert archive_of(tmp_path) == (None, "default")
