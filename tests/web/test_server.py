"""`jobfleet web`: where it listens, and its end."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from jobfleet import Fleet
from jobfleet.errors import ConfigError
from jobfleet.web.safety.access import AccessFile, Role
from jobfleet.web.safety.entrance import is_loopback
from jobfleet.web.server import bound, check_host, login_line
from tests.support.each import each
from tests.support.fleet import Programs
from tests.web.site import Browser


@each("host", ["0.0.0.0", "::", "192.0.2.1", "jobs.example.org"])
def test_another_address_needs_somebody_to_log_in(
    make_fleet: Callable[..., Fleet], access: AccessFile, host: str
) -> None:
    with pytest.raises(ConfigError, match="and there is no user"):
        check_host(make_fleet(web_host=host))
    check_host(make_fleet(web_host=host, web_trusted_proxies="192.0.2.7"))
    access.create_token("ci", Role.VIEWER)
    check_host(make_fleet(web_host=host))
    access.path.unlink()


@each("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_this_machine_needs_nobody(make_fleet: Callable[..., Fleet], host: str) -> None:
    check_host(make_fleet(web_host=host))


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "127.0.0.1", "::1"])
def test_spellings_of_this_machine(address: str) -> None:
    assert is_loopback(address)
    assert not is_loopback("::ffff:192.0.2.1")
    assert not is_loopback("127.0.0.1.evil.example")
    assert not is_loopback("")


def test_an_address_in_use_is_one_line() -> None:
    with bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"Cannot listen on 127.0.0.1:{port}: .*; set --host or --port .*JOBFLEET_WEB_PORT"
        ):
            bound("127.0.0.1", port)


def test_the_start_line_says_who_may_use_it(make_fleet: Callable[..., Fleet], access: AccessFile) -> None:
    config = make_fleet(web_open_access=False).config
    remedy = f"as operator, because {access.path} has no user. Add one: jobfleet web user add NAME."
    assert login_line(config) == f"The token in this address lets one browser in {remedy}"
    access.create_token("ci", Role.VIEWER)
    assert login_line(make_fleet().config) == f"No login: web_open_access lets everybody on this machine in {remedy}"
    access.add_user("ann", Role.VIEWER, None)
    assert login_line(config) == f"Users and tokens: {access.path}."


@pytest.fixture
def url_in(programs: Programs) -> Callable[..., str]:
    def url_in(*arguments: str, **settings: object) -> str:
        program = programs.start("web", "--port", "0", *arguments, **settings)
        program.await_line("The dashboard is at ")
        found = re.search(r"The dashboard is at (\S+)", program.log.read_text())
        assert found is not None
        return found[1]

    return url_in


def test_the_command_serves_and_ends(programs: Programs, url_in: Callable[..., str], tmp_path: Path) -> None:
    url = url_in("--root-path", "/ops", "--access", str(tmp_path / "none.json"))
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/ops/\?token=[A-Za-z0-9_-]{32})", url)
    assert found is not None
    browser = Browser(int(found[1]))
    assert browser.get("/ops/healthz").json["status"] == "ok"
    assert browser.get("/ops/queues").status == 303, "without the printed address"
    assert browser.get(found[2]).headers["Location"] == "/ops/"
    program = programs._started[-1]
    program.await_line("A browser at 127.0.0.1 is logged in. For another one: http://127.0.0.1:")
    again = re.search(r"For another one: http://\S+(/ops/\?token=\S+)", program.log.read_text())
    assert again is not None
    assert [Browser(browser.port).get(path).status for path in (again[1], found[2])] == [303, 401]
    with browser.stream("/queues", Cookie=browser.cookie) as events:
        next(events)
        program.send(signal.SIGTERM)
        assert list(events) == []
        assert program.exit_code() == 0
    assert "Traceback" not in program.log.read_text()
    assert f"{tmp_path / 'none.json'} has no user. Add one: " in program.log.read_text()


def test_the_command_refuses_another_address(programs: Programs, tmp_path: Path) -> None:
    program = programs.start("web", "--host", "0.0.0.0", web_access=tmp_path / "none.json")
    assert program.exit_code() == 2
    assert program.log.read_text().startswith("Other machines reach 0.0.0.0, and there is no user: ")
