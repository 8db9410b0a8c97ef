"""A mutant: a source file with one operator changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Key(NamedTuple):
    """What a mutant is recorded under. It names no line number, so a record outlives a move of its line.

    Attributes:
        scope: The function or class around the change; empty at the top of the file.
        before: The changed lines as they are, each stripped.
        after: The same lines with the change.
        below: The line above them, stripped, where a function has several such lines; else empty.
    """

    scope: str
    before: str
    after: str
    below: str = ""


class Mutant(NamedTuple):
    """One change of a source.

    Attributes:
        begin: The first byte that is replaced.
        end: The byte behind the last one that is replaced.
        new: What stands there instead.
        operator: The kind of change, as `comparison`.
        scope: The function or class around it.
    """

    begin: int
    end: int
    new: bytes
    operator: str
    scope: str

    def apply(self, source: bytes) -> bytes:
        """The source with the change."""
        return source[: self.begin] + self.new + source[self.end :]

    def line(self, source: bytes) -> int:
        """The number of the first changed line, from 1."""
        return source.count(b"\n", 0, self.begin) + 1

    def keys(self, source: bytes) -> tuple[Key, Key]:
        """What it may be recorded under: with the line above it, and without."""
        first = source.rfind(b"\n", 0, self.begin) + 1
        key = self.key(source)
        return key._replace(below=_stripped(source[:first].rstrip().rpartition(b"\n")[2])), key

    def key(self, source: bytes) -> Key:
        """What it is recorded under."""
        first = source.rfind(b"\n", 0, self.begin) + 1
        last = source.find(b"\n", self.end)
        last = len(source) if last < 0 else last
        after = source[first : self.begin] + self.new + source[self.end : last]
        return Key(self.scope, _stripped(source[first:last]), _stripped(after))


def distinct(found: Iterable[Mutant], source: bytes) -> list[Mutant]:
    """The mutants in the order of the file, without those that change nothing or do what another one does."""
    seen, kept = {source}, []
    for mutant in sorted(found, key=lambda one: (one.begin, one.end, one.new)):
        text = mutant.apply(source)
        if text not in seen:
            seen.add(text)
            kept.append(mutant)
    return kept


def _stripped(text: bytes) -> str:
    return "\n".join(line.strip() for line in text.decode().splitlines())
