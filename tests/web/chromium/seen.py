"""What a browser sees of a page: its complaints, and its barriers and its picture, where these are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page

AXE = Path(__file__).parents[3] / ".venv" / "tools" / "axe" / "axe.min.js"
"""The checker of accessibility: scripts/tools axe."""
PICTURES = os.environ.get("SCREENSHOTS")


class Complaints:
    """What a page must not do: write an error to the console, ask another host, or fail to load something."""

    def __init__(self, page: Page, port: int) -> None:
        self.found: list[str] = []
        self._here = f"127.0.0.1:{port}"
        page.on("console", lambda one: self._note(one.text) if one.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", lambda one: self._check(one.url))
        page.on("response", lambda one: self._note(f"{one.status} {one.url}") if one.status >= 400 else None)

    def _note(self, text: str) -> None:
        self.found.append(text)

    def _check(self, url: str) -> None:
        if urlsplit(url).netloc != self._here:
            self._note(url)


def barriers(page: Page) -> list[str]:
    """What axe-core finds on the page that is serious or critical, with the elements."""
    assert AXE.exists(), "axe-core is not installed: scripts/tools axe"
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((all) => all.violations)")
    return [
        f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:5]]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where that is asked for."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"web-{name}.png", animations="disabled", full_page=True)
