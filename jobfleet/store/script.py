"""Scripts: files of Lua, their contracts, and how they are loaded.

Every ``lua/<module>/<name>.lua`` belongs to the module of that name that builds its calls (``calls/<module>.py``). Its
name is unique. It opens with a header that says what it takes and answers; tests hold body
and builders to it. ``-- @include lib/<folder>/<name>`` lines bring in shared functions, each once (includes.py).
Scripts go to the server by hash, so two versions of jobfleet run side by side.

A header may name guards. With ``deadline`` the script does nothing after a moment of Redis's clock: a request that its
client has given up may still arrive. With ``once`` it also remembers its answer under the call's id, for a minute at
least: a repetition is answered likewise, and changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from jobfleet.errors import ScriptContractError
from jobfleet.store.includes import Includes

_LUA = files("jobfleet.store").joinpath("lua")
_SECTION = re.compile(r"^-- ([A-Z]{4,7}) +(.*)$")
_FIELD = re.compile(r"^(\d+)(?:\.\.(\d+|\*))?\s+(\S+)\s+(\S+)\s+(.+)$")
_READ = re.compile(r"^(\S+)\s+(\S+)\s+(.+)$")
SECTIONS = ("KEYS", "READS", "ARGV", "FLAGS", "GUARDS", "RETURNS", "EMITS", "COST")
GUARDS = {"": (), "deadline": ("deadline",), "deadline once": ("deadline", "once")}

_BY_DEADLINE = """\
-- @include lib/base/deadline
if is_too_late(table.remove(ARGV)) then return {'too-late'} end
"""
_ONCE = """\
-- @include lib/base/deadline
-- @include lib/base/answer
local once_key, once_until = table.remove(KEYS), table.remove(ARGV)
local once_known = redis.call('GET', once_key)
if once_known then return answer_of(once_known) end
if is_too_late(once_until) then return {'too-late'} end
local function once()
%s
end
local once_answer = once()
redis.call('SET', once_key, answer_text(once_answer), 'PX', kept_ms(once_until))
return once_answer
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One key or argument of a script.

    Attributes:
        first: Its number.
        last: The last number of a range; None when it is open.
        name: Its name; a pattern like ``job:<id>`` for keys.
        type: The type of the key, or of the argument.
        note: What it is.
    """

    first: int
    last: int | None
    name: str
    type: str
    note: str


@dataclass(frozen=True, slots=True)
class Header:
    """A script's contract, as its header states it."""

    summary: str
    keys: tuple[Field, ...]
    reads: tuple[tuple[str, str, str], ...]
    argv: tuple[Field, ...]
    flags: tuple[str, ...]
    guards: tuple[str, ...]
    returns: tuple[str, ...]
    emits: str
    cost: str


@dataclass(frozen=True, slots=True)
class Script:
    """One script, ready to send.

    Attributes:
        name: The verb, and the name of its file.
        header: Its contract.
        source: What a real server gets, first line included.
        plain: The same without that line, for fakeredis.
        sha: The hash of `source`.
        read_only: Whether it goes by EVALSHA_RO.
        words: The first words that a reply may have.
        has_deadline: Whether it does nothing after a deadline, which comes last among its arguments.
        is_once: Whether it answers a repetition of the same call as it did the first time, and does nothing then; the
            key under which it remembers its answer comes last among its keys.
    """

    name: str
    header: Header
    source: bytes
    plain: bytes
    sha: str
    read_only: bool
    words: frozenset[bytes]
    has_deadline: bool = False
    is_once: bool = False


@cache
def entry_scripts() -> Mapping[str, str]:
    """The folder of each script, by the script's name."""
    folders = (folder for folder in _LUA.iterdir() if folder.is_dir() and folder.name != "lib")
    return {file.name[:-4]: folder.name for folder in folders for file in folder.iterdir()}


def names() -> list[str]:
    """The names of all scripts."""
    return sorted(entry_scripts())


@cache
def load(name: str) -> Script:
    """Read a script by name, expand its includes, parse its header."""
    text = _read(name)
    header = parse_header(name, text)
    body = Includes(name, _read).expand(_guarded(text, header.guards))
    flags = f" flags={','.join(header.flags)}" if header.flags else ""
    plain = body.encode()
    source = f"#!lua{flags}\n".encode() + plain
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()
    words = frozenset(word.encode() for word in re.findall(r'\{"([a-z-]+)"', "\n".join(header.returns)))
    return Script(
        name,
        header,
        source,
        plain,
        sha,
        read_only="no-writes" in header.flags,
        words=words,
        has_deadline="deadline" in header.guards,
        is_once="once" in header.guards,
    )


def _guarded(text: str, guards: tuple[str, ...]) -> str:
    """A script with what its guards do before it, and after."""
    if "once" in guards:
        return _ONCE % text
    return _BY_DEADLINE + text if guards else text


def _read(name: str) -> str:
    """The text of a script by its name, or of a shared file by its path (``lib/…``)."""
    path = name if name.startswith("lib/") else f"{entry_scripts()[name]}/{name}"
    return _LUA.joinpath(f"{path}.lua").read_text(encoding="utf-8")


def parse_header(name: str, text: str) -> Header:
    """Read the contract out of a script's opening comment.

    Raises:
        ScriptContractError: A section is missing or a line has not the form.
    """
    sections: dict[str, list[str]] = {section: [] for section in SECTIONS}
    summary: list[str] = []
    current: list[str] = summary
    for line in text.splitlines():
        if not line.startswith("--") or line.startswith("-- @"):
            break
        match = _SECTION.match(line)
        if match and match.group(1) in sections:
            current = sections[match.group(1)]
            current.append(match.group(2).strip())
        elif line.strip("- "):
            current.append(line[2:].strip())
    missing = [section for section in ("FLAGS", "RETURNS", "EMITS", "COST") if not sections[section]]
    if missing or not summary or not summary[0].startswith(f"{name}: "):
        raise ScriptContractError(f"{name}.lua: the header lacks {', '.join(missing) or 'its first line'}.")
    flags, guards = " ".join(sections["FLAGS"]), " ".join(sections["GUARDS"])
    if guards not in GUARDS:
        raise ScriptContractError(f"{name}.lua: GUARDS is {guards!r}; write 'deadline' or 'deadline once'.")
    return Header(
        summary=" ".join(summary).removeprefix(f"{name}: "),
        keys=tuple(_field(name, line) for line in sections["KEYS"]),
        reads=tuple(_reads(name, line) for line in sections["READS"]),
        argv=tuple(_field(name, line) for line in sections["ARGV"]),
        flags=() if flags == "-" else tuple(flags.split()),
        guards=GUARDS[guards],
        returns=tuple(sections["RETURNS"]),
        emits=" ".join(sections["EMITS"]),
        cost=" ".join(sections["COST"]),
    )


def _field(name: str, line: str) -> Field:
    match = _FIELD.match(line)
    if match is None:
        raise ScriptContractError(f"{name}.lua: {line!r} is no 'number name type note' line.")
    first, last, key, kind, note = match.groups()
    end = None if last == "*" else int(last or first)
    return Field(int(first), end, key, kind, note)


def _reads(name: str, line: str) -> tuple[str, str, str]:
    match = _READ.match(line)
    if match is None:
        raise ScriptContractError(f"{name}.lua: {line!r} is no 'name type note' line.")
    return match.group(1), match.group(2), match.group(3)


def shared() -> list[str]:
    """The paths of all shared files, ``lib/<folder>/<name>``."""
    folders = (folder for folder in _LUA.joinpath("lib").iterdir() if folder.is_dir())
    return sorted(f"lib/{folder.name}/{file.name[:-4]}" for folder in folders for file in folder.iterdir())


def dump(folder: Path) -> None:
    """Write every script and every shared file, each expanded, into a folder: for luacheck.

    A shared file by itself shows whether it declares all that it uses.
    """
    for name in names():
        (folder / f"{name}.lua").write_bytes(load(name).plain)
    for path in shared():
        file = folder / f"{path}.lua"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Includes(path, _read).expand(_read(path)), encoding="utf-8")
