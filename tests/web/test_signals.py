"""Signals over HTTP: by a program with a role, and by anybody with a token that the job has made."""

from __future__ import annotations

import json

import pytest

from jobfleet import Fleet, Job, JobContext
from jobfleet.web.safety.access import Role
from tests.web.conftest import PASSWORD
from tests.web.site import Answer, Site

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture
def job_id(fleet: Fleet) -> str:
    return fleet.enqueue(Job("wait", "shop.wait", id="w"))


def kept(site: Site, token: str) -> list[tuple[str, object]]:
    entries = site.browser().send("GET", "/api/v1/audit", {"Authorization": f"Bearer {token}"}).json["entries"]
    return [(entry["by"], entry["after"]) for entry in entries if entry["action"] == "job.signal"]


def test_a_program_with_a_role_signals_a_job(site: Site, tokens: dict[Role, str], job_id: str) -> None:
    browser, path = site.browser(), f"/jobs/{job_id}/signals"

    assert [browser.call(path, tokens[role], name="go").status for role in (Role.VIEWER, Role.PRODUCER)] == [403, 403]
    assert browser.call("/jobs", tokens[Role.APPROVER], function="shop.wait").status == 403
    sent = browser.call(path, tokens[Role.APPROVER], name="go", value=[1, "yes"])
    again = browser.call(path, tokens[Role.APPROVER], name="go", value=2)
    bodies: list[dict[str, object]] = [{"value": 1}, {"name": ""}, {"name": 1}, {"name": "go", "valu": 1}]
    wrong = [browser.call(path, tokens[Role.APPROVER], **body) for body in bodies]

    assert (sent.json, again.json) == ({"id": job_id, "signalled": True}, {"id": job_id, "signalled": False})
    assert [answer.status for answer in wrong] == [400] * 4
    assert browser.call("/jobs/default.0.zzz/signals", tokens[Role.APPROVER], name="go").status == 404
    assert kept(site, tokens[Role.ADMIN])[-1] == ("of-approver", {"signal": "go"})


def test_a_token_of_a_job_is_all_that_is_needed(
    site: Site, fleet: Fleet, tokens: dict[Role, str], job_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    secrets: list[str] = []

    async def wait(ctx: JobContext) -> object:
        secrets.append(ctx.token("approved"))
        await ctx.step("mail", len, secrets)
        return await ctx.wait_for("approved")

    fleet.context.registry.register(wait, name="shop.wait", fleet=fleet)
    fleet.run_worker(burst=True)
    (token,) = secrets

    def inlet(token: str, body: object = None) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        return site.browser().send("POST", f"/api/v1/signals/{token}", {"Content-Type": "application/json"}, data)

    wrong, used, again = inlet("x" * 40), inlet(token, {"by": "ann", "signal_token": "t"}), inlet(token)
    fleet.run_worker(burst=True)

    assert (wrong.status, wrong.json["error"]["code"]) == (404, "job-not-found")
    assert (used.status, used.json, again.json) == (200, {"signalled": True}, {"signalled": True})
    assert fleet.poll(job_id).result == {"by": "ann", "signal_token": "t"}, "no name is taken from the body"
    assert site.browser().send("GET", f"/api/v1/signals/{token}", {}).status == 405
    assert ("token", {"signal": "approved"}) in kept(site, tokens[Role.ADMIN])
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("jobfleet")]
    assert any("/api/v1/signals/" in line for line in logged)
    assert not any(token in line for line in logged), "the server of the command logs no accesses of its own"


@pytest.mark.parametrize(
    ("typed", "value"), [("", None), (" true ", True), ('{"by": "ann"}', {"by": "ann"}), ("yes, please", "yes, please")]
)
def test_the_form_of_the_approvals_sends_what_was_typed(
    site: Site, fleet: Fleet, users: None, job_id: str, typed: str, value: object
) -> None:
    async def wait(ctx: JobContext) -> object:
        return await ctx.wait_for("approved")

    fleet.context.registry.register(wait, name="shop.wait", fleet=fleet)
    fleet.run_worker(burst=True)
    browser, viewer = site.browser(), site.browser()
    browser.log_in("approver", PASSWORD)
    viewer.log_in("viewer", PASSWORD)
    form = f'name="id" value="{job_id}"'

    assert form in browser.get("/approvals").text
    assert form not in viewer.get("/approvals").text
    assert viewer.post("/approvals/send", "no", id=job_id, name="approved", value=typed).status == 403
    refused = browser.post("/approvals/send", browser.csrf("/approvals"), id=job_id, name="approved", value='{"by": ')
    assert (refused.status, "value is not JSON" in refused.text) == (400, True)
    assert (
        browser.post("/approvals/send", browser.csrf("/approvals"), id=job_id, name="approved", value=typed).status
        == 303
    )
    fleet.run_worker(burst=True)
    assert (fleet.poll(job_id).status, fleet.poll(job_id).result) == ("completed", value)


def test_a_wait_for_a_token_has_no_form(site: Site, fleet: Fleet, job_id: str) -> None:
    async def wait(ctx: JobContext) -> object:
        ctx.token("approved")
        return await ctx.wait_for("approved", only_token=True)

    fleet.context.registry.register(wait, name="shop.wait", fleet=fleet)
    fleet.run_worker(burst=True)

    page = site.browser().get("/approvals").text
    (row,) = site.browser().get("/api/v1/approvals").json["jobs"]
    assert "Only a token that the job has made ends this wait." in page
    assert '<input name="value"' not in page
    assert (row["state"], row["status"], row["wait"]["signal"], row["wait"]["only_token"]) == (
        "awaiting", "scheduled", "approved", True
    )  # fmt: skip
    assert [one["id"] for one in site.browser().get("/api/v1/jobs?status=awaiting").json["jobs"]] == [job_id]
    assert site.browser().get("/api/v1/jobs?status=sleeping&order=urgency").json["jobs"] == []
