"""The job of the figures."""

from jobfleet import job


@job(queue="latency")
def order(number: int) -> int:
    """Return the number."""
    return number
