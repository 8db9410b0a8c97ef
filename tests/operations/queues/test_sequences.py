"""Strict sequences through the client: what is refused, shown, explained, skipped, resumed and audited."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobStatus
from jobfleet.errors import ConfigError, UnknownGroup
from jobfleet.model.result import ReasonCode

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def add(*, group: str = "acme", order: str = "strict", **options: Any) -> Job:
    return Job("x", "app.add", (1, 2), group=group, order=order, **options)  # type: ignore[arg-type]


def fail(order: str = "strict-park") -> Job:
    return Job("x", "app.fail", ("no luck",), group="acme", order=order)  # type: ignore[arg-type]


def enter(fleet: Fleet, count: int, **options: Any) -> list[str]:
    return [fleet.enqueue(add(**options)) for _ in range(count)]


TAKES_A_PLACE = (
    "on_conflict is 'debounce', and order 'strict': a job keeps its place in a sequence, so another one cannot take it"
    "; use 'existing' or 'raise'."
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "loose", "group": "a"}, "order is 'loose'; use 'strict', 'strict-park' or 'strict-fail-rest'."),
        ({"order": "strict"}, "order is 'strict', but the job has no group; give group too."),
        (
            {"order": "strict", "group": "a", "unique": "k", "on_conflict": "debounce"},
            TAKES_A_PLACE,
        ),
    ],
)
def test_an_order_that_cannot_be_kept_is_refused(fleet: Fleet, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        fleet.enqueue(Job("x", "app.add", (1, 2), **options))

    assert str(refused.value) == message


def test_a_sequence_is_listed_and_shown_with_its_jobs_in_order(fleet: Fleet) -> None:
    ids = enter(fleet, 22)
    (other,) = enter(fleet, 1, group="beta", queue="mail")
    fleet.enqueue(Job("x", "app.add", (1, 2), group="acme"))  # a job of the group without an order

    assert [(one.queue, one.group, one.head, one.waiting) for one in fleet.groups()] == [
        ("default", "acme", ids[0], 21), ("mail", "beta", other, 0),
    ]  # fmt: skip
    assert [one.group for one in fleet.groups("mail")] == ["beta"]
    assert len(fleet.groups(limit=1)) == 1
    info = fleet.groups.show("acme")
    assert (info.state, info.status, info.due, info.behind) == ("open", JobStatus.QUEUED, None, tuple(ids[1:21]))
    assert {fleet.poll(job_id).status for job_id in ids[1:]} == {JobStatus.BLOCKED}


def test_a_sequence_that_is_not_there_is_named_and_so_is_one_of_several_queues(fleet: Fleet) -> None:
    enter(fleet, 1)
    enter(fleet, 1, queue="mail")

    with pytest.raises(ConfigError, match="Several queues have a sequence 'acme': default, mail"):
        fleet.groups.show("acme")
    assert fleet.groups.show("acme", queue="mail").queue == "mail"
    with pytest.raises(UnknownGroup, match="No strict sequence 'beta' has open jobs or is parked"):
        fleet.groups.skip("beta")


def test_a_job_explains_behind_which_head_it_waits(fleet: Fleet) -> None:
    head, _, last = (fleet.enqueue(add(delay=delay)) for delay in (600, None, None))

    reason = fleet.explain(last).reasons[0]

    assert reason.code == ReasonCode.SEQUENCE
    begin = f"Waits behind {head}, the head of its sequence 'acme', which is due at "
    assert reason.text.startswith(begin)
    assert reason.text.endswith("; 1 job between them.")
    assert (reason.facts["head"], reason.facts["state"], reason.facts["before"]) == (head, "waiting", 2)
    assert "scheduled" in [one.code for one in fleet.explain(head).reasons]


def test_a_parked_sequence_is_explained_resumed_and_audited(fleet: Fleet) -> None:
    head, waits = fleet.enqueue(fail()), fleet.enqueue(add())
    fleet.run_worker(burst=True)

    info = fleet.groups.show("acme")
    assert (info.state, info.head, info.status, info.error, info.waiting) == (
        "parked", head, JobStatus.FAILED, "no luck", 1,
    )  # fmt: skip
    assert fleet.explain(waits).reasons[0].text == (
        f"Waits behind {head}, the head of its sequence 'acme', which has failed, so the sequence is parked. 'jobfleet "
        f"groups resume acme --queue default' continues behind it; 'jobfleet dead replay {head}' runs it again, "
        "unless it was forgotten."
    )

    assert fleet.groups.resume("acme", by="ann")
    assert not fleet.groups.resume("acme", by="ann")

    assert fleet.poll(waits).status is JobStatus.QUEUED
    rows = [(one.action, one.target, one.by) for one in fleet.audit().entries]
    assert rows == [("sequence.resume", "default:acme", "ann")] * 2


def test_a_head_is_skipped_whether_it_waits_or_has_parked_its_sequence(fleet: Fleet) -> None:
    first, second, third = fleet.enqueue(add()), fleet.enqueue(fail()), fleet.enqueue(add())

    assert fleet.groups.skip("acme", by="ann") == first
    assert (fleet.poll(first).status, fleet.groups.show("acme").head) == (JobStatus.CANCELLED, second)

    fleet.run_worker(burst=True)
    assert fleet.groups.skip("acme") == second
    assert (fleet.poll(second).status, fleet.groups.show("acme").head) == (JobStatus.FAILED, third)


def test_a_dead_letter_of_a_parked_sequence_runs_again_before_the_others(fleet: Fleet) -> None:
    ran: list[int] = []
    broken = {1}

    @fleet.job(name="app.note", max_retries=0, group="acme", order="strict-park")
    def note(number: int) -> None:
        ran.append(number)
        if number in broken:
            raise RuntimeError("not yet")

    handles = [note.enqueue(number) for number in range(4)]
    fleet.run_worker(burst=True)
    assert ran == [0, 1]

    broken.clear()
    fleet.replay(handles[1].id)
    fleet.run_worker(burst=True)

    assert ran == [0, 1, 1, 2, 3]


def test_a_head_that_moves_to_another_queue_enters_the_sequence_there(fleet: Fleet) -> None:
    first, second = enter(fleet, 2)
    (there,) = enter(fleet, 1, queue="mail")

    moved = fleet.move(first, "mail")

    assert fleet.groups.show("acme", queue="default").head == second
    info = fleet.groups.show("acme", queue="mail")
    assert (info.head, info.behind) == (there, (moved,))
    with pytest.raises(InvalidJob, match="only a scheduled, queued or retrying job can be moved"):
        fleet.move(moved, "default")


def test_a_purge_cancels_all_of_it_and_leaves_nothing(fleet: Fleet) -> None:
    ids = enter(fleet, 120)

    assert fleet.purge_queue("default") == 120

    assert (fleet.groups(), fleet.poll(ids[-1]).status) == ([], JobStatus.CANCELLED)


def test_a_flow_within_a_sequence_runs_in_its_order(fleet: Fleet) -> None:
    ran: list[int] = []

    @fleet.job(name="app.note", group="acme", order="strict")
    def note(number: int) -> None:
        ran.append(number)

    first = note.enqueue(0)
    child = note.options(depends_on=[first]).enqueue(1)
    note.enqueue(2)
    assert child.poll().status is JobStatus.BLOCKED
    fleet.run_worker(burst=True)

    assert ran == [0, 1, 2]
