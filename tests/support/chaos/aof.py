"""Reads an append-only file: what a server executed, script by script, in its own order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.waiting import wait_until

FILE = "server.aof"
BASE_ENDS = b"#BASE-ENDS\r\n"
ARGUMENTS = (
    "--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", "yes",
    "--auto-aof-rewrite-percentage", "0",
)  # fmt: skip
"""Arguments of a server whose file can be read: text from the beginning, with its clock."""


class Step(NamedTuple):
    """The writes of one script, or of one command.

    Attributes:
        at: The server's clock, in whole seconds; it is up to a second behind.
        commands: Each with its arguments.
        is_base: Whether it belongs to the state with which the file begins.
    """

    at: int
    commands: list[list[bytes]]
    is_base: bool


def save(server_folder: Path, folder: Path) -> None:
    """Copy the append-only file of a server, with a mark at the end of its base."""
    source = server_folder / "appendonlydir"
    manifest = wait_until(lambda: sorted(source.glob("*.manifest")), timeout=5, why="there is an append-only file")[0]
    rows = [line.split(" ") for line in manifest.read_text().splitlines()]
    files = [(row[row.index("file") + 1], row[row.index("type") + 1]) for row in rows]
    with (folder / FILE).open("wb") as out:
        for name, kind in sorted(files, key=lambda one: "bi".find(one[1])):
            if kind == "h":
                continue  # what a rewrite has left
            out.write((source / name).read_bytes())
            if kind == "b":
                out.write(BASE_ENDS)


def steps(path: Path) -> Iterator[Step]:
    """The steps of a saved file; an end that was cut off is left out."""
    data = path.read_bytes()
    if data.startswith((b"REDIS", b"VALKEY")):
        raise ValueError(f"{path} begins with an RDB file: start the server with ARGUMENTS.")
    at, clock, is_base = 0, 0, BASE_ENDS in data
    block: list[list[bytes]] | None = None
    while at < len(data):
        if data[at : at + 1] == b"#":
            end = data.index(b"\n", at)
            line = data[at:end].strip()
            if line.startswith(b"#TS:"):
                clock = int(line[4:])
            is_base = is_base and line != BASE_ENDS.strip()
            at = end + 1
            continue
        command, at = _command(data, at)
        if command is None:
            return
        word = command[0].upper()
        if word == b"MULTI":
            block = []
        elif word == b"EXEC":
            if block:
                yield Step(clock, block, is_base)
            block = None
        elif block is None:
            yield Step(clock, [command], is_base)
        else:
            block.append(command)


def _command(data: bytes, at: int) -> tuple[list[bytes] | None, int]:
    try:
        end = data.index(b"\r\n", at)
        count, at = int(data[at + 1 : end]), end + 2
        parts = []
        for _ in range(count):
            end = data.index(b"\r\n", at)
            size = int(data[at + 1 : end])
            if end + 4 + size > len(data):
                return None, at
            parts.append(data[end + 2 : end + 2 + size])
            at = end + 4 + size
    except ValueError:
        return None, at
    return parts, at


def cut_tail(server_folder: Path, share: float) -> float:
    """Remove the last part of the file of a stopped server; return the time from which writes are lost.

    The file ends in the middle of a command then, as after a power failure.
    """
    newest = max((server_folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    data = newest.read_bytes()
    kept = data[: int(len(data) * (1 - share))]
    newest.write_bytes(kept)
    mark = kept.rfind(b"#TS:")
    return float(kept[mark + 4 : kept.index(b"\r", mark)]) if mark >= 0 else time.time()
