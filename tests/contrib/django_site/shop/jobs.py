"""Plain job functions of the project."""

from jobfleet import job
from shop.models import Order


@job(queue="plain")
def orders() -> int:
    return int(Order.objects.count())
