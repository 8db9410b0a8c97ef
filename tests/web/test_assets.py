"""The files of other projects are those that were checked, and everything is served from here."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import jobfleet.web
from tests.support.pages import ROOT
from tests.web.site import Browser

STATIC = Path(jobfleet.web.__file__).with_name("static")
VENDOR = STATIC / "vendor"


def test_each_file_of_another_project_has_its_checksum_and_a_licence() -> None:
    rows = [line.split() for line in (VENDOR / "SHA256SUMS").read_text().splitlines()]
    kept = {path.name for path in VENDOR.iterdir()} - {"SHA256SUMS", "README.md"}

    assert {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in kept} == {
        name: digest for digest, name in rows
    }
    page = (VENDOR / "README.md").read_text()
    for name in kept:
        assert f"`{name}`" in page
    assert "Zero-Clause BSD" in (VENDOR / "htmx.LICENSE").read_text()


def test_no_template_and_no_file_of_ours_names_another_host_or_has_inline_code() -> None:
    files = [*STATIC.glob("*.js"), STATIC / "app.css", STATIC / "logo.svg", *STATIC.parent.glob("templates/**/*.html")]
    for path in files:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*// .*$", "", text, flags=re.MULTILINE), path
        assert not re.search(r"<style|style=|\son\w+=|<script>|hx-on", text), path


def test_the_package_has_them_all() -> None:
    """hatchling packs what git does not ignore; a wheel that is built shows it in `test_install`."""
    ignored = (ROOT / ".gitignore").read_text()
    for path in STATIC.parent.rglob("*"):
        assert path.is_dir() or path.suffix in {".pyc", ".py"} or not re.search(rf"\*{path.suffix}$", ignored)


def test_they_are_served_with_their_types(browser: Browser) -> None:
    for path, kind in {"app.css": "text/css", "app.js": "javascript", "logo.svg": "image/svg+xml",
                       "vendor/htmx.min.js": "javascript"}.items():  # fmt: skip
        answer = browser.get(f"/static/{path}")
        assert answer.status == 200
        assert kind in answer.headers["Content-Type"]
        assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert browser.get("/static/../app.py").status == 404
    assert browser.get("/static/%2e%2e/app.py").status == 404
