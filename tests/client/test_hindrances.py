"""A wait says what hinders its job: no worker serves its queue or knows its function, or its last run failed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jobfleet import Fleet, Job, StoreUnavailable, WaitTimeout
from jobfleet.codec import encode
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.presence import beat, know
from tests.client.conftest import Work
from tests.client.conftest import awaited as client
from tests.client.either import Either
from tests.support.users import UrlOf

__all__ = ["client"]  # a fixture

KIND = "0123456789abcdef"
GONE_US = 60_000_000
Lives = Callable[..., None]
UNKNOWN = "No worker has published 'app.news'"


@pytest.fixture
def lives(redis_url: str, url_of: UrlOf) -> Lives:
    """Let a worker live that knows other functions than this process."""

    def live(
        functions: Sequence[str] = ("app.add",),
        *,
        queues: Sequence[str] = ("default",),
        undecorated: Sequence[str] = (),
        worker: str = "box:1:aa",
        kind: str = KIND,
    ) -> None:
        account = encode(
            {"queues": queues, "kinds": [kind], "undecorated": undecorated, "state": "running", "slots": 9}
        )
        known = {"": " ".join(queues), **dict.fromkeys(functions, queues[0])}
        published = dict.fromkeys(functions, encode({"options": {}}))
        with Fleet(url_of("worker"), registry=Registry()) as fleet:
            keys = fleet.context.keys
            fleet.store.run(beat(keys, worker, account=account, gone_us=GONE_US, functions=published))
            fleet.store.run(know(keys, worker, kind, gone_us=GONE_US, functions=known))

    return live


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait looks for hindrances when it begins, and explains itself however short it is."""
    monkeypatch.setattr("jobfleet.client.base.WARN_AFTER", 0.0)
    monkeypatch.setattr("jobfleet.client.base.EXPLAIN_FROM", 0.0)


def news() -> None: ...


def nwes() -> None: ...


@pytest.mark.usefixtures("at_once")
async def test_a_wait_warns_of_a_function_that_no_live_worker_knows(
    client: Either, registry: Registry, lives: Lives
) -> None:
    lives()
    registry.register(news, name="app.news")
    job_id = await client("enqueue", Job("News", registry.functions["app.news"]))

    with (
        pytest.warns(
            UserWarning,
            match=rf"^{UNKNOWN}\. The job is parked until one does\. Start a worker with its module, or restart",
        ) as told,
        pytest.raises(WaitTimeout, match=rf"still open\. {UNKNOWN}\. .* 'jobfleet explain {job_id}' says more\.$"),
    ):
        await client("wait", job_id, timeout=0.2)
    assert [str(one.message).count("No worker has published") for one in told] == [1]


@pytest.mark.usefixtures("at_once")
async def test_a_wait_suggests_the_function_that_was_meant(client: Either, registry: Registry, lives: Lives) -> None:
    lives(["app.news"])
    registry.register(nwes, name="app.nwes")
    ids = [await client("enqueue", Job("News", registry.functions["app.nwes"])) for _ in range(3)]

    with (
        pytest.warns(UserWarning, match=r"'app\.nwes'; did you mean 'app\.news'\?") as told,
        pytest.raises(WaitTimeout),
    ):
        await client("gather", ids, timeout=0.2)
    assert len(told) == 1  # once per function, not per job


@pytest.mark.usefixtures("at_once")
async def test_a_wait_warns_of_a_function_that_only_workers_of_other_queues_know(client: Either, lives: Lives) -> None:
    lives(queues=["bulk"], worker="box:2:bb", kind="k2")
    lives(["app.news"])
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2), queue="default"))

    with (
        pytest.warns(
            UserWarning, match=rf"both knows 'app\.add' and serves the queue 'default': 'jobfleet move {job_id}"
        ),
        pytest.raises(WaitTimeout),
    ):
        await client("wait", job_id, timeout=0.2)


@pytest.mark.usefixtures("at_once")
async def test_a_wait_for_a_function_that_a_live_worker_knows_warns_of_nothing(client: Either, lives: Lives) -> None:
    lives()
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WaitTimeout, match=r"still open\. Next in line: a worker should claim it now\. 'jobfleet"):
            await client("wait", job_id, timeout=0.2)


@pytest.mark.usefixtures("at_once")
async def test_a_function_of_a_module_that_a_worker_runs_undecorated_is_not_unknown(
    client: Either, lives: Lives
) -> None:
    lives(undecorated=["my_module"])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        job_id = await client("enqueue", Job("Count", "my_module.count_words_at_url", ("http://a",)))
        with pytest.raises(WaitTimeout, match="Next in line"):
            await client("wait", job_id, timeout=0.2)
    with pytest.warns(UserWarning, match="No worker has published 'other.count_words_at_url'"):
        await client("enqueue", Job("Count", "other.count_words_at_url", ("http://a",)))


@pytest.mark.usefixtures("at_once")
async def test_the_timeout_names_the_last_error_of_the_job(client: Either, work: Work, registry: Registry) -> None:
    registry.functions["app.flaky"].given = {"retry_delay": 3600}
    job_id = await client("enqueue", Job("Flaky", "app.flaky", (9,)))
    await work()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the worker has ended
        with pytest.raises(WaitTimeout) as caught:
            await client("wait", job_id, timeout=0.2)

    assert re.fullmatch(
        rf"{re.escape(job_id)} did not end within 0\.2 s; it is still open\. Waiting for retry 1 of \d, due in .*; "
        rf"its last run: ConnectionError: attempt 1\. 'jobfleet explain {re.escape(job_id)}' says more\.",
        str(caught.value),
    )
    assert caught.value.why.startswith("Waiting for retry 1 of ")


async def test_a_short_wait_does_not_read_why(client: Either, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("jobfleet.operations.explain.explain.look", refuse)
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    with pytest.raises(WaitTimeout, match=r"still open\.$"):
        await client("wait", job_id, timeout=0.1)


@pytest.mark.usefixtures("at_once")
async def test_a_wait_that_cannot_be_explained_ends_in_time(client: Either, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_away(*_: Any) -> None:
        raise StoreUnavailable("No Redis.")

    monkeypatch.setattr("jobfleet.operations.explain.explain.look", is_away)
    monkeypatch.setattr("jobfleet.operations.explain.hindrances.hindrances", is_away)
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))

    with pytest.raises(WaitTimeout, match=r"still open\.$"):
        await client("wait", job_id, timeout=0.1)
