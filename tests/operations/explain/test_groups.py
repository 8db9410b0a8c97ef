"""What `explain` says of full groups, and of the head of a strict sequence."""

from __future__ import annotations

from jobfleet.model.result import ReasonCode
from jobfleet.store.calls.inspect import InSequence, Limited
from tests.operations.explain.test_reasons import ID, NOW, PAGE, behind_head, reasons, replace_group, waiting
from tests.support.each import each


@each(
    "state, words",
    [
        ("running", "runs."),
        ("waiting", "is queued."),
        ("blocked", "waits for its parents."),
        ("withheld", "waits until its function is resumed."),
        ("failing", "has failed, so the jobs behind it fail."),
        (
            "parked",
            (
                "has failed, so the sequence is parked. 'jobfleet groups resume tenant-7 --queue mail' continues "
                "behind it; 'jobfleet dead replay mail.0.h' runs it again, unless it was forgotten."
            ),
        ),
    ],
)
def test_the_state_of_the_head_is_told(state: str, words: str) -> None:
    before = int(state not in ("parked", "failing"))

    reason = reasons(behind_head(InSequence("mail.0.h", state, NOW, before)))[ReasonCode.SEQUENCE]

    assert reason.text == f"Waits behind mail.0.h, the head of its sequence 'tenant-7', which {words}"
    assert reason.facts == {"sequence": "tenant-7", "head": "mail.0.h", "state": state, "before": before}


def test_the_head_itself_does_not_wait_behind_another() -> None:
    assert ReasonCode.SEQUENCE not in reasons(behind_head(InSequence(ID, "blocked", 0, 0)))


def test_a_full_group_names_five_of_its_holders_and_how_many_more() -> None:
    holders = tuple(f"mail.0.{n}" for n in range(5))
    full = reasons(waiting(group=replace_group(limit=Limited(9, 9, 0), holders=holders)))[ReasonCode.GROUP_FULL]

    assert full.text.endswith("held by mail.0.0, mail.0.1, mail.0.2, mail.0.3, mail.0.4 and 4 more.")
    assert full.facts == {"group": "tenant-7", "running": 9, "most": 9, "holders": holders}


def test_a_job_of_a_group_waits_behind_its_own_and_for_the_turns_of_others() -> None:
    one, none = reasons(waiting(group=replace_group(ahead=2, turns=12))), reasons(waiting(group=replace_group()))

    text = "2 jobs of its group 'tenant-7' ahead of it; 12 groups of its priority take turns."
    assert one[ReasonCode.BEHIND].text == text
    assert one[ReasonCode.BEHIND].facts == {"group": "tenant-7", "ahead": 2, "turns": 12}
    assert text in PAGE.read_text()
    assert ReasonCode.BEHIND not in none
