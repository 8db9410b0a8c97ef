"""Names that were probably meant, and names that only look alike to a program."""

from __future__ import annotations

from jobfleet.model.names import similar_function, similar_queue
from tests.support.each import each


@each(
    "name, known, meant",
    [
        ("shop.totl", ["shop.total", "shop.bill"], "shop.total"),
        ("shop.index", ["shop.bill", "shop.total"], None),
        ("mail.sned", ["bulk.sned_all", "mail.send"], "mail.send"),
        ("demo.ad", ["demo.add"], "demo.add"),
        ("shpo.total", ["shop.total", "shop.bill"], "shop.total"),
        ("total", ["shop.total"], "shop.total"),
        ("app.shop.total", ["shop.total"], "shop.total"),
        ("a.run", ["billing.run"], None),
        ("sned", ["send"], "send"),
        ("shop.total", [], None),
    ],
)
def test_a_function_is_compared_part_by_part(name: str, known: list[str], meant: str | None) -> None:
    assert similar_function(name, known) == meant


@each(
    "queue, known, meant",
    [
        ("mial", ["default", "mail"], "mail"),
        ("sendmail", ["send-mail"], "send-mail"),
        ("reprots-eu", ["reports-eu", "reports-us"], "reports-eu"),
        ("shard-2", ["shard-1", "shard-11"], None),
        ("reports-us", ["reports-eu"], None),
        ("tenant-acme", ["tenant-apex", "tenant-acne-b"], None),
        ("bulk", ["mail"], None),
        ("mail", ["mail"], None),
    ],
)
def test_a_queue_of_a_series_is_not_a_misspelt_one(queue: str, known: list[str], meant: str | None) -> None:
    assert similar_queue(queue, known) == meant
