"""Reasons that depend on what live workers know, and on whether they serve and run."""

from __future__ import annotations

from dataclasses import replace

from jobfleet.model.result import ReasonCode
from jobfleet.store.records import KindSeen
from tests.operations.explain.test_reasons import W1, W2, reasons, texts, waiting


def test_a_function_that_only_workers_knew_which_have_left_is_unknown() -> None:
    telling = (replace(W1, kinds=("k1",)), replace(W2, kinds=("k2",)))
    one = KindSeen("k1", W1.id, {"": "default mail", "mail.render": "mail"})

    text = (
        "No live worker knows 'mail.send'; one that has left did: start a worker with its module. "
        "The job is parked until one knows it."
    )

    assert texts(replace(waiting(), workers=telling, kinds=(one,))) == [text]
    assert texts(replace(waiting(), workers=(telling[0], W2), kinds=(one,))) == [
        "Next in line: a worker should claim it now."
    ]


def test_only_workers_that_know_the_function_could_run_it() -> None:
    full, free = replace(W1, running=10, kinds=("k1",)), replace(W2, queues=("mail",), kinds=("k2",))
    kinds = (
        KindSeen("k1", W1.id, {"": "mail", "mail.send": "mail"}),
        KindSeen("k2", W2.id, {"": "mail", "mail.render": "mail"}),
    )

    assert texts(replace(waiting(), workers=(full, free), kinds=kinds)) == [
        "No free slot: 10 of 10 are taken at 1 worker that could run it."
    ]


def test_one_quiet_worker_beside_one_that_runs_is_no_reason() -> None:
    seen = replace(waiting(), workers=(replace(W1, state="stopping"), replace(W1, id="box:13:cc")))

    assert set(reasons(seen)) == {ReasonCode.NEXT}


def test_workers_that_all_stop_need_a_successor() -> None:
    told = texts(replace(waiting(), workers=(replace(W1, state="stopping"),)))

    assert told == ["No worker that serves its queue takes new jobs: box:11:aa is stopping."]


def test_a_worker_that_is_gone_serves_nobody() -> None:
    assert set(reasons(replace(waiting(), workers=(replace(W1, is_gone=True),)))) == {ReasonCode.UNSERVED}


def test_many_workers_are_named_in_part() -> None:
    crowd = tuple(replace(W2, id=f"w{number}") for number in range(9))

    assert "w4 (bulk) and 4 more." in texts(replace(waiting(), workers=crowd))[0]
