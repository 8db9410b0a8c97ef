"""Later, and again and again: a job with a time, one with a delay, and a recurring one.

Prints:

    at a time: scheduled
    after a delay: scheduled
    at a time: completed, not early
    after a delay: completed
    every second: cleaned up
"""

import threading
from datetime import datetime, timedelta

from jobfleet import Job, JobStatus, get_job_manager, register_job_function

cleaned_up = threading.Event()


def clean_up() -> None:
    cleaned_up.set()


def nothing() -> None:
    pass


register_job_function("app.clean_up", clean_up)

if __name__ == "__main__":
    manager = get_job_manager()
    manager.start(workers=2)

    soon = datetime.now() + timedelta(seconds=2)  # noqa: DTZ005 - a naive time is this machine's
    timed = manager.enqueue(Job(name="at a time", function=nothing, scheduled_at=soon))
    delayed = manager.enqueue(Job(name="after a delay", function=nothing, delay=timedelta(seconds=2)))
    manager.enqueue(Job(name="every second", function="app.clean_up", cron_expression="* * * * * *"))
    for job_id in (timed, delayed):
        job = manager.poll(job_id)
        print(f"{job.name}: {job.status.value}")

    ended = manager.wait(timed, timeout=30)
    assert ended.started_at is not None
    print(f"at a time: {ended.status.value}, {'not early' if ended.started_at >= soon.astimezone() else 'early'}")
    print("after a delay:", manager.wait(delayed, timeout=30).status.value)
    print("every second:", "cleaned up" if cleaned_up.wait(30) else "nothing happened")
    assert manager.poll(timed).status is JobStatus.COMPLETED

    manager.fleet.cron.remove("every-second")
    manager.shutdown(timeout=10)
