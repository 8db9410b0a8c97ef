"""`jobfleet doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import Output, count, plain
from jobfleet.cli.schema import diagnosis_data

if TYPE_CHECKING:
    from jobfleet.operations.doctor.findings import Diagnosis, Finding

WORDS = {"ok": ("ok", "green"), "note": ("note", "cyan"), "warning": ("WARN", "yellow"), "fault": ("FAULT", "red")}


@click.command(cls=Command)
@click.pass_obj
def doctor(invocation: Invocation) -> int:
    """Check the server, the workers, and the consistency of the data.

    It only reads, and a bounded part of each lane. Exit code 1 if there is a fault; warnings and notes do not count.
    """
    with invocation.fleet() as fleet:
        diagnosis = fleet.doctor()
    output = invocation.output
    wrong = [one.check for one in diagnosis.findings if one.level in ("warning", "fault")]
    output.show(data=diagnosis_data(diagnosis), ids=wrong, text=_text(output, diagnosis))
    return fail.DONE if diagnosis.is_sound else fail.FAILED


def _text(output: Output, diagnosis: Diagnosis) -> str:
    wide = max(len(one.check) for one in diagnosis.findings)
    lines = [line for one in diagnosis.findings for line in _lines(output, one, wide)]
    levels = [str(one.level) for one in diagnosis.findings]
    parts = [(len(levels), "check"), (levels.count("fault"), "fault"), (levels.count("warning"), "warning")]
    return "\n".join([*lines, ", ".join(count(number, thing) for number, thing in parts)])


def _lines(output: Output, one: Finding, wide: int) -> list[str]:
    word, color = WORDS[one.level]
    indent = wide + 9
    seen = output.wrapped(plain(one.seen), indent=indent)
    lines = [f"{output.styled(f'{word:<5}', color)}  {one.check:<{wide}}  {seen}"]
    if one.remedy:
        remedy = output.wrapped(plain(one.remedy), indent=indent)
        lines.append(output.styled(f"{'':<{indent}}{remedy}", "dim"))
    return lines
