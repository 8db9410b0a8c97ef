"""A simple job: a function of this very file, run by a worker inside this program.

Prints:

    waiting: queued
    done: 42, COMPLETED, after 0 retries
"""

from jobfleet import Job, enqueue, get_job_manager, poll, wait


def multiply(x: int, y: int) -> int:
    return x * y


if __name__ == "__main__":
    job_id = enqueue(Job(name="Multiply", function=multiply, args=(6, 7)))
    print("waiting:", poll(job_id).status.value)

    manager = get_job_manager()
    manager.start(workers=4)
    result = wait(job_id, timeout=30)
    print(f"done: {result.result}, {result.status.name}, after {result.retry_count} retries")

    manager.shutdown(timeout=10)
