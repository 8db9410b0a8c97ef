"""Row 13: notifications of failures and retries: channels of one's own, the log, real mail, real signed webhooks."""

from __future__ import annotations

import json
from pathlib import Path

from jobfleet import Fleet, Job, enqueue, wait
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until

MODULE = """
from pathlib import Path

from jobfleet.notify import (
    EmailNotificationChannel, LogNotificationChannel, Notification, NotificationChannel, WebhookNotificationChannel,
    add_notification_channel,
)


class FileNotificationChannel(NotificationChannel):
    def send(self, notification: Notification) -> None:
        with Path({file!r}).open("a") as file:
            file.write(f"{{notification.event}} {{notification.notice.job_id}}\\n")


add_notification_channel(LogNotificationChannel())
add_notification_channel(FileNotificationChannel())
add_notification_channel(
    EmailNotificationChannel(
        host="127.0.0.1", port={port}, sender="jobs@example.org", to=["ops@example.org"], security="none"
    )
)
add_notification_channel(
    WebhookNotificationChannel({hook!r}, secret="correct horse battery", allow_http=True, allow_private=True)
)
"""


def test_a_failure_and_a_retry_reach_every_channel_once(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    from jobfleet.notify import verify_webhook
    from tests.support.mailbox import Mailbox
    from tests.support.receiver import Receiver

    with Mailbox() as mailbox, Receiver() as receiver:
        told = tmp_path / "told"
        (tmp_path / "alerts.py").write_text(MODULE.format(file=str(told), port=mailbox.port, hook=receiver.url))
        reapers = [programs.start("reaper", "alerts", app_dir=str(tmp_path)) for _ in range(2)]
        for reaper in reapers:
            reaper.await_line("reaper.started")
        programs.ready("seeds")

        job_id = enqueue(Job(name="Raise", function="seed.raise", args=("ConnectionError",), max_retries=1))
        wait(job_id, timeout=LONG)

        wait_until(lambda: len(receiver.requests) >= 2, timeout=LONG, why="the webhook is told of both")
        wait_until(lambda: len(mailbox.mails) >= 2, timeout=LONG, why="the mailbox, too")
        wait_until(lambda: told.exists() and told.read_text().count("\n") >= 2, timeout=LONG, why="the file, too")
        wait_until(lambda: sum(job_id in reaper.said for reaper in reapers) >= 1, timeout=LONG, why="the log, too")

        for request in receiver.requests:
            assert verify_webhook("correct horse battery", request.headers, request.body)
        events = sorted(request.data["event"] for request in receiver.requests)
        assert events == ["failed", "retried"]
        assert {request.data["job"]["id"] for request in receiver.requests} == {job_id}
        assert all("Raise" in json.dumps(request.data) for request in receiver.requests)
        assert sorted(told.read_text().splitlines()) == [f"failed {job_id}", f"retried {job_id}"]
        assert len(mailbox.mails) == 2
