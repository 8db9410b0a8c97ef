"""The fork server of the tests: a forked program is as one with an interpreter of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import LONG, ROOT, Program, Programs
from tests.support.fork_server import Forked
from tests.support.server import state_of
from tests.support.waiting import wait_until


@pytest.fixture
def both(redis_url: str, tmp_path: Path) -> Iterator[tuple[Programs, Programs]]:
    """Programs that are forked, and programs with interpreters."""
    made = [Programs(redis_url, tmp_path / name, is_fresh=name == "fresh") for name in ("forked", "fresh")]
    for programs in made:
        programs.folder.mkdir()
    yield made[0], made[1]
    for programs in made:
        programs.close()


def facts(program: Program) -> list[object]:
    """What the kernel knows of a program."""
    root = Path(f"/proc/{program.pid}")
    files = [(root / "fd" / str(number)).readlink() for number in (0, 1, 2)]
    return [(root / "cwd").readlink(), os.getsid(program.pid) == program.pid, files[0], files[1] == files[2]]


def test_a_forked_program_has_a_session_files_and_an_end_of_its_own(both: tuple[Programs, Programs]) -> None:
    forked, fresh = (programs.ready() for programs in both)
    assert [type(one._process) is Forked for one in (forked, fresh)] == [True, False]
    assert facts(forked) == facts(fresh) == [ROOT, True, Path(os.devnull), True]

    forked.send(signal.SIGKILL)
    fresh.send(signal.SIGTERM)

    wait_until(lambda: state_of(forked.pid) == "Z", timeout=LONG, why="it is kept until somebody asks")
    forked.send(signal.SIGTERM)  # to one that has ended; nothing happens
    assert (forked.exit_code(), fresh.exit_code()) == (-signal.SIGKILL, 0)
    wait_until(lambda: state_of(forked.pid) == "", timeout=LONG, why="then it is gone")


def test_a_forked_program_says_the_same(both: tuple[Programs, Programs]) -> None:
    refused = [programs.worker("nowhere") for programs in both]

    assert [one.exit_code() for one in refused] == [2, 2]
    assert refused[0].said == refused[1].said
    assert "nowhere" in refused[0].said
