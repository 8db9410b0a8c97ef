"""Log in, sessions, and lock-out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from jobfleet import Fleet
from jobfleet.web.errors import Problem
from jobfleet.web.safety import lockout
from jobfleet.web.safety.access import AccessFile
from jobfleet.web.safety.caller import Role
from jobfleet.web.safety.lockout import Lockout
from jobfleet.web.safety.sessions import FAILURES_OF_ADDRESS, FAILURES_OF_NAME, HASHING_AT_ONCE, Sessions
from tests.web.conftest import PASSWORD
from tests.web.site import Site, served

pytestmark = pytest.mark.usefixtures("users")


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (lockout, "jobfleet.web.safety.sessions"):
            name = module if isinstance(module, str) else module.__name__
            monkeypatch.setattr(f"{name}.monotonic", lambda: self.now)


def test_a_login_opens_the_page_that_was_asked_for(site: Site) -> None:
    browser = site.browser()
    asked = browser.get("/jobs?user=ann")
    assert (asked.status, asked.headers["Location"]) == (303, "/login?next=/jobs%3Fuser%3Dann")
    page = browser.get(asked.headers["Location"])
    assert 'value="/jobs?user=ann"' in page.text

    done = browser.post("/login", browser.csrf("/login"), name="operator", password=PASSWORD, next="/jobs?user=ann")

    assert (done.status, done.headers["Location"]) == (303, "/jobs?user=ann")
    cookie = next(one for one in done.headers.get_all("Set-Cookie") or () if one.startswith("jobfleet_session"))
    assert {"HttpOnly", "SameSite=strict", "Max-Age=43200", "Path=/"} <= set(cookie.split("; "))
    assert "operator · operator" in browser.get("/jobs").text


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "evil"])
def test_a_login_leads_to_no_other_site(site: Site, to: str) -> None:
    browser = site.browser()

    done = browser.post("/login", browser.csrf("/login"), name="viewer", password=PASSWORD, next=to)

    assert done.headers["Location"] == "/"


@pytest.mark.parametrize(("name", "password"), [("viewer", "wrong"), ("nobody", PASSWORD), ("viewer", ""), ("", "")])
def test_a_wrong_login_does_not_tell_what_was_wrong(site: Site, name: str, password: str) -> None:
    browser = site.browser()

    refused = browser.log_in(name, password)

    assert refused.status == 401
    assert "The name or the password is wrong." in refused.text
    assert "jobfleet_session" not in browser.cookies


def test_a_login_from_another_site_is_refused(site: Site) -> None:
    browser = site.browser()
    csrf = browser.csrf("/login")

    assert (
        browser.post("/login", csrf, {"Origin": "http://evil.example"}, name="viewer", password=PASSWORD).status == 403
    )
    assert browser.post("/login", None, name="viewer", password=PASSWORD).status == 403


def test_a_logout_ends_the_session(site: Site) -> None:
    browser = site.browser()
    browser.log_in("viewer", PASSWORD)
    secret = browser.cookies["jobfleet_session"]
    assert browser.post("/logout", None).status == 403

    assert browser.post("/logout", browser.csrf("/queues")).headers["Location"] == "/login"

    browser.cookies["jobfleet_session"] = secret
    assert browser.get("/api/v1/queues").status == 401


def test_a_new_password_or_a_removed_user_ends_the_sessions(site: Site, access: AccessFile) -> None:
    browser, other = site.browser(), site.browser()
    browser.log_in("viewer", PASSWORD)
    other.log_in("admin", PASSWORD)

    access.add_user("viewer", Role.VIEWER, "another horse")
    access.remove_user("admin")

    assert browser.get("/api/v1/queues").status == 401
    assert other.get("/api/v1/queues").status == 401
    assert browser.log_in("viewer", "another horse").status == 303


def test_a_new_role_counts_at_once(site: Site, access: AccessFile) -> None:
    browser = site.browser()
    browser.log_in("viewer", PASSWORD)
    assert browser.get("/settings").status == 403
    access._write(access.read())  # the same password, another role
    users = access.read().users
    access._write(
        type(access.read())({**users, "viewer": type(users["viewer"])("viewer", Role.ADMIN, users["viewer"].password)})
    )

    assert browser.get("/settings").status == 200


def test_a_link_on_another_site_reaches_the_session(site: Site) -> None:
    """The browser does not send the cookie with it, but does when the page loads itself again."""
    answer = site.browser().get("/jobs", Sec_Fetch_Site="cross-site")

    assert answer.status == 200
    assert 'http-equiv="refresh"' in answer.text


def test_a_session_ends_by_time(make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with served(make_fleet(web_session="1h")) as site:
        browser = site.browser()
        browser.log_in("viewer", PASSWORD)
        clock.now += 3599
        assert browser.get("/api/v1/queues").status == 200
        clock.now += 2
        assert browser.get("/api/v1/queues").status == 401


def test_failures_lock_a_name_out_for_longer_and_longer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    for _ in range(FAILURES_OF_NAME):
        assert site.browser().log_in("viewer", "wrong").status == 401

    locked = site.browser().log_in("viewer", PASSWORD)
    assert (locked.status, locked.headers["Retry-After"]) == (429, "30")
    assert "Too many failed logins" in locked.text
    clock.now += 31
    assert site.browser().log_in("viewer", "wrong").status == 401
    assert site.browser().log_in("viewer", PASSWORD).headers["Retry-After"] == "60"
    clock.now += 61
    assert site.browser().log_in("viewer", PASSWORD).status == 303


async def test_failures_lock_an_address_out(access: AccessFile) -> None:
    sessions, users = Sessions(60), access.read()
    for number in range(FAILURES_OF_ADDRESS):
        with pytest.raises(Problem, match="is wrong"):
            await sessions.log_in(users, f"user{number}", "x", "192.0.2.1")

    with pytest.raises(Problem, match="Too many"):
        await sessions.log_in(users, "viewer", PASSWORD, "192.0.2.1")
    assert await sessions.log_in(users, "viewer", PASSWORD, "192.0.2.2")


async def test_logins_at_the_same_time_do_not_evade_the_lock(access: AccessFile) -> None:
    sessions, users = Sessions(60), access.read()
    tries = [sessions.log_in(users, "viewer", "wrong", f"192.0.2.{number}") for number in range(4 * FAILURES_OF_NAME)]

    answers = await asyncio.gather(*tries, return_exceptions=True)

    checked = [one for one in answers if isinstance(one, Problem) and one.code == "unauthenticated"]
    assert len(checked) < FAILURES_OF_NAME + HASHING_AT_ONCE
    assert {one.code for one in answers if isinstance(one, Problem)} == {"unauthenticated", "locked-out"}
    assert len(answers) == sum(isinstance(one, Problem) for one in answers)


def test_names_and_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "KEYS_MOST", 3)
    kept = Lockout(1)
    for number in range(5):
        kept.failed(str(number))

    assert [kept.left(str(number)) > 0 for number in range(5)] == [False, False, True, True, True]
