"""Times are in UTC on every page, and a filter takes an offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from jobfleet import Fleet, Job
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.site import Browser

pytestmark = pytest.mark.usefixtures("in_berlin")


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="one"))
    hand.buries("dead", queue="sunk")


def forms(moment: datetime) -> list[str]:
    """A time in UTC, without and with an offset, and in other zones."""
    kolkata = (moment + timedelta(hours=5, minutes=30)).replace(tzinfo=None)
    return [
        f"{moment.replace(tzinfo=None).isoformat()}",
        f"{moment.replace(tzinfo=None).isoformat()}Z",
        f"{kolkata.isoformat()}+05:30",
        f"{kolkata.isoformat(' ')}+05:30",
    ]


@pytest.mark.parametrize("path", ["/jobs?user=&queue=default&", "/dead/letters?"])
def test_a_time_is_in_utc_unless_it_has_an_offset(browser: Browser, path: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    rows = "jobs" if path.startswith("/jobs") else "letters"
    for text in forms(now - timedelta(minutes=5)):
        assert browser.get(f"/api/v1{path}since={quote(text)}").json[rows], text
        assert not browser.get(f"/api/v1{path}until={quote(text)}").json[rows], text
    for text in forms(now + timedelta(minutes=5)):
        assert not browser.get(f"/api/v1{path}since={quote(text)}").json[rows], text
        assert browser.get(f"/api/v1{path}until={quote(text)}").json[rows], text


@pytest.mark.parametrize("path", ["/jobs", "/dead", "/dead/letters"])
def test_a_form_says_its_zone_and_keeps_an_offset(browser: Browser, path: str) -> None:
    page = browser.get(f"{path}?since={quote('2020-01-01T00:00+01:00')}").text

    assert "From (UTC)" in page
    assert "Until (UTC)" in page
    assert 'name="since" value="2020-01-01T00:00+01:00"' in page


@each("text", ["soon", "2026-13-01", "2026-01-01T00:00+99:00", "0001-01-01T00:00+14:00"])
def test_another_text_is_refused_with_the_forms_that_there_are(browser: Browser, text: str) -> None:
    answer = browser.get(f"/api/v1/jobs?since={quote(text)}")

    assert (answer.code, answer.json["error"]["field"]) == ("invalid-request", "since")
    assert "; use '24h' for 24 hours ago, or an ISO time such as" in answer.json["error"]["message"]


def test_exact_times_are_in_utc(browser: Browser) -> None:
    found = re.findall(r'<time datetime="([^"]+)" title="([^"]+)">', browser.get("/jobs/default.0.one").text)

    assert found
    for moment, exact in found:
        assert exact == f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
