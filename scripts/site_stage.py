"""Prepare the pages for the generator of the site: copies with links that lead somewhere there, and the navigation.

The navigation is derived from docs/index.md: each heading is a section, each row of a table a group, each link a page.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
OUTSIDE = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "bench/README.md": "project/benchmarks.md",
}
"""Pages that are not in docs/, with their place in the site."""
UNPUBLISHED = ("templates",)
DECISIONS = "adr/index.md"
INDEX = "index.md"
LOWER = frozenset({"arq"})
"""Names that are written with a small letter in titles too."""
Nav = list[str | dict[str, Any]]

_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_IMAGE = re.compile(r"(?P<before>!\[[^\]]*\]\(|\b(?:src|srcset)=\")(?P<target>[^)\s\"]+)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (?P<topic>[^|]+) \| (?P<cells>.+) \|$", re.MULTILINE)
_DECISIONS = re.compile(r"^Decisions, each with its reasons:\n\n(?P<links>(?:- .+\n)+)", re.MULTILINE)


def stage(folder: Path) -> Nav:
    """Write the pages into a folder, and return the navigation.

    Args:
        folder: A folder that does not exist.
    """
    for path in sorted(DOCS.rglob("*")):
        name = path.relative_to(DOCS)
        if path.is_file() and name.parts[0] not in UNPUBLISHED:
            put(path, folder / name, folder)
    for source, place in OUTSIDE.items():
        put(ROOT / source, folder / place, folder)
    index = folder / INDEX
    text = index.read_text(encoding="utf-8")
    found = _DECISIONS.search(text)
    if found is None:
        raise SystemExit("docs/index.md has no list of decisions")
    nav = navigation(text)
    decisions = found["links"].rstrip("\n").replace("(adr/", "(")
    (folder / DECISIONS).write_text(f"# Decisions\n\nWhat was decided, and why.\n\n{decisions}\n", encoding="utf-8")
    index.write_text(
        text.replace(found[0], f"[All decisions]({DECISIONS}), each with its reasons.\n"), encoding="utf-8"
    )
    return nav


def put(source: Path, target: Path, folder: Path) -> None:
    """Copy a file. The links of a page lead to the place of their target in the site; links to code become text."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".md":
        shutil.copyfile(source, target)
        return
    text = source.read_text(encoding="utf-8")
    parts, end = [], 0
    for block in _FENCED.finditer(text):
        parts += [_moved(text[end : block.start()], source, target, folder), block[0]]
        end = block.end()
    target.write_text("".join([*parts, _moved(text[end:], source, target, folder)]), encoding="utf-8")


def _moved(text: str, source: Path, target: Path, folder: Path) -> str:
    def link(found: re.Match[str]) -> str:
        place = _place(found["target"], source, target, folder)
        return found["text"] if place is None else f"[{found['text']}]({place})"

    def image(found: re.Match[str]) -> str:
        return f"{found['before']}{_place(found['target'], source, target, folder)}"

    return _LINK.sub(link, _IMAGE.sub(image, text))


def _place(link: str, source: Path, target: Path, folder: Path) -> str | None:
    """A link as it is from the new place of its page; None if its target is not in the site."""
    path, mark, anchor = link.partition("#")
    if "://" in path or not path:
        return link
    found = (source.parent / path).resolve()
    name = found.relative_to(ROOT).as_posix()
    if name in OUTSIDE:
        place = folder / OUTSIDE[name]
    elif found.is_relative_to(DOCS) and found.relative_to(DOCS).parts[0] not in UNPUBLISHED:
        place = folder / found.relative_to(DOCS)
    else:
        return None
    return f"{relpath(place, target.parent)}{mark}{anchor}"


def navigation(index: str) -> Nav:
    """The sections of the site, from the text of docs/index.md."""
    nav: Nav = [{"Home": INDEX}]
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        entries: Nav = []
        for row in _ROW.finditer(text):
            if found := list(pages(row["cells"])):
                entries.append({headline(row["topic"].strip()): found})
        text = _ROW.sub("", text)
        if decisions := _DECISIONS.search(text):
            entries.append({"Decisions": [DECISIONS, *pages(decisions["links"])]})
            text = text.replace(decisions[0], "")
        rest = list(pages(text))
        nav.append({title.strip(): [*rest, *entries]})
    nav.append({"Project": [{headline(Path(name).stem): name} for name in OUTSIDE.values()]})
    return nav


def pages(text: str) -> Iterator[dict[str, str]]:
    """The pages that a text links to, with the texts of the links as titles; each page once."""
    seen: set[str] = set()
    for link in _LINK.finditer(text):
        path = link["target"].partition("#")[0]
        if path.endswith(".md") and path not in seen:
            seen.add(path)
            yield {headline(link["text"]): path}


def headline(text: str) -> str:
    """A text as a title."""
    return text if text in LOWER else text[:1].upper() + text[1:]


def listed(nav: Sequence[str | dict[str, Any]]) -> Iterator[str]:
    """The pages of a navigation."""
    for entry in nav:
        for place in [entry] if isinstance(entry, str) else entry.values():
            if isinstance(place, str):
                yield place
            else:
                yield from listed(place)


def as_yaml(nav: Nav) -> str:
    """The navigation in the settings of the generator; JSON is YAML."""
    return json.dumps(nav, ensure_ascii=False)


def for_agents(nav: Nav, folder: Path) -> dict[str, str]:
    """llms.txt, a list of the pages for programs that read text, and llms-full.txt, their text.

    Args:
        nav: The navigation.
        folder: The prepared pages.
    """
    title, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n")
    about = " ".join(rest.strip().partition("\n\n")[0].split())
    lines, texts = [f"{title}\n\n> {about}\n"], []
    for section in nav:
        for name, entries in section.items() if isinstance(section, dict) else ():
            if isinstance(entries, str):
                continue
            lines.append(f"\n## {name}\n")
            for place in listed([entries] if isinstance(entries, dict) else entries):
                text = (folder / place).read_text(encoding="utf-8")
                heading = re.search(r"^# (.+)$", text, re.MULTILINE)
                address = re.sub(
                    r"README\.md$|\.md$", lambda found: "index.html" if "R" in found[0] else ".html", place
                )
                lines.append(f"- [{heading[1] if heading else place}]({address})")
                texts.append(f"<!-- {place} -->\n\n{text}")
    return {"llms.txt": "\n".join(lines) + "\n", "llms-full.txt": "\n\n".join(texts)}
