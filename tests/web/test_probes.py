"""The table of probes: each action is refused without the right credentials, and then nothing has changed."""

from __future__ import annotations

import http.client
import logging
import re
from collections.abc import Callable, Iterator
from operator import attrgetter

import pytest
from starlette.routing import Route

from jobfleet import Fleet, Flow, Job
from jobfleet.model.signals import fingerprint_of
from jobfleet.web.app import ACTIONS, API, PAGES, WebApp
from jobfleet.web.pages.queues import SCALE
from jobfleet.web.route import Action, page_at
from jobfleet.web.safety.access import Role
from jobfleet.web.safety.guard import Guard, Rate
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.conftest import PASSWORD
from tests.web.site import Answer, Browser, Site, served

GROUP = fingerprint_of("demo.add", "ValueError", "no luck")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand) -> None:
    """Something that each action could change."""
    fleet.enqueue(Job("x", "demo.fail", id="dead", queue="other"))
    hand.fails(hand.claims("other.0.dead"))
    fleet.rescue(GROUP)
    flow = Flow("Daily")
    flow.id = "etl"
    flow.add(Job("x", "demo.add", id="part"))
    fleet.flows.enqueue(flow)
    fleet.cron.add("nightly", "@daily", Job("x", "demo.add"))
    fleet.enqueue(Job("x", "demo.add", id="open"))


def place(path: str, **names: str) -> str:
    """A path with the names of something that exists."""
    known = {
        "name": "default",
        "id": "default.0.open",
        "fingerprint": GROUP,
        "rescue": GROUP,
        "entry": "nightly",
        "flow": "etl",
        **names,
    }
    for name, value in known.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def target(action: Action) -> str:
    """The path of an action on something that exists."""
    job_id = "other.0.dead" if action.path.endswith("retry") else "default.0.open"
    return place(action.path, id="w1" if "/workers" in action.path else job_id)


def state(fleet: Fleet) -> object:
    """What actions change; the hand reports a worker's state, so no command may have reached it."""
    jobs = [(one.id, one.status) for one in fleet.newest()]
    decided = [(one.fingerprint, one.state) for one in fleet.dead_groups()], [one.state for one in fleet.rescues()]
    recurring = [(one.name, one.cron, one.paused) for one in fleet.cron()]
    return jobs, recurring, [(one.name, one.paused) for one in fleet.queues()], len(fleet.dead()), decided


Probe = Callable[[Browser, str, str], Answer]
"""Sends a request with a browser to a path; the last text is the token of its forms."""
OPEN_PROBES: dict[str, tuple[Probe, int]] = {
    "no CSRF token": (lambda browser, path, csrf: browser.post(path), 403),
    "wrong CSRF token": (lambda browser, path, csrf: browser.post(path, "0" * 64), 403),
    "CSRF token of another browser": (
        lambda browser, path, csrf: browser.post(path, Browser(browser.port).csrf()), 403,
    ),
    "CSRF token without its cookie": (lambda browser, path, csrf: Browser(browser.port).post(path, csrf), 403),
    "another origin": (
        lambda browser, path, csrf: browser.post(path, csrf, {"Origin": "http://evil.example"}), 403,
    ),
    "another port": (
        lambda browser, path, csrf: browser.post(path, csrf, {"Origin": "http://127.0.0.1:1"}), 403,
    ),
    "origin null": (lambda browser, path, csrf: browser.post(path, csrf, {"Origin": "null"}), 403),
    "cross-site": (lambda browser, path, csrf: browser.post(path, csrf, {"Sec-Fetch-Site": "cross-site"}), 403),
    "same-site": (lambda browser, path, csrf: browser.post(path, csrf, {"Sec-Fetch-Site": "same-site"}), 403),
    "typed into the address": (
        lambda browser, path, csrf: browser.post(path, csrf, {"Sec-Fetch-Site": "none"}), 403,
    ),
    "no origin at all": (
        lambda browser, path, csrf: browser.send("POST", path, FORM, f"csrf={csrf}".encode()), 403,
    ),
    "GET": (lambda browser, path, csrf: browser.get(path), 405),
    "JSON to a form": (
        lambda browser, path, csrf: browser.post(path, csrf, JSON), 415,
    ),
    "wrong token": (lambda browser, path, csrf: browser.call(path, "jft_wrong"), 401),
    "API without a token": (lambda browser, path, _: browser.send("POST", f"/api/v1{path}", JSON, b"{}"), 403),
    "API with a cookie, and no CSRF token": (
        lambda browser, path, csrf: browser.send("POST", f"/api/v1{path}", {"Origin": browser.origin}, b""), 403,
    ),
    "another name of the host": (
        lambda browser, path, csrf: Browser(browser.port, browser.cookies, host=f"evil.example:{browser.port}").post(
            path, csrf
        ), 421,
    ),
    "through a proxy on this machine": (
        lambda browser, path, csrf: browser.post(path, csrf, {"X-Forwarded-For": "192.0.2.1"}), 403,
    ),
    "a body of a megabyte": (
        lambda browser, path, _: browser.send("POST", path, {**FORM, "Origin": browser.origin}, b"x" * 1_000_000), 413,
    ),
}  # fmt: skip


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request of a test is one too many."""
    monkeypatch.setattr("jobfleet.web.safety.guard.Rate.wait", lambda *_: 0.0)


@pytest.mark.usefixtures("unlimited")
@each("action", [one for one in ACTIONS if one.back], show=attrgetter("path"))
def test_an_action_is_refused(site: Site, fleet: Fleet, action: Action) -> None:
    browser = site.browser()
    csrf = browser.csrf()
    before = state(fleet)
    is_page = page_at(PAGES, target(action)) is not None  # of a queue or a job of this name, which is not there
    for name, (probe, status) in OPEN_PROBES.items():
        assert probe(browser, target(action), csrf).status == (404 if name == "GET" and is_page else status), name

    assert state(fleet) == before


def test_a_refusal_names_the_role_that_is_needed(browser: Browser, tokens: dict[Role, str]) -> None:
    answer = browser.call("/queues/default/pause", tokens[Role.VIEWER])

    assert (answer.status, answer.code) == (403, "forbidden")
    assert answer.json["error"]["message"] == "of-viewer is viewer; this needs the role operator."


@pytest.mark.usefixtures("users")
def test_with_users_a_stranger_is_sent_to_the_login(site: Site) -> None:
    stranger = site.browser()

    assert stranger.get("/api/v1/queues").code == "unauthenticated"
    assert stranger.get("/queues").headers["Location"].startswith("/login?next=/")
    assert stranger.get("/live/queues").status == 401
    assert stranger.post("/queues/default/pause", stranger.csrf("/login")).status == 401


def test_what_is_refused_and_what_is_done_are_logged(
    browser: Browser, site: Site, tokens: dict[Role, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.web")
    browser.post("/queues/default/pause")
    site.browser().call("/queues/default/pause", tokens[Role.VIEWER])
    site.browser().call("/queues/default/pause", tokens[Role.OPERATOR])

    lines = [record.getMessage() for record in caplog.records if record.name == "jobfleet.web"]
    why = "The CSRF token is missing or wrong; reload the page, and try again."
    assert lines == [
        f"Refused: POST /queues/default/pause from 127.0.0.1: {why}",
        "Refused: POST /api/v1/queues/default/pause from 127.0.0.1: of-viewer is viewer; this needs the role operator.",
        "of-operator (operator, 127.0.0.1): POST /api/v1/queues/default/pause",
    ]


def test_a_path_cannot_forge_a_line_of_the_log(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    browser.post("/jobs/x%0Aforged%1B[2J/cancel")
    browser.post(f"/jobs/{'x' * 10_000}/cancel")

    lines = [record.getMessage() for record in caplog.records if record.name == "jobfleet.web"]
    assert lines[0].startswith("Refused: POST /jobs/x%0Aforged%1B%5B2J/cancel from 127.0.0.1: ")
    assert all(line.isprintable() and len(line) < 500 for line in lines)


@pytest.fixture
def behind_proxy(make_fleet: Callable[..., Fleet], users: None) -> Iterator[Site]:
    with served(make_fleet(web_trusted_proxies="127.0.0.1", web_login_header="X-Forwarded-User")) as site:
        yield site


def test_a_named_proxy_names_the_user_exactly(behind_proxy: Site) -> None:
    browser = behind_proxy.browser(host="jobs.example.org")

    assert browser.get("/workers", X_Forwarded_User="operator").status == 200
    assert "operator · operator" in browser.get("/", X_Forwarded_User="operator").text
    for name in ("Operator", "operator ", "operator@evil.example", "nobody", "admin,operator"):
        status = browser.get("/api/v1/queues", X_Forwarded_User=name).status
        assert status == (200 if name.strip() == "operator" else 403), name
    assert browser.get("/api/v1/queues").status == 401


def test_the_header_of_anybody_else_does_not_count(make_fleet: Callable[..., Fleet], users: None) -> None:
    with served(make_fleet(web_trusted_proxies="192.0.2.1", web_login_header="X-Forwarded-User")) as site:
        assert site.browser().get("/api/v1/queues", X_Forwarded_User="admin").status == 401
        assert site.browser().get("/api/v1/queues", X_Forwarded_For="192.0.2.1", X_Forwarded_User="admin").status == 401


def test_the_basic_authentication_of_a_proxy_is_not_a_token(browser: Browser) -> None:
    assert browser.get("/api/v1/queues", Authorization="Basic YW5uOng=").status == 200
    assert browser.get("/api/v1/queues", Authorization="Bearer YW5uOng=").code == "unauthenticated"


def test_each_user_behind_a_trusted_proxy_has_a_rate(
    make_fleet: Callable[..., Fleet], users: None, tokens: dict[Role, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.safety.guard.BURST", 3)
    monkeypatch.setattr("jobfleet.web.safety.guard.PER_SECOND", 0.01)

    def statuses(site: Site, **headers: str) -> list[int]:
        return [site.browser().get("/api/v1/queues", **headers).status for _ in range(4)]

    with served(make_fleet(web_trusted_proxies="127.0.0.1", web_login_header="X-Forwarded-User")) as site:
        assert statuses(site, X_Forwarded_User="viewer") == [200, 200, 200, 429]
        assert statuses(site, X_Forwarded_User="operator") == [200, 200, 200, 429]
        assert statuses(site, Authorization=f"Bearer {tokens[Role.VIEWER]}") == [200, 200, 200, 429]
        assert statuses(site, X_Forwarded_User="nobody") == [403, 403, 403, 429]
        assert statuses(site, X_Forwarded_User="somebody") == [429] * 4, "names that nobody has share a rate"
    with served(make_fleet(web_trusted_proxies="192.0.2.1", web_login_header="X-Forwarded-User")) as site:
        assert statuses(site, X_Forwarded_User="viewer") == [401, 401, 401, 429]
        assert statuses(site, X_Forwarded_User="operator") == [429] * 4, "a header of anybody else does not count"


def test_failed_logins_behind_a_trusted_proxy_lock_nobody_out(
    behind_proxy: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.safety.guard.LONGEST_DELAY", 0.01)
    browser = behind_proxy.browser()
    csrf = browser.csrf("/login")
    for number in range(40):
        assert browser.post("/login", csrf, name=f"n{number}", password="wrong").status == 401

    assert browser.post("/login", csrf, name="viewer", password=PASSWORD).status == 303


def test_an_address_has_a_rate(fleet: Fleet) -> None:
    site = Site(Guard(WebApp(fleet), Rate(0.01, 5)))
    try:
        answers = [site.browser().get("/api/openapi.json") for _ in range(7)]
        assert site.browser().get("/healthz").status == 200, "health is answered always"
    finally:
        site.close()

    assert [one.status for one in answers] == [200] * 5 + [429] * 2
    assert answers[-1].code == "too-many-requests"
    assert int(answers[-1].headers["Retry-After"]) > 0


# ------------------------------------------------------------------------------------------ roles × routes

PUBLIC = {"/healthz", "/login", "/logout", "/api/openapi.json", "/find", "/static", "/groups", "/groups/{name}"}
"""The routes that are in no table, because they show nothing of the fleet; the last two lead to `/sequences`."""


def needed(application: WebApp) -> dict[tuple[str, str], Role | None]:
    """The role that each route of the application needs, by method and path; None if the path has a secret."""
    wanted: dict[tuple[str, str], Role | None] = {("GET", SCALE.path): SCALE.role}
    for page in PAGES:
        wanted["GET", API + page.api_path] = page.role
        if page.template:
            wanted |= {("GET", f"/live{page.path}"): page.role, ("GET", page.path): page.role}
    for action in ACTIONS:
        wanted["POST", API + action.path] = None if action.is_open else action.role
        if action.back:
            wanted["POST", action.path] = action.role
    there = set()
    for one in application._inner._app.routes:  # type: ignore[attr-defined]  # as they are, not as they should be
        methods: set[str] = set(one.methods or ()) if isinstance(one, Route) else set()
        there.add(("POST" if "POST" in methods else "GET", one.path))
    assert {one for one in there if one[1] not in PUBLIC} == set(wanted), "a route that no table has"
    return wanted


def outcome(site: Site, method: str, path: str, browser: Browser, headers: dict[str, str], csrf: str = "") -> str:
    """How a request is answered: it is unknown who sends it, that is forbidden, or it is looked at."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    sent = {"Host": browser.host, **({"Cookie": browser.cookie} if browser.cookies else {}), **headers}
    is_form = method == "POST" and not path.startswith(API)
    if is_form:
        sent |= {**FORM, "Origin": browser.origin}
    connection.request(method, path, f"csrf={csrf}" if is_form and csrf else None, sent)
    answer = connection.getresponse()  # of a stream, only the head
    where = answer.headers.get("Location", "")
    connection.close()
    answer.close()
    if answer.status == 401 or where.startswith("/login"):
        return "unknown"
    assert answer.status < 500, (method, path, answer.status)
    return "forbidden" if answer.status == 403 else "looked at"


@pytest.mark.usefixtures("users", "unlimited")
def test_each_route_has_its_role(site: Site, fleet: Fleet, tokens: dict[Role, str]) -> None:
    assert isinstance(site.application, WebApp)
    routes = needed(site.application)
    people = {role: site.browser() for role in Role}
    for role, browser in people.items():
        browser.log_in(str(role), PASSWORD)
    csrf = {role: browser.csrf("/") for role, browser in people.items()}
    before, wrong, asked = state(fleet), [], 0
    for (method, template), least in routes.items():
        path = re.sub(r"{\w+}", "none", template)
        is_form = method == "POST" and not path.startswith(API)
        is_api = path.startswith((API, "/scale"))
        for caller in (None, *Role):
            hoped = "looked at" if least is None or (caller and caller.permits(least)) else "forbidden"
            hoped = "unknown" if caller is None and least is not None else hoped
            bearer = {"Authorization": f"Bearer {tokens[caller] if caller else 'jft_wrong'}"}
            nobody, person = site.browser(), people[caller] if caller else site.browser()
            found = {}
            if not is_form:
                found["token"] = outcome(site, method, path, nobody, bearer)
            if is_api and caller is None:
                found["nothing"] = outcome(site, method, path, nobody, {})
            if not is_api:
                found["cookie"] = outcome(site, method, path, person, {}, csrf[caller] if caller else "")
            asked += len(found)
            wrong += [(caller, kind, method, path, one) for kind, one in found.items() if one != hoped]
    assert wrong == []
    assert asked >= 674, asked
    assert state(fleet) == before
