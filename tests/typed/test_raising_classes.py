"""Result classes whose own checks raise what is neither ValueError nor TypeError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from jobfleet import Fleet, JobContext, JobStatus, TypeMismatch
from jobfleet.functions.registry import Registry

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RATES = {"EUR": 1, "USD": 2}


@dataclass
class Price:
    currency: str

    def __post_init__(self) -> None:
        RATES[self.currency]


def test_of_a_batch_only_the_job_fails_whose_class_raises(registry: Registry, fleet: Fleet) -> None:
    def quote(currencies: list[str]) -> list[Price]:
        return [{"currency": currency} for currency in currencies]  # type: ignore[misc]

    function = registry.register(quote, name="app.quote", fleet=fleet, batch=10, max_retries=0)
    handles = [function.enqueue(currency) for currency in ("EUR", "XXX", "USD")]

    fleet.run_worker(burst=True)

    ended = [handle.poll() for handle in handles]
    assert [(one.status, one.result, one.error_class) for one in ended] == [
        (JobStatus.COMPLETED, Price("EUR"), None),
        (JobStatus.FAILED, None, "KeyError"),
        (JobStatus.COMPLETED, Price("USD"), None),
    ]


def test_a_stored_result_whose_class_raises_is_an_error_of_that_result(
    registry: Registry, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, str | None]] = []

    def quote(currency: str) -> Price:
        return Price(currency)

    def after(ctx: JobContext) -> None:
        seen.extend((parent.result, parent.error) for parent in ctx.parents.values())

    function = registry.register(quote, name="app.quote", fleet=fleet)
    good, bad = function.enqueue("EUR"), function.enqueue("USD")
    fleet.run_worker(burst=True)
    monkeypatch.delitem(RATES, "USD")
    last = registry.register(after, name="app.after", fleet=fleet).options(depends_on=[bad.id]).enqueue()
    fleet.run_worker(burst=True)

    found = fleet.poll_many([good.id, bad.id])

    error = "the stored result of app.quote does not fit the return annotation: KeyError: 'USD'."
    assert [one and (one.status, one.result, one.error) for one in found] == [
        (JobStatus.COMPLETED, Price("EUR"), None),
        (JobStatus.COMPLETED, None, error),
    ]
    with pytest.raises(TypeMismatch, match="KeyError: 'USD'"):
        bad.result()
    assert (last.poll().status, seen) == (JobStatus.COMPLETED, [(None, error)])
