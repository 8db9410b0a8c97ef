"""Gates as they are stored, in whatever form a foreign client has written them."""

from __future__ import annotations

from jobfleet.model.limits import BreakerInfo, NamedLimit
from jobfleet.operations.gates import breaker_info, limit_info
from jobfleet.store.calls.limits import GateSeen


def test_foreign_texts_are_no_numbers() -> None:
    limit = {"most": "x", "low": "nan", "high": "inf", "count": "5", "period": "64", "used": "1:x 9:2 y", "closed": "-"}
    breaker = {"state": "half", "counts": "1 2:x:1 3:4:5", "until": "x", "since": "nan", "opened": "9e99"}

    assert limit_info(GateSeen("limit:x", limit, 0, ("no holder",)), 9) == NamedLimit("x", left=3, is_defined=False)
    assert breaker_info(GateSeen("breaker:limit:x", breaker, 0, ()), 9) == BreakerInfo(
        "limit:x", "half-open", succeeded=4, failed=5
    )
