"""Mutants of Lua sources, found token by token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.support.mutants.mutant import Mutant, distinct

TOKEN = re.compile(
    rb"""(?P<comment>--\[\[.*?\]\]|--[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\[\[.*?\]\])
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])
    |(?P<space>\s+)""",
    re.VERBOSE | re.DOTALL,
)
SWAPS = {
    "==": ("~=",),
    "~=": ("==",),
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "%": ("*",),
    "and": ("or",),
    "or": ("and",),
    "true": ("false",),
    "false": ("true",),
}
KINDS = {"and": "junction", "or": "junction", "true": "constant", "false": "constant"} | dict.fromkeys(
    "+-*/%", "arithmetic"
)
KEYWORDS = frozenset(
    b"and break do else elseif end false for function goto if in local nil not or repeat return then true until"
    b" while".split()
)
ENDS_AN_OPERAND = frozenset([b")", b"]", b"}", b"end", b"nil", b"true", b"false", b"..."])
CONDITIONS = {b"if": b"then", b"elseif": b"then", b"while": b"do"}
OPENS, CLOSES = frozenset(b"( { [".split()), frozenset(b") } ]".split())


class Token(NamedTuple):
    """A word, number, text or sign, and where it begins."""

    kind: str
    text: bytes
    begin: int

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.begin + len(self.text)

    @property
    def is_name(self) -> bool:
        """Whether it is a name."""
        return self.kind == "word" and self.text not in KEYWORDS

    @property
    def ends_an_operand(self) -> bool:
        """Whether what comes behind it, if no operator, begins a statement."""
        return self.kind in {"number", "text"} or self.is_name or self.text in ENDS_AN_OPERAND


def tokens(source: bytes) -> list[Token]:
    """The tokens of a source, without comments.

    Raises:
        ValueError: Something in it is no token.
    """
    found, at = [], 0
    while at < len(source):
        match = TOKEN.match(source, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"no token of Lua at byte {at}: {source[at : at + 20]!r}")
        if match.lastgroup not in {"comment", "space"}:
            found.append(Token(match.lastgroup, match[0], at))
        at = match.end()
    return found


def mutants(source: bytes) -> list[Mutant]:
    """All mutants of a Lua source, in its order."""
    row = tokens(source)
    scopes = _scopes(row)
    found = []
    for at, scope in enumerate(scopes):
        for begin, end, new, operator in _changes(source, row, at):
            found.append(Mutant(begin, end, new, operator, scope))
    return distinct(found, source)


def _changes(source: bytes, row: Sequence[Token], at: int) -> Iterator[tuple[int, int, bytes, str]]:
    token, before = row[at], row[at - 1] if at else None
    begin, end, text = token.begin, token.end, token.text.decode()
    if token.text == b"-" and not (before and before.ends_an_operand):
        yield begin, end, b"", "arithmetic"
    elif text in SWAPS and token.kind != "text":
        for new in SWAPS[text]:
            yield begin, end, new.encode(), KINDS.get(text, "comparison")
    elif token.text == b"not":
        yield begin, end, b"", "negation"
    elif token.kind == "number":
        value = float(text) if re.search(r"[.eE]", text) and not text.startswith("0x") else int(text, 0)
        for step in (1, -1):
            yield begin, end, _number(value + step), "constant"
    elif token.text in CONDITIONS:
        last = _condition_end(row, at + 1, CONDITIONS[token.text])
        if row[at + 1].text != b"not" and not _is_one_comparison(row[at + 1 : last]):
            first, until = row[at + 1].begin, row[last - 1].end
            yield first, until, b"not (" + source[first:until] + b")", "negation"
    if token.is_name and _begins_a_statement(before):
        closing = _call_end(row, at)
        if closing is not None:
            yield begin, row[closing].end, b"", "statement"


def _number(value: float) -> bytes:
    return f"{value:.0f}".encode() if value == int(value) else repr(value).encode()


def _begins_a_statement(before: Token | None) -> bool:
    return before is None or before.ends_an_operand or before.text in {b"then", b"do", b"else", b"repeat", b";"}


def _condition_end(row: Sequence[Token], at: int, closing: bytes) -> int:
    while row[at].text != closing:
        at += 1
    return at


def _is_one_comparison(condition: Sequence[Token]) -> bool:
    """Whether a condition has a comparison whose opposite is its negation, and nothing that joins it to others."""
    texts = [token.text for token in condition if token.kind != "text"]
    compared = [text for text in texts if text in {b"==", b"~=", b"<", b"<=", b">", b">="}]
    return len(compared) == 1 and b"and" not in texts and b"or" not in texts


def _call_end(row: Sequence[Token], at: int) -> int | None:
    """The last token of a statement that is a call, as `redis.call(…)` or `emit(…)`; None where it is no call."""
    place = at + 1
    while place + 1 < len(row) and row[place].text in {b".", b":"} and row[place + 1].is_name:
        place += 2
    if place >= len(row) or row[place].text != b"(":
        return None
    depth = 0
    for last in range(place, len(row)):
        depth += (row[last].text in OPENS) - (row[last].text in CLOSES)
        if depth == 0:
            following = row[last + 1].text if last + 1 < len(row) else b""
            # `f(…).x = 1` and `f(…)(…)` are other statements.
            return None if following in {b".", b"[", b":", b"(", b"="} else last
    return None


def _scopes(row: Sequence[Token]) -> list[str]:
    """For each token, the functions with names around it."""
    opened: list[str | None] = []
    scopes = []
    for at, token in enumerate(row):
        if token.kind == "word" and token.text in {b"function", b"if", b"do", b"repeat"}:
            named = token.text == b"function" and row[at + 1].is_name
            opened.append(row[at + 1].text.decode() if named else None)
        scopes.append(".".join(name for name in opened if name))
        if token.kind == "word" and token.text in {b"end", b"until"}:
            opened.pop()
    return scopes
