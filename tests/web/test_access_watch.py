"""A running dashboard whose access file is gone, or cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from jobfleet.web.safety.access import AccessFile, Role
from tests.web.site import Site

GONE, FOREIGN, CORRUPT = "is gone", "run 'chmod go-w", "is not an access file of jobfleet"


def _remove(access: AccessFile) -> None:
    access.path.unlink()


def _open_to_others(access: AccessFile) -> None:
    access.path.chmod(0o666)


def _corrupt(access: AccessFile) -> None:
    access.path.write_text("{")


@pytest.mark.parametrize(
    ("harm", "remedy"), [(_remove, GONE), (_open_to_others, FOREIGN), (_corrupt, CORRUPT)]
)  # fmt: skip
def test_a_dashboard_without_its_access_file_refuses_everybody(
    users: None,
    tokens: dict[Role, str],
    access: AccessFile,
    site: Site,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[AccessFile], None],
    remedy: str,
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.web")
    browser, text = site.browser(), access.path.read_text()
    harm(access)  # before the first request: the dashboard has seen the file when it started

    plain = browser.get("/api/v1/queues")
    by_token = browser.get("/api/v1/queues", Authorization=f"Bearer {tokens[Role.ADMIN]}")
    page, login, write = browser.get("/"), browser.get("/login"), browser.post("/login", name="viewer")

    assert {one.status for one in (plain, by_token, page, login)} == {503}
    assert write.status == 403  # it has no CSRF token, which is checked first
    assert (plain.code, by_token.code) == ("access-unavailable", "access-unavailable")
    assert str(access.path) not in plain.text + page.text
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(lines) == 1, lines
    assert str(access.path.absolute()) in lines[0]
    assert remedy in lines[0]

    access.path.unlink(missing_ok=True)
    AccessFile(access.path).add_user("viewer", Role.VIEWER, None)
    access.path.write_text(text)

    assert browser.get("/api/v1/queues").status == 401
    assert browser.get("/api/v1/queues", Authorization=f"Bearer {tokens[Role.ADMIN]}").status == 200
    assert sum("can be read again" in one.getMessage() for one in caplog.records) == 1


def test_a_file_that_comes_later_and_goes_does_not_open_the_dashboard(access: AccessFile, site: Site) -> None:
    browser = site.browser()
    assert browser.get("/api/v1/queues").status == 200
    access.create_token("ci", Role.VIEWER)
    access.add_user("ann", Role.VIEWER, None)
    assert browser.get("/api/v1/queues").status == 401
    access.path.unlink()
    assert browser.get("/api/v1/queues").status == 503
