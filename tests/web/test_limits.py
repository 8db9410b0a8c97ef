"""The page of limits: set them, clear them, and what is refused."""

from __future__ import annotations

from jobfleet import Fleet
from jobfleet.web.safety.access import Role
from tests.support.each import each
from tests.web.site import Browser


def limits(fleet: Fleet) -> list[tuple[str | None, float | None, str | None, float | None]]:
    return [(one.group, one.concurrency, one.rate, one.weight) for one in fleet.limits()]


def test_a_form_sets_and_clears_them(browser: Browser, fleet: Fleet) -> None:
    answer = browser.post("/limits/set", browser.csrf("/limits"), queue="default", group="", concurrency="3", rate="")
    assert (answer.status, limits(fleet)) == (303, [(None, 3, None, None)])
    assert "count from the next claim on" in browser.get(answer.headers["Location"]).text

    browser.post("/limits/clear", browser.csrf("/limits"), queue="default", group="")
    assert limits(fleet) == []


@each(
    "fields, message",
    [
        ({"queue": "default"}, "Nothing to set; give concurrency, rate, burst, weight or aging."),
        ({"concurrency": "5"}, "queue is missing: The queue; it is created if it does not exist."),
        ({"queue": "default", "concurrency": "many"}, "concurrency is 'many'; give a whole number, or none."),
        ({"queue": "default", "concurrency": "nan"}, "concurrency"),
        ({"queue": "default", "weight": "1000"}, "weight"),
        ({"queue": "default", "rate": "often"}, "rate"),
        ({"queue": "a b", "concurrency": "5"}, "queue"),
    ],
)
def test_what_is_not_a_limit_is_refused(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str], fields: dict[str, str], message: str
) -> None:
    before = limits(fleet)

    answer = browser.call("/limits/set", tokens[Role.OPERATOR], **fields)

    assert answer.status == 400
    assert message in answer.json["error"]["message"]
    assert limits(fleet) == before


def test_named_limits_and_breakers_are_shown_and_shut(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    fleet.limits.named("github", rate="100/1m", concurrency=5)
    shut = browser.call("/gates/shut", tokens[Role.OPERATOR], kind="limit", name="github", seconds=60, reason="down")
    browser.call("/gates/shut", tokens[Role.OPERATOR], kind="breaker", name="function:f")

    assert (shut.status, shut.json) == (200, {"name": "github", "changed": True})
    refused = browser.call("/gates/shut", tokens[Role.OPERATOR], kind="limit", name="")
    assert (refused.status, refused.json["error"]["field"]) == (400, "name")
    page = browser.get("/limits").text
    assert "closed by of-operator: down" in page
    assert "function:f" in page
    assert fleet.breakers()[0].by == "of-operator"

    for kind, name in (("limit", "github"), ("breaker", "function:f")):
        assert browser.call("/gates/unshut", tokens[Role.OPERATOR], kind=kind, name=name).json["changed"] is True
    assert (fleet.limits.all_named()[0].closed_for, fleet.breakers()[0].state) == (0, "closed")
