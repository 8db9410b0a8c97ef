"""Cancellation of a waiting job and of a running job; a third job has ended and cannot be cancelled.

Prints:

    waits: True, cancelled by ann
    runs: True, cancelled by ann
    ended: False, completed
    cleaned up: True
"""

import threading
import time

from jobfleet import Job, JobCancelled, ProgressCallback, get_job_manager

begun, cleaned_up = threading.Event(), threading.Event()


def nothing() -> None:
    pass


def count(progress_callback: ProgressCallback) -> None:
    try:
        for number in range(1000):
            progress_callback(number / 1000, "Counting")  # raises JobCancelled once the job is cancelled
            begun.set()
            time.sleep(0.05)
    except JobCancelled:
        cleaned_up.set()
        raise


if __name__ == "__main__":
    manager = get_job_manager()
    manager.start(workers=2)

    waits = manager.enqueue(Job(name="waits", function=nothing, delay=3600))
    runs = manager.enqueue(Job(name="runs", function=count))
    ended = manager.enqueue(Job(name="ended", function=nothing))
    manager.wait(ended, timeout=30)
    begun.wait(30)

    for job_id in (waits, runs):
        accepted = manager.cancel(job_id, by="ann")
        result = manager.wait(job_id, timeout=30)
        print(f"{result.name}: {accepted}, {result.error}")
    print(f"ended: {manager.cancel(ended)}, {manager.poll(ended).status.value}")
    print("cleaned up:", cleaned_up.is_set())

    manager.shutdown(timeout=10)
