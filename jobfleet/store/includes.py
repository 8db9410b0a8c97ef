"""Including shared Lua: each ``-- @include lib/<folder>/<name>`` line becomes the text of that file, once per script.

A file that was included inside a block (a function, a branch, a loop) is visible only there. A later include
of it, after that block has ended, would find its names gone, so it is refused: include the file before the block.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator

from jobfleet.errors import ScriptContractError

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
