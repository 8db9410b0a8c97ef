"""Inspect the built site: each link leads somewhere in it, and no page loads anything from another host."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADED = {"script": "src", "img": "src", "link": "href", "source": "srcset", "iframe": "src"}
"""Elements whose target a browser loads by itself, with the attribute that names it."""
UNLOADED = {"canonical", "next", "prev", "alternate"}
"""Values of `rel` with which a browser does not load the target of a `link`."""
SCHEMES = re.compile(r"[a-z]+:|//")
_CSS_LOADS = re.compile(r"(?:url\(|@import )[\"']?(?:https?:)?//[^\"')]+")


class Page(HTMLParser):
    """What a page links to and loads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif LOADED.get(tag) in given and given.get("rel") not in UNLOADED:
            self.loads.append(given[LOADED[tag]])


def problems(folder: Path) -> list[str]:
    """A line for each link without a target and each request to another host."""
    found = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    lines: list[str] = []
    for path, page in found.items():
        name = path.relative_to(folder.resolve())
        lines += [f"{name} loads {place} from another host" for place in page.loads if SCHEMES.match(place)]
        inside = [place for place in [*page.links, *page.loads] if not SCHEMES.match(place)]
        lines += [f"{name} links to {place}, which is not there" for place in inside if not leads(place, path, found)]
    for path in sorted(folder.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        lines += [f"{path.relative_to(folder)} loads {place[0]}" for place in _CSS_LOADS.finditer(text)]
    return lines


def leads(place: str, path: Path, found: dict[Path, Page]) -> bool:
    """Whether a link of a page leads to a file of the site, and to an anchor that it has."""
    target, _, anchor = unquote(place).partition("#")
    target = target.partition("?")[0]
    if path.name == "404.html":  # it is shown at any address, so the theme gives it absolute ones
        target = target.lstrip("/") or "index.html"
    file = (path.parent / target).resolve() if target else path
    if not file.exists():
        return False
    return not anchor or file not in found or anchor in found[file].anchors
