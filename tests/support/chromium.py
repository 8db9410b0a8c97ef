"""Debian's Chromium, driven by Playwright; tests with it are skipped where it is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps",
)  # fmt: skip
MARKS = (
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: scripts/tools chromium"),
    pytest.mark.filterwarnings("ignore:.* blocks the event loop:RuntimeWarning"),  # Playwright's, which waits anyhow
)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start the browser, and end it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
