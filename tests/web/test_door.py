"""The door of the dashboard, attacked from outside: connections, addresses, proxies, bodies, and who may stay."""

from __future__ import annotations

import http.client
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from jobfleet import Fleet, Job
from jobfleet.errors import ConfigError
from jobfleet.web.app import WebApp
from jobfleet.web.safety.access import AccessFile, Role
from jobfleet.web.safety.checks import read_text
from jobfleet.web.server import Connections
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.conftest import PASSWORD
from tests.web.site import Answer, Browser, Site, served

# ------------------------------------------------------------------------------------------ connections


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand) -> None:
    """A worker has published functions, and there is a queue."""
    fleet.enqueue(Job("x", "demo.add", id="a"))


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def silent(port: int, count: int, keep: ExitStack, sent: bytes = b"") -> list[socket.socket]:
    """Connections that send no request, or only the begin of one."""
    found = []
    for _ in range(count):
        one = keep.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        if sent:
            one.sendall(sent)
        found.append(one)
    return found


def test_silent_connections_of_an_address_refuse_nobody(
    site: Site, tokens: dict[Role, str], keep: ExitStack, cheap: None
) -> None:
    before = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    before.request("GET", "/healthz")
    before.getresponse().read()

    silent(site.port, 1000, keep)

    browser = site.browser()
    job = browser.call("/jobs", tokens[Role.PRODUCER], function="demo.add", args=[1])
    answers = [browser.get(path).status for path in ("/healthz", "/queues", "/api/v1/jobs")]
    before.request("GET", "/queues")
    kept = before.getresponse().status
    before.close()
    assert (job.status, answers, kept) == (200, [200, 200, 200], 200)


def test_health_is_answered_while_an_address_holds_every_place(site: Site, keep: ExitStack) -> None:
    begun = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    held = silent(site.port, 300, keep, begun + b"Origin: http://127.0.0.1\r\nContent-Length: 9\r\n\r\nx")

    browser = site.browser()
    assert [browser.get("/healthz").status for _ in range(5)] == [200] * 5
    assert browser.get("/queues").status == 503, "the others are busy"
    for one in held:
        one.close()


@pytest.mark.parametrize("is_used", [False, True], ids=["silent", "between two requests"])
@pytest.mark.parametrize(
    "connections",
    [Connections(lambda _: True, most=8, of_address=2), Connections(most=1000, of_address=8)],
    ids=["all of a proxy", "of an address"],
)
def test_connections_that_wait_make_room(
    fleet: Fleet, keep: ExitStack, connections: Connections, is_used: bool
) -> None:
    site = Site(WebApp(fleet), connections=connections)
    keep.callback(site.close)
    held = [http.client.HTTPConnection("127.0.0.1", site.port, timeout=30) for _ in range(8)]
    for one in held:
        keep.callback(one.close)
        one.connect()
        if is_used:
            one.request("GET", "/healthz")
            assert one.getresponse().read()

    new = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    keep.callback(new.close)
    new.request("GET", "/queues")
    answer = new.getresponse()

    assert (answer.status, len(answer.read()) > 0) == (200, True)
    assert held[0].sock.recv(1) == b"", "the oldest one was closed"
    held[-1].request("GET", "/queues")
    assert held[-1].getresponse().status == 200, "the others stay"


# ------------------------------------------------------------------------------------------ bodies


@each(
    "body, field",
    [
        (rb'{"reason": "\ud800"}', "reason"),
        (b'{"reason": "\xed\xa0\x80"}', "reason"),
        (rb'{"\udfff": 1}', r"\udfff"),
        (b'{"reason": 1e999}', "reason"),
        (b'{"reason": NaN}', "reason"),
        (b'{"reason": {"a": [1, -Infinity]}}', "reason.a[1]"),
        (b'{"reason": "a", "reason": "b"}', "reason"),
        (b'{"x": [{"deep": {"y": 1, "y": 2}}]}', "x[0].deep.y"),
    ],
)
def test_json_that_readers_read_in_several_ways_is_refused(
    fleet: Fleet, site: Site, tokens: dict[Role, str], body: bytes, field: str
) -> None:
    headers = {"Authorization": f"Bearer {tokens[Role.OPERATOR]}", "Content-Type": "application/json"}
    for path in ("/queues/default/pause", "/jobs"):
        answer = site.browser().send("POST", f"/api/v1{path}", headers, body)
        assert (answer.status, answer.code, answer.json["error"].get("field")) == (400, "invalid-request", field)
    assert [one.paused for one in fleet.queues() if one.paused] == []
    assert [one.id for one in fleet.newest()] == ["default.0.a"]


def test_a_long_name_is_not_repeated_for_each_value_below_it() -> None:
    body = json.dumps({"n" * 20_000: [0] * 20_000})
    tracemalloc.start()
    read_text(body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 20 * 2**20, "places as texts take 400 MB"


def test_a_pair_of_surrogates_is_a_character(fleet: Fleet, site: Site, tokens: dict[Role, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens[Role.OPERATOR]}", "Content-Type": "application/json"}
    body = rb'{"reason": "\ud83d\ude00"}'
    assert site.browser().send("POST", "/api/v1/queues/default/pause", headers, body).status == 200
    assert [one.paused_reason for one in fleet.queues()] == ["\U0001f600"]


# ------------------------------------------------------------------------------------------ addresses


@each("path", ["/jobs/", "/queues/", "//evil.example/", "/static", "/api/v1/jobs/"])
def test_no_slash_redirects_to_another_host(browser: Browser, path: str) -> None:
    answer = Browser(browser.port, host="evil.example").get(path)
    assert (answer.status, answer.headers["Location"]) == (404, None)


@pytest.fixture
def behind_tls(make_fleet: Callable[..., Fleet], users: None) -> Iterator[Site]:
    with served(make_fleet(web_url="https://jobs.example.org/", web_trusted_proxies="127.0.0.1")) as site:
        yield site


def cookies_of(answer: Answer) -> dict[str, set[str]]:
    """The attributes of the cookies that an answer sets."""
    lines = [line.split("; ") for line in answer.headers.get_all("Set-Cookie") or ()]
    return {line[0].partition("=")[0]: set(line[1:]) for line in lines}


def test_behind_tls_cookies_belong_to_the_host_alone(behind_tls: Site, tokens: dict[Role, str]) -> None:
    browser = behind_tls.browser(host="jobs.example.org")
    page = browser.get("/login")
    done = browser.post("/login", browser.csrf("/login"), {"Origin": "https://jobs.example.org"}, name="admin",
                        password=PASSWORD, next="/jobs")  # fmt: skip

    assert (done.status, done.headers["Location"]) == (303, "/jobs")
    found = cookies_of(page) | cookies_of(done)
    assert set(found) == {"__Host-jobfleet_seat", "__Host-jobfleet_session"}
    assert all({"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= one for one in found.values())
    assert browser.get("/settings").status == 200
    browser.cookies = {name.removeprefix("__Host-"): text for name, text in browser.cookies.items()}
    assert browser.get("/settings").status == 303, "a cookie that a neighbour could have set"


def test_behind_tls_only_the_own_host_is_answered(behind_tls: Site, tokens: dict[Role, str]) -> None:
    for host in ("evil.example", "127.0.0.1", "jobs.example.org:444", "jobs.example.org.evil.example"):
        other = behind_tls.browser(host=host)
        assert (other.get("/login").status, other.get("/api/v1/queues").code) == (421, "wrong-host"), host
        assert other.get("/healthz").status == 200
        bearer = {"Authorization": f"Bearer {tokens[Role.VIEWER]}"}
        assert other.get("/api/v1/queues", **bearer).status == 200, "a program inside of the network"
    assert behind_tls.browser(host="JOBS.example.org:443").get("/login").status == 200


@pytest.mark.parametrize("origin", ["http://jobs.example.org", "https://jobs.example.org:444", "https://evil.example"])
def test_behind_tls_a_write_comes_from_the_own_origin(behind_tls: Site, origin: str) -> None:
    browser = behind_tls.browser(host="jobs.example.org")
    answer = browser.post("/login", browser.csrf("/login"), {"Origin": origin}, name="admin", password=PASSWORD)
    assert answer.status == 403
    assert "__Host-jobfleet_session" not in browser.cookies


def test_an_origin_with_tls_needs_the_setting(make_fleet: Callable[..., Fleet], users: None) -> None:
    with served(make_fleet()) as site:
        browser = site.browser(host="jobs.example.org")
        answer = browser.post("/login", browser.csrf("/login"), {"Origin": "https://jobs.example.org"}, name="admin",
                              password=PASSWORD)  # fmt: skip
    assert answer.status == 403
    assert "set web_url = &#39;https://jobs.example.org&#39;" in answer.text


def test_a_path_of_the_address_is_in_the_names_of_cookies(make_fleet: Callable[..., Fleet], users: None) -> None:
    with served(make_fleet(web_url="https://example.org/ops/jobs")) as site:
        page = site.browser(host="example.org").get("/ops/jobs/login")
    assert cookies_of(page) == {"__Host-jobfleet_seat-ops-jobs": {"Secure", "HttpOnly", "Path=/", "SameSite=strict"}}
    assert 'action="/ops/jobs/login"' in page.text
    with pytest.raises(ConfigError, match="use the same path in both"):
        WebApp(make_fleet(web_url="https://example.org/a", web_root_path="/b"))


# ------------------------------------------------------------------------------------------ proxies


def test_a_trusted_proxy_logs_nobody_in_unless_asked(make_fleet: Callable[..., Fleet], users: None) -> None:
    with served(make_fleet(web_trusted_proxies="127.0.0.1")) as site:
        for header in ("X-Forwarded-User", "X-Remote-User", "Remote-User"):
            assert site.browser().send("GET", "/api/v1/queues", {header: "admin"}).status == 401
    with pytest.raises(ConfigError, match="without web_trusted_proxies"):
        WebApp(make_fleet(web_login_header="X-Forwarded-User"))


@pytest.mark.parametrize(("settings", "status"), [({}, 401), ({"web_proxy_header": "X-Forwarded-User"}, 200)])
def test_the_former_settings_say_which_are_new(
    make_fleet: Callable[..., Fleet], users: None, settings: dict[str, str], status: int
) -> None:
    with pytest.warns(UserWarning, match="web_trusted_proxies.*web_login_header"):
        site = Site(WebApp(make_fleet(web_proxies="127.0.0.1", **settings)))
    try:
        assert site.browser().get("/api/v1/queues", X_Forwarded_User="admin").status == status
    finally:
        site.close()


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("203.0.113.1, 192.0.2.9", "192.0.2.9"),
        ("192.0.2.9, 10.1.2.3", "192.0.2.9"),
        ("192.0.2.9:4711", "192.0.2.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("192.0.2.9, nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
    ],
)
def test_the_client_is_the_last_address_that_nobody_could_forge(
    make_fleet: Callable[..., Fleet],
    tokens: dict[Role, str],
    caplog: pytest.LogCaptureFixture,
    forwarded: str,
    client: str,
) -> None:
    bearer = {"Authorization": f"Bearer {tokens[Role.VIEWER]}", "X-Forwarded-For": forwarded}
    with served(make_fleet(web_trusted_proxies="127.0.0.1,10.0.0.0/8")) as site:
        assert site.browser().send("POST", "/api/v1/queues/default/pause", bearer).status == 403
    with served(make_fleet()) as site:
        assert site.browser().send("POST", "/api/v1/queues/default/pause", bearer).status == 403
    lines = [one.getMessage() for one in caplog.records if one.name == "jobfleet.web" and "pause" in one.getMessage()]
    assert [line.partition(" from ")[2].partition(": of-viewer")[0] for line in lines] == [client, "127.0.0.1"]


# ------------------------------------------------------------------------------------------ who may stay


def test_the_page_of_a_removed_user_ends_at_once(
    site: Site, users: None, access: AccessFile, tokens: dict[Role, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.endpoints.reading.BEAT", 600.0)
    browser = site.browser()
    browser.log_in("viewer", PASSWORD)
    ann, ci, out = site.browser(), site.browser(), site.browser()
    for one in (ann, out):
        one.log_in("operator", PASSWORD)
    with (
        browser.stream("/queues", Cookie=browser.cookie) as removed, ann.stream("/queues", Cookie=ann.cookie) as stays,
        out.stream("/queues", Cookie=out.cookie) as logged_out,
        ci.stream("/queues", Authorization=f"Bearer {tokens[Role.VIEWER]}") as revoked,
    ):  # fmt: skip
        for events in (removed, stays, logged_out, revoked):
            next(events)
        access.remove_user("viewer")
        assert list(removed) == []
        access.revoke_token("of-viewer")
        assert list(revoked) == []
        assert out.post("/logout", out.csrf("/queues")).status == 303
        assert list(logged_out) == []
        assert ann.post("/queues/default/pause", ann.csrf("/queues"), reason="still here").status == 303
        assert any("still here" in event["data"] for event in stays)


def test_a_user_has_a_share_of_the_live_pages(
    make_fleet: Callable[..., Fleet], tokens: dict[Role, str], keep: ExitStack
) -> None:
    with served(make_fleet(web_streams=8)) as site:
        greedy = {"Authorization": f"Bearer {tokens[Role.ADMIN]}"}
        for _ in range(2):
            keep.enter_context(site.browser().stream("/queues", **greedy))
        refused = site.browser().get("/live/queues", **greedy)
        assert (refused.status, refused.code) == (503, "too-many-streams")
        assert refused.json["error"]["message"].startswith("token of-admin has 2 live pages open")
        with site.browser().stream("/queues", Authorization=f"Bearer {tokens[Role.VIEWER]}") as events:
            next(events)
        keep.close()


@pytest.mark.parametrize(
    "path", ["/live/workers", "/api/v1/jobs/default.0.a/events", "/api/v1/jobs/default.0.a/stream"]
)
def test_a_page_of_another_site_takes_no_place_of_the_live_pages(make_fleet: Callable[..., Fleet], path: str) -> None:
    with served(make_fleet(web_open_access=True)) as site:
        for sender in ("cross-site", "same-site"):
            refused = site.browser().get(path, **{"Sec-Fetch-Site": sender})
            assert (refused.status, refused.code) == (403, "cross-site")


# ------------------------------------------------------------------------------------------ the printed address


def test_without_users_nobody_comes_in_without_the_printed_address(make_fleet: Callable[..., Fleet]) -> None:
    with served(make_fleet(web_open_access=False)) as site:
        stranger = site.browser()
        assert stranger.get("/").headers["Location"] == "/login?next=/"
        assert stranger.get("/api/v1/queues").status == 401
        assert stranger.send("GET", "/api/v1/queues", {"Host": "jobs.example.org"}).status == 401
        assert stranger.post("/queues/default/pause", stranger.csrf("/login")).status == 401
        assert stranger.get("/?token=none").status == 401
        assert stranger.get("/?token=").status == 401


def test_the_printed_address_lets_one_browser_in(make_fleet: Callable[..., Fleet], access: AccessFile) -> None:
    with served(make_fleet(web_open_access=False)) as site:
        identity = site.application.dashboard.identity  # type: ignore[union-attr]  # it is the dashboard
        printed: list[tuple[str, str]] = []
        identity.on_link = lambda address, token: printed.append((address, token))
        token = identity.new_link()
        program = {"Authorization": f"Bearer {token}"}
        assert site.browser().get("/api/v1/queues", **program).status == 200, "a program does not use it up"

        ann, eve = site.browser(), site.browser()
        opened = ann.get(f"/?token={token}")

        assert (opened.status, opened.headers["Location"], opened.headers["Cache-Control"]) == (303, "/", "no-store")
        assert "web · operator" in ann.get("/").text
        assert ann.get(f"/?token={token}").headers["Location"] == "/", "it has a session already"
        assert (eve.get(f"/?token={token}").status, eve.get("/api/v1/queues", **program).status) == (401, 401)
        (used,) = printed
        assert used[0] == "127.0.0.1"
        done = eve.post("/login", eve.csrf("/login"), token=used[1], next="/jobs")
        assert (done.status, done.headers["Location"], eve.get("/jobs").status) == (303, "/jobs", 200)

        assert ann.post("/logout", ann.csrf("/queues")).headers["Location"] == "/login"
        assert ann.get("/api/v1/queues").status == 401
        access.add_user("bob", Role.VIEWER, PASSWORD)
        assert eve.get("/api/v1/queues").status == 401, "now there is a user"
        assert site.browser().get(f"/?token={printed[-1][1]}").headers["Location"].startswith("/login")
