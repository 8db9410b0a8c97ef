"""Jobs of the page `jobfleet.panels.demo`; ``jobfleet up jobfleet.demo.reports`` serves them."""

from __future__ import annotations

import time

from jobfleet import JobContext, ProgressCallback, job


@job(name="examples.report")
def report(chapters: int, seconds: float, progress_callback: ProgressCallback) -> str:
    """Write a report, one chapter after the other.

    Args:
        chapters: Number of chapters.
        seconds: Seconds per chapter.
        progress_callback: Called once per chapter, and at the end.
    """
    for number in range(1, chapters + 1):
        progress_callback((number - 1) / chapters, f"Writing chapter {number} of {chapters}", {"chapter": number})
        time.sleep(seconds)  # stands for the work
    progress_callback(1.0, "Bound and printed", {"chapter": chapters})
    return f"{chapters} chapters"


@job(name="examples.fetch", max_retries=5, retry_delay=0.5)
async def fetch(ctx: JobContext, failures: int) -> str:
    """Fetch a page from a network that fails this many times first."""
    ctx.progress(0.5, f"Request {ctx.attempt}")
    if ctx.attempt <= failures:
        raise ConnectionError("the network is down")
    return "a page"


@job(name="examples.charge")
def charge(amount: int) -> None:
    """Fail at once: a ValueError is not retried, because the next run would raise it again."""
    raise ValueError(f"no account to charge {amount} to")
