"""Scripts: their Lua files, contracts and loading, with includes, and all of them as a library of functions.

Every ``lua/<folder>/<name>.lua`` has a unique name, and one function in ``calls/`` that builds its calls. The module
has the name of the folder, or of its domain: control (also paused and queues), dead (spoiled), enqueue (index),
journal (notify), limits (limit and gate), presence (stacks), run (lock, log and steps); mending belongs to
``damage.py``. A script begins with a header that describes its arguments and replies; tests check body and builders
against it. ``-- @include lib/<folder>/<name>`` lines include shared functions, each once (`Includes`). Scripts are
called by hash, so two versions of jobfleet can run side by side.

A header may name guards. With ``deadline``, the script does nothing after a time of Redis's clock, because a request
may still arrive after its client has given up. With ``once``, it also stores its reply under the call's id for at
least a minute; a repetition gets the same reply and changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from jobfleet.errors import ScriptContractError

_LUA = files("jobfleet.store").joinpath("lua")
_SECTION = re.compile(r"^-- ([A-Z]{4,7}) +(.*)$")
_FIELD = re.compile(r"^(\d+)(?:\.\.(\d+|\*))?\s+(\S+)\s+(\S+)\s+(.+)$")
_READ = re.compile(r"^(\S+)\s+(\S+)\s+(.+)$")
_COMMENT = re.compile(r"--.*")
_COMMAND = re.compile(r"\b(?:redis\.p?)?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
CONTAINERS = ("PUBSUB", "XGROUP", "XINFO")
"""Commands whose subcommands have permissions of their own."""
SECTIONS = ("KEYS", "READS", "ARGV", "FLAGS", "GUARDS", "RETURNS", "EMITS", "COST")
ALLOW_OOM = "allow-oom"
"""The flag of a script that Redis runs even if its memory is full."""
GUARDS: dict[str, tuple[str, ...]] = {"": (), "deadline": ("deadline",), "deadline once": ("deadline", "once")}

_BY_DEADLINE = """\
-- @include lib/base/deadline
if is_too_late(table.remove(ARGV)) then return {'too-late'} end
"""
_ONCE = """\
-- @include lib/base/deadline
-- @include lib/base/answer
local once_key, once_until = table.remove(KEYS), table.remove(ARGV)
local once_known = redis.call('GET', once_key)
local once_before = once_known and answer_of(once_known)
if once_known then return once_before or redis.error_reply('ERR the stored answer of this call is damaged') end
if is_too_late(once_until) then return {'too-late'} end
local function once()
%s
end
local once_answer = once()
redis.call('SET', once_key, answer_text(once_answer), 'PX', kept_ms(once_until))
return once_answer
"""


loaded: dict[object, Script] = {}
"""The scripts that were read so far, by hash and by both forms of their source."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key or argument of a script.

    Attributes:
        first: Its number.
        last: The last number of a range; None if the range is open.
        name: Its name; for keys a pattern such as ``job:<id>``.
        type: The type of the key or of the argument.
        note: Its description.
    """

    first: int
    last: int | None
    name: str
    type: str
    note: str


@dataclass(frozen=True, slots=True)
class Header:
    """A script's contract, parsed from its header."""

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
        name: Its name, which is also the name of its file.
        header: Its contract.
        source: The source for a real server, including the first line.
        plain: The source without that line, for fakeredis.
        sha: The SHA-1 of `source`.
        read_only: Whether it is called with EVALSHA_RO.
        words: The first words that a reply may have.
        has_deadline: Whether it does nothing after a deadline, which is its last argument.
        is_once: Whether it repeats its first reply to a repeated call and changes nothing; its last key stores the
            reply.
        anyway: The place of the argument `anyway`, if it has one: 1 in a second attempt, in which whatever can be
            missing may fail.
        flags: The flags of its first line.
        is_exempt: Whether Redis runs it even if its memory is full, although its header does not say so.
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
    anyway: int | None = None
    flags: tuple[str, ...] = ()
    is_exempt: bool = False


@cache
def entry_scripts() -> Mapping[str, str]:
    """Return the folder of each script by the script's name."""
    folders = (folder for folder in _LUA.iterdir() if folder.is_dir() and folder.name != "lib")
    return {file.name[:-4]: folder.name for folder in folders for file in folder.iterdir()}


def names() -> list[str]:
    """Return the names of all scripts."""
    return sorted(entry_scripts())


def raw_texts() -> Iterator[str]:
    """The texts from which all scripts are made, in a fixed order."""
    yield from (_BY_DEADLINE, _ONCE)
    for folder in sorted(
        (one for one in _LUA.iterdir() if one.is_dir() and one.name != "lib"), key=lambda one: one.name
    ):
        yield from (file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda one: one.name))
    for folder in sorted(_LUA.joinpath("lib").iterdir(), key=lambda one: one.name):
        yield from (file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda one: one.name))


@cache
def load(name: str, *, is_exempt: bool = False, after: tuple[str, ...] = ()) -> Script:
    """Read a script by name, expand its includes and parse its header.

    Args:
        name: Its name.
        is_exempt: Whether Redis runs it even if its memory is full, whatever its header says.
        after: The scripts that are sent before it in one pipeline; see `call.in_order`.
    """
    text = _read(name)
    header = parse_header(name, text)
    body = Includes(name, _read).expand(_guarded(text, header.guards))
    flagged = header.flags or (ALLOW_OOM,) if is_exempt else header.flags
    flags = f" flags={','.join(flagged)}" if flagged else ""
    if after:
        body = f"-- after {' '.join(after)}\n{body}"
    plain = body.encode()
    source = f"#!lua{flags}\n".encode() + plain
    sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()
    words = frozenset(word.encode() for word in re.findall(r'\{"([a-z-]+)"', "\n".join(header.returns)))
    script = Script(
        name,
        header,
        source,
        plain,
        sha,
        read_only="no-writes" in header.flags,
        words=words,
        has_deadline="deadline" in header.guards,
        is_once="once" in header.guards,
        anyway=next((field.first - 1 for field in header.argv if field.name == "anyway"), None),
        flags=flagged,
        is_exempt=flagged != header.flags,
    )
    loaded.update(dict.fromkeys((sha, source, plain), script))
    return script


@cache
def commands_of(name: str) -> frozenset[str]:
    """Return the Redis commands that a script calls, such as ``HSET`` and ``XGROUP|CREATE``; not those of `once`."""
    text = _read(name)
    body = _COMMENT.sub("", Includes(name, _read).expand(text + (_BY_DEADLINE if load(name).has_deadline else "")))
    return frozenset(f"{verb}|{sub}" if verb in CONTAINERS else verb for verb, sub in _COMMAND.findall(body))


def _guarded(text: str, guards: tuple[str, ...]) -> str:
    """Add the code of its guards to a script."""
    if "once" in guards:
        return _ONCE % text
    return _BY_DEADLINE + text if guards else text


def _read(name: str) -> str:
    """Read a script by its name, or a shared file by its path (``lib/…``)."""
    path = name if name.startswith("lib/") else f"{entry_scripts()[name]}/{name}"
    return _LUA.joinpath(f"{path}.lua").read_text(encoding="utf-8")


def parse_header(name: str, text: str) -> Header:
    """Parse the contract in a script's opening comment.

    Raises:
        ScriptContractError: A section is missing, or a line does not have the required form.
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
        raise ScriptContractError(f"{name}.lua: {line!r} is not a 'number name type note' line.")
    first, last, key, kind, note = match.groups()
    end = None if last == "*" else int(last or first)
    return Field(int(first), end, key, kind, note)


def _reads(name: str, line: str) -> tuple[str, str, str]:
    match = _READ.match(line)
    if match is None:
        raise ScriptContractError(f"{name}.lua: {line!r} is not a 'name type note' line.")
    return match.group(1), match.group(2), match.group(3)


# Including shared Lua: each ``-- @include lib/<folder>/<name>`` line becomes the text of that file, once per script.
#
# A file that was included inside a block (a function, a branch, a loop) is visible only there. A later include
# of it, after that block has ended, would find its names gone, so it is refused: include the file before the block.


# Each alternative begins with a letter of its own, not with ^ or \b, so that a search skips all other letters quickly.
_TOKEN = re.compile(
    r"""
    --(?<=^--)[ ]@include[ ](?P<include>lib/[a-z_]+/[a-z_]+)\n
    | --\[\[.*?\]\] | --[^\n]*                               # comments
    | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*" | \[\[.*?\]\]  # texts
    | function\b | do\b | if\b | repeat\b | elseif\b | else\b | end\b | until\b  # words, or the ends of longer ones
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_LETTERS = frozenset(string.ascii_letters + string.digits + "_")
_OPENS = frozenset({"function", "do", "if", "repeat"})


class Includes:
    """Expands one script.

    Args:
        name: The script, for errors.
        read: The text of a shared file by its path, ``lib/…``.
    """

    def __init__(self, name: str, read: Callable[[str], str]) -> None:
        self._script = name
        self._read = read
        self._blocks: list[int] = []  # the blocks that are open, outermost first
        self._count = 0
        self._seen: dict[str, tuple[int, ...]] = {}

    def expand(self, text: str) -> str:
        """Return the script with all its includes.

        Raises:
            ScriptContractError: Files include each other, or one is included after the block that has it.
        """
        return "".join(self._parts(text, (self._script,)))

    def _parts(self, text: str, stack: tuple[str, ...]) -> Iterator[str]:
        at, depth = 0, len(self._blocks)
        for match in _TOKEN.finditer(text):
            start, token = match.start(), match[0]
            if token[0] in _LETTERS:
                if text[start - 1 : start] not in _LETTERS:
                    self._turn(token)
            elif match["include"]:
                yield text[at:start]
                at = match.end()
                yield from self._included(match["include"], stack)
        if len(self._blocks) != depth:
            raise ScriptContractError(f"{stack[-1]} leaves a block open, or ends one that it has not begun.")
        yield text[at:]

    def _turn(self, word: str) -> None:
        """Follow a word that begins or ends a block; ``else`` ends one and begins the next."""
        if word not in _OPENS:
            if not self._blocks:
                raise ScriptContractError(f"{self._script} ends a block that it has not begun.")
            self._blocks.pop()
        if word not in {"end", "until"}:
            self._count += 1
            self._blocks.append(self._count)

    def _included(self, name: str, stack: tuple[str, ...]) -> Iterator[str]:
        if name in stack:
            raise ScriptContractError(f"Scripts include each other: {' → '.join((*stack, name))}.")
        before = self._seen.get(name)
        if before is None:
            self._seen[name] = tuple(self._blocks)
            yield from self._parts(self._read(name), (*stack, name))
        elif before != tuple(self._blocks[: len(before)]):
            raise ScriptContractError(
                f"{stack[-1]} includes {name} after the block that has it; include it before that block."
            )


PREFIX = "jobfleet_"
_FUNCTION = """\
redis.register_function{{function_name = '{name}', flags = {{{flags}}}, callback = function(KEYS, ARGV)
{body}
end}}
"""


class Library(NamedTuple):
    """A library of functions: the scripts, for a server whose users may run no other scripts (docs/adr/0072).

    The names of the library and of its functions end in a hash of the scripts' text, so the libraries of two revisions
    stand side by side. An administrator loads it; a store whose target says so calls its functions.

    Attributes:
        name: Its name.
        functions: The names of its functions.
        text: What `FUNCTION LOAD` takes.
    """

    name: str
    functions: tuple[str, ...]
    text: bytes


@cache
def mark() -> str:
    """Hash of the text of all scripts; it reads their files, but does not expand them."""
    return hashlib.sha256("\0".join(raw_texts()).encode()).hexdigest()[:12]


def library_name() -> str:
    """Return the name of this revision's library."""
    return PREFIX + mark()


@cache
def function_of(script: str, *, is_exempt: bool = False) -> str:
    """Return the name of a script's function. It names the revision: a server has each name only once.

    Args:
        script: The name of the script.
        is_exempt: Whether it is the form that Redis runs even if its memory is full.
    """
    return f"{PREFIX}{script}{'_exempt' if is_exempt else ''}_{mark()}"


def library() -> Library:
    """Return this revision's library."""
    parts = [f"#!lua name={library_name()}\n"]
    functions: list[str] = []
    for script in (one for name in names() for one in _forms(name)):
        flags = ", ".join(f"'{flag}'" for flag in script.flags)
        body = "\n".join(line for line in script.plain.decode().splitlines() if not line.lstrip().startswith("--"))
        functions.append(function_of(script.name, is_exempt=script.is_exempt))
        parts.append(_FUNCTION.format(name=functions[-1], flags=flags, body=body))
    return Library(library_name(), tuple(functions), "".join(parts).encode())


def _forms(name: str) -> list[Script]:
    """A script, and for one that a full memory refuses also the form that running jobs call."""
    usual, exempt = load(name), load(name, is_exempt=True)
    return [usual, exempt] if exempt.is_exempt else [usual]
