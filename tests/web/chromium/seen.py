"""What a browser sees of a page: its complaints, and its picture where that is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page

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


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where that is asked for."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"web-{name}.png", animations="disabled", full_page=True)
