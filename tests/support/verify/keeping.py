"""Rows 11, 13 and 17: what is kept in SQL, who is told, and cleaning up."""

from __future__ import annotations

from jobfleet import Fleet, InvalidJob, Job, JobStatus, enqueue, wait
from tests.support.mailbox import Mailbox
from tests.support.receiver import Receiver
from tests.support.verify.stage import PATIENCE, Stage, check, expect

SECRET = "correct horse battery"
ALERTS = """
from jobfleet.notify import (
    EmailNotificationChannel, LogNotificationChannel, WebhookNotificationChannel, add_notification_channel,
)

add_notification_channel(LogNotificationChannel())
add_notification_channel(
    EmailNotificationChannel(
        host="127.0.0.1", port={port}, sender="jobs@example.org", to=["ops@example.org"], security="none"
    )
)
add_notification_channel(
    WebhookNotificationChannel({hook!r}, secret={secret!r}, allow_http=True, allow_private=True)
)
"""


@check(11, "SQL: init_job_tables, JobModel, JobRepository, the archive")
def archive(stage: Stage) -> str:
    """A reaper with an archive writes every job, and the repository finds them."""
    from jobfleet.archive import JobRepository, init_job_tables

    database = f"sqlite:///{stage.path()}"
    init_job_tables(database)
    reaper = stage.start("reaper", archive_url=database)
    reaper.await_line("reaper.started")
    with JobRepository(database, namespace=stage.namespace) as repository:
        # What ended before the archive began is not in it: jobs are run until one is.
        def seen() -> str:
            job_id = stage.run("seed.add", 1, 2, user="ann", tags=["kept"]).id
            found = repository.get(job_id)
            return job_id if found is not None and found.status is JobStatus.COMPLETED else ""

        job_id = stage.until(seen, "a job is archived")
        one = repository.get(job_id)
        expect(one is not None and one.result == 3, str(one))
        found = {job.id for job in repository.search(user="ann", tag="kept", status=JobStatus.COMPLETED)}
        expect(job_id in found, "it is not found by user, tag and status")
        gone = repository.prune(0)
    reaper.close()
    return f"found by user, tag and status; {gone} pruned"


@check(11, "poll falls back to the archive")
def fallback(stage: Stage) -> str:
    """Of a job that Redis has let go."""
    from jobfleet.archive import init_job_tables

    database = f"sqlite:///{stage.path()}"
    init_job_tables(database)
    reaper = stage.start("reaper", archive_url=database)
    reaper.await_line("reaper.started")
    with Fleet(stage.url, namespace=stage.namespace, archive_url=database) as fleet:

        def seen() -> object:
            job_id = stage.run("seed.add", 20, 22).id
            for key in stage.keys(stage.namespace):
                if key.endswith(f"result:{job_id}"):
                    stage.raw.unlink(key)
            try:
                return fleet.poll(job_id).result
            except LookupError:
                return None

        value = stage.until(seen, "the archive answers")
    reaper.close()
    expect(value == 42, f"it answers {value}")
    return "42, from SQL, though Redis has forgotten the job"


@check(13, "notifications: log, email, signed webhook; failure and retry")
def notifications(stage: Stage) -> str:
    """A real mail server and a real receiver are told of both, once."""
    from jobfleet.notify import verify_webhook

    with Mailbox() as mailbox, Receiver() as receiver:
        text = ALERTS.format(port=mailbox.port, hook=receiver.url, secret=SECRET)
        (stage.folder / "alerts.py").write_text(text)
        reaper = stage.start("reaper", "alerts", app_dir=str(stage.folder))
        reaper.await_line("reaper.started")

        def told() -> str:
            job_id = stage.run("seed.raise", "ConnectionError", max_retries=1).id
            return job_id if receiver.requests else ""

        stage.until(told, "the webhook is told")
        stage.until(lambda: len(receiver.requests) >= 2 and len(mailbox.mails) >= 2, "all are told")
        reaper.await_line("notify.failed")
        for request in receiver.requests:
            verify_webhook(SECRET, request.headers, request.body)
        events = sorted({request.data["event"] for request in receiver.requests})
        reaper.close()
    expect(events == ["failed", "retried"], f"told was {events}")
    return f"{' and '.join(events)}: log, {len(mailbox.mails)} mails, {len(receiver.requests)} signed webhooks"


@check(17, "a cron job, enqueued like any other, that cleans up")
def cron(stage: Stage) -> str:
    """Every second, fired by the reaper, and run."""
    function = "jobfleet.maintenance.cleanup"
    enqueue(Job(name="Clean up", function=function, kwargs={"days": 30}, cron_expression="* * * * * *"))
    stage.until(lambda: len(stage.fleet.cron.history("Clean-up")) >= 2, "it is fired twice")
    fires = stage.fleet.cron.history("Clean-up")
    one = wait(str(fires[-1].job_id), timeout=PATIENCE)
    stage.fleet.cron.remove("Clean-up")
    expect(one.status is JobStatus.COMPLETED, str(one))
    return f"{function}: {len(fires)} fires by the reaper, completed"


@check(17, "the document's bare lambda is refused, the way out named")
def bare_lambda(stage: Stage) -> str:
    """The one deviation."""
    try:
        enqueue(Job(name="Cleanup", function=lambda: None, cron_expression="0 2 * * *"))
    except InvalidJob as error:
        expect("jobfleet.maintenance.cleanup" in str(error), str(error))
        return "InvalidJob, which names jobfleet.maintenance.cleanup"
    raise AssertionError("a bare lambda is taken")
