"""Requests that schemathesis makes of the document: each answer is one that the document describes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from jobfleet import Fleet, Job
from jobfleet.web.app import ACTIONS, API, PAGES
from jobfleet.web.openapi import Document
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.web.site import Site

EXAMPLES = 3
"""Requests per operation and kind: those that fit the document, and those that do not. The same in each run."""
DOCUMENT = Document(PAGES, ACTIONS).made("v1")
LEFT_OUT = "positive_data_acceptance"
"""A function must also be published, a cursor be one of a page, and so on; no schema can say so."""


@pytest.fixture
def world(fleet: Fleet, hand: Hand, site: Site, users: None, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Some jobs, users, and no limit of the rate."""
    monkeypatch.setattr("jobfleet.web.safety.guard.Rate.wait", lambda *_: 0.0)
    fleet.enqueue(Job("Run", "demo.add", (1, 2), id="run", tags=["eu"]))
    hand.reports(hand.claims("default.0.run"), 0.25, "a quarter")
    hand.buries("dead", queue="other")
    fleet.limits.set("default", group="ann", concurrency=2)
    return site


def failures(document: dict[str, Any], site: Site, token: str) -> dict[str, str]:
    """What is wrong with the answers, by operation."""
    refusals = ["400", "401", "403", "404", "409", "413", "415"]
    config = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": refusals}}})
    schema = schemathesis.openapi.from_dict(document, config=config)
    found: dict[str, str] = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _run(operation.as_strategy(generation_mode=mode), site, token)
            except (Exception, FailureGroup) as error:
                found[f"{operation.label} {mode.value}"] = str(error)
    return found


def _run(strategy: Any, site: Site, token: str) -> None:
    load_all_checks()
    left_out: list[Any] = [one for one in schemathesis.checks.CHECKS.get_all() if one.__name__ == LEFT_OUT]
    assert left_out

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def check(case: Case[Any]) -> None:
        case.call_and_validate(
            base_url=f"http://127.0.0.1:{site.port}{API}", headers={"Authorization": f"Bearer {token}"}, timeout=20,
            excluded_checks=left_out,
        )  # fmt: skip

    check()


def test_the_answers_are_those_of_the_document(world: Site, tokens: dict[Role, str]) -> None:
    found = failures(DOCUMENT, world, tokens[Role.ADMIN])
    assert not found, "\n".join(f"{name}: {text}" for name, text in found.items())


def test_a_wrong_document_is_found(world: Site, tokens: dict[Role, str]) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    wrong["paths"] = {path: wrong["paths"][path] for path in ("/queues", "/workers/{id}/stop", "/limits")}
    answer = wrong["paths"]["/queues"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer["properties"]["queues"]["items"] = {"type": "integer"}
    del wrong["paths"]["/workers/{id}/stop"]["post"]["responses"]["default"]

    found = failures(wrong, world, tokens[Role.ADMIN])

    assert "GET /queues positive" in found
    assert "POST /workers/{id}/stop positive" in found
    assert "404" in found["POST /workers/{id}/stop positive"]
    assert "GET /limits positive" not in found
