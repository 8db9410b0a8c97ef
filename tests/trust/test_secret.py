"""A `Secret` reaches its job, and is shown nowhere on its way."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from click.testing import CliRunner

from jobfleet import InvalidJob, Job, JobContext, Secret
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.cli.main import main
from jobfleet.codec import Limits, decode, encode, seal_record
from jobfleet.errors import EncodingError
from jobfleet.functions.registry import Registry
from jobfleet.logs import JsonFormatter
from jobfleet.secret import Redaction
from tests.trust.conftest import FleetWith

TEXT = "hunter2"


@pytest.mark.parametrize("value", ["", TEXT, 5, None, [1, {"a": b"x"}], (1, 2), Secret(TEXT)], ids=repr)
def test_it_travels_as_data(value: object) -> None:
    sent = Secret(value)
    found = decode(encode({"key": [sent]}))
    assert found == {"key": [sent]}
    assert type(found["key"][0]) is Secret
    assert found["key"][0].reveal() == value


def test_it_is_never_shown() -> None:
    secret = Secret(TEXT)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        repr([secret]),
        repr(Job("x", "app.x", (secret,))),
    ]
    assert all(TEXT not in text for text in shown)
    assert (secret == Secret(TEXT), secret == TEXT, len({secret, Secret(TEXT)})) == (True, False, 1)
    assert copy.deepcopy(secret) == pickle.loads(pickle.dumps(secret)) == secret


def test_what_cannot_travel_in_it_is_refused() -> None:
    for value in (object(), [object()], Secret(object())):
        with pytest.raises(EncodingError, match="object"):
            encode([Secret(value)])
    deep: Any = []
    for _ in range(40):
        deep = Secret([deep])
    with pytest.raises(EncodingError, match="too deep"):
        encode(deep)


def test_it_makes_no_unique_key(fleet_with: FleetWith) -> None:
    with pytest.raises(InvalidJob, match="Secret"):
        fleet_with().enqueue(Job("x", "app.add", (Secret(1), 2), unique="{x}-{y}"))


@pytest.fixture
def got() -> list[Any]:
    return []


@pytest.fixture
def registry(got: list[Any]) -> Registry:
    def plain(user: str, password: Secret[str], *, pin: Secret[int] | None = None) -> None:
        got.append((user, password, pin))

    def with_context(ctx: JobContext, user: str, password: Annotated[Secret[str], "note"]) -> None:
        got.append((user, password, ctx.job.args))

    registry = Registry()
    registry.register(plain, name="app.plain")
    registry.register(with_context, name="app.context")
    registry.register(lambda x, y: x + y, name="app.add")
    return registry


def test_an_annotated_argument_is_wrapped(fleet_with: FleetWith, registry: Registry, got: list[Any]) -> None:
    fleet = fleet_with()
    plain: Callable[..., Job[Any]] = registry.functions["app.plain"].job
    job = plain("ann", TEXT, pin=5)
    assert TEXT not in repr(job)
    fleet.enqueue(job)
    fleet.enqueue(Job("x", "app.plain", ("bob",), {"password": TEXT}))
    fleet.enqueue(Job("x", "app.context", ("cid", TEXT)))
    fleet.run_worker(burst=True)
    assert got == [
        ("ann", Secret(TEXT), Secret(5)), ("bob", Secret(TEXT), None), ("cid", Secret(TEXT), ("cid", Secret(TEXT))),
    ]  # fmt: skip


def cli(url: str, *args: str) -> str:
    answer = CliRunner().invoke(main, [*args, "--url", url], prog_name="jobfleet")
    assert answer.exit_code == 0, answer.stderr
    return answer.output


def test_commands_show_neither_secrets_nor_hidden_keys(fleet_with: FleetWith, redis_url: str) -> None:
    kwargs = {"password": TEXT, "inner": {"apiKey": TEXT, "count": 7}, "user": "ann"}
    with pytest.warns(UserWarning, match="published"):
        job = fleet_with().enqueue(
            Job("x", "app.x", (Secret(TEXT), [Secret(TEXT)]), kwargs, metadata={"auth-token": TEXT})
        )
    for args in (("status", job), ("status", job, "-o", "json"), ("jobs",), ("jobs", "-o", "json"), ("explain", job)):
        shown = cli(redis_url, *args)
        assert TEXT not in shown, args
    details = json.loads(cli(redis_url, "status", job, "-o", "json"))[0]
    assert details["kwargs"] == {"password": "***", "inner": {"apiKey": "***", "count": 7}, "user": "ann"}
    assert details["args"] == ["***", ["***"]]
    assert '"hunter2"' in cli(redis_url, "status", job, "-o", "json", "--redact", "")


@pytest.mark.parametrize(
    ("key", "is_hidden"),
    [("password", True), ("Password", True), ("db_password", True), ("apiKey", True), ("X-Api-Key", True),
     ("access_token", True), ("tokens", False), ("token_count", False), ("keyboard", False), (5, False)],
)  # fmt: skip
def test_keys_are_hidden_by_their_last_words(key: object, is_hidden: bool) -> None:
    assert Redaction().hides(key) is is_hidden
    assert not Redaction(()).hides(key)


def test_logs_hide_what_callers_add() -> None:
    record = logging.makeLogRecord(
        {"name": "app", "msg": "hello", "password": TEXT, "data": {"token": TEXT}, "who": Secret(TEXT)}
    )
    assert TEXT not in JsonFormatter().format(record)
    assert "hello" in JsonFormatter().format(record)


def test_the_columns_of_the_archive_hide_them(tmp_path: Any) -> None:
    from jobfleet.archive.writer import Writer
    from jobfleet.store.journal import Event

    url = f"sqlite:///{tmp_path / 'archive.db'}"
    init_job_tables(url)
    record = seal_record({"function": "app.x", "value": {"token": TEXT, "n": 1}, "metadata": {"password": TEXT}})
    with JobRepository(url) as repository:
        event = Event(1, "completed", "default.0.a", 5, 1_700_000_000_000_000, ("5",), record=record)
        Writer(repository.engine, "jobfleet", Limits()).write([event])
        with repository.engine.connect() as connection:
            rows = connection.exec_driver_sql("select result from jobfleet_results").all()
            jobs = connection.exec_driver_sql("select metadata from jobfleet_jobs").all()
        assert TEXT not in repr((rows, jobs))
        kept = repository.get("default.0.a")
        assert kept is not None
        assert kept.result == {"token": TEXT, "n": 1}
