"""The package as it was at an earlier revision, for tests in which two revisions share one Redis."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREVIOUS = "1d60b3cfbd0f4e13f97e5375a9593967533b44d1"
"""The last revision whose fleets this one must work beside."""


CONNECTS = pytest.mark.not_on("cluster", "sentinel", "tls", reason="the previous revision cannot connect there")
"""The mark of tests in which that revision connects."""


def unpack(folder: Path, revision: str = PREVIOUS) -> Path:
    """Unpack the package of a revision below a folder; return the folder, which goes to the front of the path.

    A checkout without history cannot show the earlier revision: the test is skipped there, and says so.
    """
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision, "jobfleet"], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"git has no revision {revision:.7} here: {archive.stderr.decode().strip()}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return folder
