"""Asking the archive, and letting go of what is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from jobfleet import JobResult, JobStatus
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.archive.writer import Writer
from jobfleet.codec import Limits, seal, seal_record
from jobfleet.errors import ConfigError, InvalidJob, StoreUnavailable
from jobfleet.store.journal import Event

DAY_US = 86_400_000_000
NOW = datetime.now(UTC)


def us(age_days: float) -> int:
    return round((NOW - timedelta(days=age_days)).timestamp() * 1e6)


class Filling:
    """Puts jobs into the archive as the journal would tell of them."""

    def __init__(self, repository: JobRepository) -> None:
        self._writer = Writer(repository.engine, "jobfleet", Limits())
        self._seq = 0

    def put(self, name: str, *, age: float = 1, ends: str = "completed", queue: str = "mail", **header: Any) -> str:
        job_id, at = f"{queue}.0.{name}", us(age)
        envelope = seal({"function": "mail.send", "enqueued_at": at, **header}, [])
        self._tell("enqueued", job_id, 0, at, ("2", str(at)), envelope)
        if ends in {"completed", "failed"}:
            error = {"error": "no", "error_type": "permanent", "error_class": "ValueError"} if ends == "failed" else {}
            record = seal_record({"function": "mail.send", "value": name, "started_at": at, **error})
            words = ("error", "500000", "2") if ends == "failed" else ("500000",)
            self._tell(ends, job_id, 7, at, words, envelope, record)
        elif ends == "cancelled":
            self._tell("cancelled", job_id, 0, at, ("0", "-", "ann"), envelope)
        return job_id

    def _tell(
        self,
        event: str,
        job_id: str,
        token: int,
        at: int,
        words: tuple[str, ...],
        envelope: bytes,
        record: bytes = b"",
    ) -> None:
        self._seq += 1
        self._writer.write([Event(self._seq, event, job_id, token, at, words, envelope, record)])


@pytest.fixture
def filling(repository: JobRepository) -> Filling:
    return Filling(repository)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, "gfedcba"),
        ({"status": JobStatus.FAILED}, "c"),
        ({"status": [JobStatus.FAILED, JobStatus.CANCELLED]}, "dc"),
        ({"user": "ann"}, "ba"),
        ({"user": "ann", "session": "s2"}, "b"),
        ({"tag": "eu"}, "ca"),
        ({"tag": "eu", "status": JobStatus.COMPLETED}, "a"),
        ({"function": "mail.count"}, "e"),
        ({"queue": "bulk"}, "f"),
        ({"text": ".0.D"}, "d"),
        ({"text": "%"}, ""),
        ({"text": "_", "user": "ann"}, ""),
        ({"since": NOW - timedelta(days=4.5)}, "gfed"),
        ({"until": NOW - timedelta(days=4.5)}, "cba"),
        ({"limit": 2, "offset": 1}, "fe"),
        ({"user": "nobody"}, ""),
    ],
)
def test_jobs_are_found_by_what_they_have(
    repository: JobRepository, filling: Filling, asked: dict[str, Any], names: str
) -> None:
    filling.put("a", age=7, user="ann", session="s1", tags=["eu", "vip"])
    filling.put("b", age=6, user="ann", session="s2")
    filling.put("c", age=5, ends="failed", tags=["eu"])
    filling.put("d", age=4, ends="cancelled", user="bob")
    filling.put("e", age=3, function="mail.count")
    filling.put("f", age=2, queue="bulk")
    filling.put("g", age=1, ends="")

    found = repository.search(**asked)

    assert "".join(job.id.rpartition(".")[2] for job in found) == names
    assert all(job.result == job.id[-1] for job in found if job.status is JobStatus.COMPLETED)


def test_pending_jobs_come_as_they_were_enqueued(repository: JobRepository, filling: Filling) -> None:
    late, early = filling.put("a", age=1, ends=""), filling.put("b", age=2, ends="")
    other = filling.put("c", age=3, ends="", queue="bulk")
    filling.put("d")

    assert [job.id for job in repository.get_pending_jobs()] == [other, early, late]
    assert [job.id for job in repository.get_pending_jobs(1, queue="mail")] == [early]


def test_statistics_count_by_status_queue_function_and_user(repository: JobRepository, filling: Filling) -> None:
    for name in "abc":
        filling.put(name, user="ann")
    filling.put("d", ends="failed", function="mail.count")
    filling.put("e", ends="", queue="bulk", age=9)

    told = repository.statistics()

    assert {name: count for name, count in told.items() if count} == {
        "total": 5, "completed": 3, "failed": 1, "queued": 1, "by_queue": {"mail": 4, "bulk": 1},
        "by_function": {"mail.send": 4, "mail.count": 1}, "by_user": {"ann": 3}, "average_duration": 0.5,
        "success_rate": 0.75,
    }  # fmt: skip
    assert repository.statistics(NOW - timedelta(days=5))["total"] == 4
    assert repository.statistics(NOW)["success_rate"] is None


def test_what_is_old_goes_with_all_that_hangs_on_it_and_open_jobs_stay(
    repository: JobRepository, filling: Filling
) -> None:
    old, failed = filling.put("a", age=40, tags=["eu"]), filling.put("b", age=40, ends="failed")
    open_, young = filling.put("c", age=40, ends=""), filling.put("d", age=1, tags=["eu"])

    assert repository.prune(timedelta(days=30), status={JobStatus.COMPLETED}) == 1

    assert repository.get(old) is None
    assert repository.attempts(old) == []
    assert {job.id for job in repository.search()} == {young, failed, open_}
    assert repository.prune(30 * 86_400) == 1
    assert {job.id for job in repository.search()} == {young, open_}
    assert [job.id for job in repository.search(tag="eu")] == [young]
    assert repository.prune(0, status={JobStatus.QUEUED}) == 0


def test_a_thousand_old_jobs_and_more_go_too(repository: JobRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.archive.repository.CHUNK", 3)
    filling = Filling(repository)
    for number in range(8):
        filling.put(str(number), age=40)

    assert repository.prune(timedelta(days=30)) == 8
    assert repository.search() == []


def test_what_is_saved_by_hand_is_kept_until_the_journal_tells_of_it(
    repository: JobRepository, filling: Filling
) -> None:
    job = JobResult[Any](
        id="mail.0.a", status=JobStatus.COMPLETED, result={"at": NOW}, function="mail.send", queue="mail", name="Mail",
        enqueued_at=NOW, completed_at=NOW, duration=timedelta(seconds=2), tags=("eu",), user="ann", attempt=1,
        runs=3, session="s1", group="acme",
    )  # fmt: skip

    assert repository.save(job) is True
    assert repository.save(job) is True
    assert repository.get(job.id) == job
    assert [found.id for found in repository.search(session="s1")] == [job.id]
    assert [found.id for found in repository.search(tag="eu")] == [job.id]

    filling.put("a", ends="failed", user="bob")
    assert repository.save(job) is False
    found = repository.get(job.id)
    assert found is not None
    assert (found.status, found.user) == (JobStatus.FAILED, "bob")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"status": "done"}, "status is 'done'; give one of blocked, scheduled, queued, running, retrying, "),
        ({"status": [5]}, "status is 5; give one of blocked, "),
        ({"limit": -1}, "limit is -1; give a whole number from 0."),
        ({"limit": "x"}, "limit is 'x'; give a whole number from 0."),
        ({"offset": -1}, "offset is -1; give a whole number from 0."),
        ({"since": "yesterday"}, "since is 'yesterday'; give a datetime."),
        ({"until": 5}, "until is 5; give a datetime."),
        ({"tag": 5}, "tag is 5; give a text that is not empty."),
        ({"user": ""}, "user is ''; give a text that is not empty."),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(repository: JobRepository, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        repository.search(**asked)

    assert str(caught.value).startswith(told)
    assert caught.value.field == next(iter(asked))


def test_a_status_may_be_given_as_its_text(repository: JobRepository, filling: Filling) -> None:
    filling.put("a", ends="failed")
    filling.put("b")

    assert [job.id for job in repository.search(status="failed")] == ["mail.0.a"]  # type: ignore[arg-type]
    assert len(repository.search(status=["failed", "completed"])) == 2  # type: ignore[list-item]


@pytest.mark.parametrize("older_than", [timedelta(days=-1), -1, "x", True])
def test_nothing_goes_that_is_younger_than_now(repository: JobRepository, filling: Filling, older_than: Any) -> None:
    filling.put("a")

    with pytest.raises(InvalidJob, match=r"^older_than is .*; give seconds \(0 or more"):
        repository.prune(older_than)

    assert repository.statistics()["total"] == 1


def test_what_is_no_database_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^database is 5; give a URL or an engine\.$"):
        JobRepository(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^database is 5; give a URL or an engine\.$"):
        init_job_tables(5)  # type: ignore[arg-type]


def test_a_database_that_does_not_answer_is_told_in_one_line() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        init_job_tables("sqlite:////nowhere/at/all.db")

    assert str(caught.value) == "No archive at sqlite:////nowhere/at/all.db (unable to open database file)."


def test_many_jobs_are_read_with_few_queries(repository: JobRepository, filling: Filling) -> None:
    ids = [filling.put(f"n{number}") for number in range(30)]
    queries: list[str] = []
    event.listen(repository.engine, "before_cursor_execute", lambda *seen: queries.append(seen[2]))

    found = repository.get_many([ids[3], "mail.0.none", *ids])

    assert [one and (one.id, one.result) for one in found] == [
        (ids[3], "n3"), None, *((job_id, f"n{number}") for number, job_id in enumerate(ids)),
    ]  # fmt: skip
    assert len(queries) <= 3
