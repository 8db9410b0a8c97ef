"""Each planted bug still has its place in the source."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.support.chaos.catalogue  # noqa: F401 - it registers the faults
from tests.support.chaos.fault import FAULTS
from tests.support.chaos.invariants import INVARIANTS
from tests.support.chaos.planted import MUTANTS, Edit, NotPlanted, plant


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_can_be_planted(tmp_path: Path, name: str) -> None:
    mutant = MUTANTS[name]

    plant(mutant, tmp_path)

    for edit in mutant.edits:
        assert edit.new in (tmp_path / "jobfleet" / edit.file).read_text()
    assert mutant.fault in FAULTS
    assert mutant.expected <= {one.number for one in INVARIANTS}


def test_a_text_that_has_changed_is_reported(tmp_path: Path) -> None:
    mutant = MUTANTS["early"]._replace(edits=(Edit("store/trip.py", "no such text", ""),))

    with pytest.raises(NotPlanted, match=r"store/trip\.py has 0 times 'no such text'"):
        plant(mutant, tmp_path)
