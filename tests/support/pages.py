"""The pages of the documentation, and their code blocks.

Each block of code is run as it is printed, or is marked as a fragment, with the reason, in the line above it::

    <!-- fragment: it needs a Redis on another machine -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEMPLATES = DOCS / "templates"
PAGES = sorted([ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if TEMPLATES not in page.parents)])
MOVES = [page for page in PAGES if page.parent == DOCS / "migrate"]
"""Pages about moving from another system, which must be there too: `tests/docs/test_migrate.py` runs them."""
STEPS = [page for page in PAGES if page.parent == DOCS / "tutorial"]
"""Pages of which each continues the one before: `tests/docs/test_tutorial.py` runs them in one folder."""

SHELL = frozenset({"sh", "console"})
"""Languages of blocks that are typed into a terminal; a ``console`` block shows the output too."""
FILES = {
    "javascript": "mjs",
    "python": "py",
    "toml": "toml",
    "json": "json",
    "yaml": "yaml",
    "ini": "ini",
    "nginx": "conf",
}
"""Languages of blocks that are files, with the ending of their names. The first line is a comment with the name."""
SHOWN = frozenset({"text", "mermaid", "py"})
"""Languages of blocks that are not run: output, drawings, and the signatures of a reference."""

_FENCE = re.compile(
    r"^(?:<!-- fragment: (?P<reason>[^\n]*?) -->\n+)?```(?P<language>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"(?:#|//) (?P<name>[\w./]+)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page.

    Attributes:
        page: The page.
        line: The number of its first line in the page.
        language: The word after the fence.
        body: The text.
        reason: Why it is a fragment, which is not run; None if it is run.
    """

    page: Path
    line: int
    language: str
    body: str
    reason: str | None

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def is_code(self) -> bool:
        """Whether it is code, not output or a drawing."""
        return self.language not in SHOWN

    @property
    def is_run(self) -> bool:
        """Whether it is run as it is printed."""
        return self.is_code and self.reason is None

    @property
    def file(self) -> str:
        """The name of the file that it is, or continues; empty if it does not name one."""
        found = _FILE.match(self.body) if self.language in FILES else None
        return found["name"] if found and found["name"].endswith(f".{FILES[self.language]}") else ""


def name_of(page: Path) -> str:
    """The path of a page in the repository."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks_of(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start("body")) + 1, found["language"], found["body"], found["reason"])
        for found in _FENCE.finditer(text)
    ]


def without_blocks(page: Path) -> str:
    """The text of a page between its blocks."""
    return _FENCE.sub("", page.read_text())
