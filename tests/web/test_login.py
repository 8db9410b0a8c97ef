"""Log in, sessions, and lock-out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from jobfleet import Fleet
from jobfleet.web.errors import Problem
from jobfleet.web.safety import guard
from jobfleet.web.safety.access import Access, AccessFile, Role, User
from jobfleet.web.safety.guard import Delays
from jobfleet.web.safety.identity import FREE, FREE_OF_MANY, HASHING_AT_ONCE, QUEUED_MOST, QUEUED_OF_ADDRESS, Sessions
from tests.support.each import each
from tests.web.conftest import PASSWORD
from tests.web.site import Site, served

pytestmark = pytest.mark.usefixtures("users")


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (guard, "jobfleet.web.safety.identity"):
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


@each("to", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "evil"])
def test_a_login_leads_to_no_other_site(site: Site, to: str) -> None:
    browser = site.browser()

    done = browser.post("/login", browser.csrf("/login"), name="viewer", password=PASSWORD, next=to)

    assert done.headers["Location"] == "/"


@each("name, password", [("viewer", "wrong"), ("nobody", PASSWORD), ("viewer", ""), ("", "")])
def test_a_wrong_login_does_not_tell_what_was_wrong(site: Site, name: str, password: str) -> None:
    browser = site.browser()

    refused = browser.log_in(name, password)

    assert refused.status == 401
    assert "The name or the password is wrong." in refused.text
    assert [name for name in browser.cookies if name.startswith("jobfleet_session")] == []


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
    secret = browser.cookies[f"jobfleet_session_{site.port}"]
    assert browser.post("/logout", None).status == 403

    assert browser.post("/logout", browser.csrf("/queues")).headers["Location"] == "/login"

    browser.cookies[f"jobfleet_session_{site.port}"] = secret
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


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a login has waited; no time passes."""
    found: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        await real(0)

    monkeypatch.setattr("jobfleet.web.safety.identity.asyncio.sleep", sleep)
    return found


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(60, User("web", Role.OPERATOR))


async def fails(sessions: Sessions, users: Access, name: str, address: str) -> None:
    with pytest.raises(Problem, match="is wrong"):
        await sessions.log_in(users, name, "wrong", address)


async def test_a_right_password_is_let_through_after_a_delay(
    sessions: Sessions, access: AccessFile, slept: list[float]
) -> None:
    users = access.read()
    for _ in range(FREE + 6):
        await fails(sessions, users, "viewer", "192.0.2.1")
    assert slept == [1.0, 2.0, 4.0, 8.0, 16.0, 16.0]

    assert await sessions.log_in(users, "viewer", PASSWORD, "192.0.2.1")

    assert slept[6:] == [16.0]
    await fails(sessions, users, "viewer", "192.0.2.1")
    assert slept[7:] == [], "its failures are forgotten"


async def test_failures_of_a_name_delay_neither_others_nor_other_addresses(
    sessions: Sessions, access: AccessFile, slept: list[float]
) -> None:
    users = access.read()
    for _ in range(FREE + 1):
        await fails(sessions, users, "viewer", "192.0.2.1")
    slept.clear()

    assert await sessions.log_in(users, "viewer", PASSWORD, "192.0.2.2")
    assert await sessions.log_in(users, "operator", PASSWORD, "192.0.2.1")

    assert slept == []


@pytest.mark.parametrize("is_address", [True, False], ids=["many names of one address", "many addresses of one name"])
async def test_many_failures_delay_and_refuse_nobody(
    sessions: Sessions, access: AccessFile, slept: list[float], is_address: bool
) -> None:
    users = access.read()
    for number in range(FREE_OF_MANY):
        one = ("nobody" * number, "192.0.2.1") if is_address else ("viewer", f"192.0.2.{number}")
        await fails(sessions, users, *one)
    assert slept == []

    assert await sessions.log_in(users, "viewer", PASSWORD, "192.0.2.1" if is_address else "198.51.100.1")

    assert slept == [1.0]


async def test_logins_at_the_same_time_evade_no_delay(
    sessions: Sessions, access: AccessFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.safety.identity.WAITING_MOST", 0)
    users = access.read()
    tries = [sessions.log_in(users, "viewer", "wrong", "192.0.2.1") for _ in range(4 * FREE)]

    answers = await asyncio.gather(*tries, return_exceptions=True)

    codes = Counter(one.code for one in answers if isinstance(one, Problem))
    assert FREE <= codes["unauthenticated"] < FREE + HASHING_AT_ONCE
    assert codes["unauthenticated"] + codes["locked-out"] == len(tries)


@pytest.mark.parametrize(("most", "addresses"), [(QUEUED_OF_ADDRESS, 1), (QUEUED_MOST, QUEUED_MOST + 30)])
async def test_logins_that_wait_for_their_check_are_bounded(
    sessions: Sessions, access: AccessFile, slept: list[float], most: int, addresses: int
) -> None:
    users = access.read()
    tries = [
        sessions.log_in(users, f"nobody{number}", "wrong", f"192.0.2.{number % addresses}")
        for number in range(most + 30)
    ]

    answers = await asyncio.gather(*tries, return_exceptions=True)

    assert Counter(one.code for one in answers if isinstance(one, Problem)) == {
        "unauthenticated": most,
        "locked-out": 30,
    }
    assert slept == []
    assert await sessions.log_in(users, "viewer", PASSWORD, "198.51.100.1"), "the next one is looked at again"


def test_names_and_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "KEYS_MOST", 3)
    kept = Delays(1)
    for number in range(5):
        kept.failed(str(number))

    assert [kept.of(str(number)) > 0 for number in range(5)] == [False, False, True, True, True]


def test_failures_are_forgotten_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, kept = Clock(monkeypatch), Delays(1)
    kept.failed("ann")
    clock.now += guard.FORGOTTEN_AFTER
    assert kept.of("ann") == 1.0
    clock.now += 1
    assert kept.of("ann") == 0.0
    kept.failed("ann")
    assert kept.of("ann") == 1.0
