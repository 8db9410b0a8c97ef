"""Errors: transient ones are retried with a growing delay, permanent ones become dead letters.

Prints:

    fetch: completed on run 3, after 2 retries
    parse: failed on run 1: ValueError, permanent
    dead letters: parse
    once more: completed
"""

from jobfleet import Job, JobContext, get_job_manager, job

TEXTS = {"page": ""}


@job(name="fetch", max_retries=5, retry_delay=0.1, retry_backoff=2.0)
def fetch(ctx: JobContext) -> str:
    if ctx.attempt < 3:
        raise ConnectionError("the network is down")  # transient: run again after 0.1 s, 0.2 s …
    return "a page"


@job(name="parse")
def parse(name: str) -> int:
    return int(TEXTS[name])  # a ValueError is permanent: the same text will not be a number next time


if __name__ == "__main__":
    manager = get_job_manager()
    manager.start(workers=2)

    fetched = manager.wait(manager.enqueue(Job(name="fetch", function=fetch)), timeout=30)
    print(f"fetch: {fetched.status.value} on run {fetched.attempt}, after {fetched.retry_count} retries")

    parsed = manager.wait(manager.enqueue(Job(name="parse", function=parse, args=("page",))), timeout=30)
    assert parsed.error_type is not None
    print(
        f"parse: {parsed.status.value} on run {parsed.attempt}: {parsed.error_class}, {parsed.error_type.name.lower()}"
    )

    print("dead letters:", ", ".join(letter.name for letter in manager.dead_letters()))
    TEXTS["page"] = "17"  # the cause is fixed
    manager.retry_dead_letter(parsed.id, by="ann")  # runs it once more
    print("once more:", manager.wait(parsed.id, timeout=30).status.value)

    manager.shutdown(timeout=10)
