"""The reasons about limits name the functions that declare them."""

from __future__ import annotations

from jobfleet.model.result import ReasonCode
from jobfleet.store.calls.inspect import Limited
from tests.operations.explain.test_reasons import NOW, S, reasons, replace_group, waiting

LIMITING = (ReasonCode.GROUP_FULL, ReasonCode.GROUP_RATE, ReasonCode.QUEUE_FULL, ReasonCode.QUEUE_RATE)


def test_the_functions_that_declare_a_limit_are_named() -> None:
    both = ("mail.send", "mail.render")
    group = replace_group(limit=Limited(1, 1, NOW + 6 * S, ("mail.send",), both), holders=("mail.0.b",))

    found = reasons(waiting(group=group, limit=Limited(1, 1, NOW + 6 * S, both, ("mail.send",))))

    texts = {code: found[code].text for code in LIMITING}
    assert texts[ReasonCode.GROUP_FULL].endswith("held by mail.0.b. mail.send declares this limit.")
    assert texts[ReasonCode.GROUP_RATE].endswith("may start in 6 s. mail.send, mail.render declare this limit.")
    assert (
        texts[ReasonCode.QUEUE_FULL] == "Queue 'mail' is full: 1 of 1 run. mail.send, mail.render declare this limit."
    )
    assert texts[ReasonCode.QUEUE_RATE].endswith("may start in 6 s. mail.send declares this limit.")
    assert [found[code].facts["declared_by"] for code in LIMITING] == [("mail.send",), both, both, ("mail.send",)]
