"""Tasks, as a project writes them."""

import threading
from typing import Any

from django.db import connection

from shop.errors import ShopClosed
from shop.models import Order

try:
    from django.tasks import task
except ModuleNotFoundError:
    from django_tasks import task

attempts: dict[str, int] = {}


@task(queue_name="mail", priority=7)
def add(x: int, y: int) -> int:
    return x + y


@task(takes_context=True)
def about_itself(context: Any, *, label: str) -> dict[str, Any]:
    result = context.task_result
    return {
        "id": result.id, "label": label, "attempt": context.attempt, "status": result.status, "args": result.args,
        "kwargs": result.kwargs, "priority": result.task.priority, "queue": result.task.queue_name,
    }  # fmt: skip


@task
async def count_orders() -> int:
    return int(await Order.objects.acount())


@task
def order_thread() -> tuple[int, bool]:
    """The number of the thread, and whether the connection of the thread was closed before this job."""
    was_closed = connection.connection is None
    Order.objects.count()
    return threading.get_ident(), was_closed


@task(backend="once")
def close_shop() -> None:
    raise ShopClosed("at six")


@task(takes_context=True)
def fails_once(context: Any) -> int:
    if context.attempt == 1:
        raise ConnectionError("bank is away")
    return int(context.attempt)


@task(backend="once")
def returns_no_json() -> object:
    return object()
