"""Flask: the application's context around jobs, its settings, and its command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pydantic
import pytest
from flask import Flask, abort, request

from jobfleet import Fleet, Job, JobNotFound
from jobfleet.contrib.flask import Jobfleet
from jobfleet.contrib.program import arguments_of, environment_of
from jobfleet.errors import ConfigError
from jobfleet.fleet.default import default_fleet, set_default_fleet
from jobfleet.functions.registry import Registry
from tests.cli.hand import Hand
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
Command = Callable[..., list[str]]


@pytest.fixture
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of the application's programs; this process may make the application too."""
    monkeypatch.setenv("SHOP_REDIS", redis_url)
    before = set_default_fleet(None)
    yield {**os.environ, "JOBFLEET_PROCESSES": "1", "JOBFLEET_SLOTS": "1", "PYTHONPATH": str(ROOT)}
    made = set_default_fleet(before)
    if made is not None:
        made.close()


def flask_words(*words: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "tests.contrib.flask_shop:create_app", "jobfleet", *words]


def test_jobs_have_a_context_of_their_own_in_the_worker_that_flask_starts(environment: dict[str, str]) -> None:
    from tests.contrib import flask_shop

    app = flask_shop.create_app()
    client = app.test_client()
    worker = subprocess.Popen(flask_words("worker"), cwd=ROOT, env=environment)
    try:
        fleet = default_fleet()
        wait_until(
            lambda: worker.poll() is not None or any(one.queues for one in fleet.workers()), timeout=60,
            why="the worker is ready",
        )  # fmt: skip
        ids = [client.post(f"/orders/{number}").get_json()["id"] for number in (1, 2)]
        results = [fleet.wait(job_id, timeout=60).result for job_id in ids]
        awaited = flask_shop.ship_awaited.enqueue(3).result(timeout=60)
        listed = subprocess.run(
            flask_words("workers", "ls", "-o", "json"), cwd=ROOT, env=environment, capture_output=True, text=True,
            check=True, timeout=60,
        )  # fmt: skip
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(30)
    finally:
        worker.kill()
        worker.wait(30)

    assert results == [
        {"city": "Berlin", "before": None, "popped": 0, "number": 1},
        {"city": "Berlin", "before": None, "popped": 1, "number": 2},
    ]
    assert (awaited, code) == ("3 from Berlin", 0)
    assert [sorted(one["queues"]) for one in json.loads(listed.stdout)] == [["default", "orders"]]
    assert client.get(f"/jobs/{ids[0]}").get_json() == {"status": "completed"}
    assert fleet.config.namespace == "shop"


class Account(pydantic.BaseModel):
    user: str
    password: str


def test_the_state_of_a_job_is_redacted_json_for_its_user(fleet: Fleet, hand: Hand) -> None:
    def give() -> Account: ...  # type: ignore[empty-body]  # a hand plays the worker

    fleet.context.registry.register(give, name="demo.add", fleet=fleet)
    job_id = fleet.enqueue(Job("x", "demo.add", user="ann"))
    hand.completes(hand.claims(job_id), {"user": "ann", "password": "hunter2"}, user="ann", function="demo.add")
    app = Flask("shop")
    jobfleet = Jobfleet(app, fleet)

    @app.get("/jobs/<job_id>")
    def state(job_id: str) -> dict[str, object]:
        user = request.args["user"]
        try:
            return jobfleet.state(job_id, allow=lambda job: job.user == user and isinstance(job.result, Account))
        except JobNotFound:
            abort(404)

    client = app.test_client()
    shown = client.get(f"/jobs/{job_id}?user=ann").get_json()

    assert (shown["status"], shown["result"]) == ("completed", {"user": "ann", "password": "***"})
    assert [client.get(f"/jobs/{one}").status_code for one in (f"{job_id}?user=bob", "default.0.b?user=ann")] == [
        404
    ] * 2


def test_the_last_application_has_the_context_of_jobs(environment: dict[str, str], redis_url: str) -> None:
    registry = Registry()
    with Fleet(redis_url, registry=registry) as fleet:
        first, second = Flask("first"), Flask("second")
        for app in (first, second):
            Jobfleet(app, fleet)

        @fleet.job(name="which")
        def which() -> str:
            from flask import current_app

            return current_app.name

        handle = which.enqueue()
        fleet.run_worker(burst=True)

        assert handle.result(timeout=10) == "second"
        with first.app_context():
            assert Jobfleet().fleet is fleet


def test_an_application_without_the_extension_gets_an_error_with_the_remedy() -> None:
    with Flask("shop").app_context(), pytest.raises(ConfigError, match=r"call init_app\(app\)"):
        _ = Jobfleet().fleet


def test_a_wrong_setting_is_refused_when_the_extension_is_added(environment: dict[str, str]) -> None:
    app = Flask("shop")
    app.config["JOBFLEET_PATIENCE"] = "soon"

    with pytest.raises(ConfigError, match="patience"):
        Jobfleet(app)


def test_a_request_waits_2_s_for_redis_unless_the_config_says_otherwise(environment: dict[str, str]) -> None:
    patiences = []
    for given in ({}, {"JOBFLEET_PATIENCE": 7}):
        app = Flask("shop")
        app.config.update(given)
        with app.app_context():
            patiences.append(Jobfleet(app).fleet.config.patience)

    assert patiences == [2.0, 7.0]


def test_commands_that_load_modules_load_that_of_the_framework() -> None:
    assert arguments_of(["worker", "-Q", "mail"], "frame.worker") == ["worker", "frame.worker", "-Q", "mail"]
    assert arguments_of(["up", "shop"], "frame.worker") == ["up", "frame.worker", "shop"]
    assert arguments_of(["worker", "--help"], "frame.worker") == ["worker", "--help"]
    assert arguments_of(["queues", "ls"], "frame.worker") == ["queues", "ls"]
    assert arguments_of([], "frame.worker") == []


def test_settings_become_variables_or_are_refused() -> None:
    found = environment_of({"url": "redis://a", "buffer": 5, "with_reaper": True, "config": Path("/a")})

    wanted = {
        "JOBFLEET_URL": "redis://a",
        "JOBFLEET_BUFFER": "5",
        "JOBFLEET_WITH_REAPER": "true",
        "JOBFLEET_CONFIG": "/a",
    }
    assert {name: found[name] for name in wanted} == wanted
    with pytest.raises(ConfigError, match="lanes"):
        environment_of({"lanes": {"mail": 2}})
